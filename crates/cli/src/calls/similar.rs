//! Names that somebody may have meant.

use replica_count_api::proto::ListDeploymentsRequest;

use super::Calls;
use crate::target::Target;

impl Calls {
    /// The workload of a namespace whose name is most like that of `target`. `None`: none is, or they cannot be listed.
    pub(crate) async fn similar(&self, namespace: &str, target: &Target) -> Option<String> {
        let request = ListDeploymentsRequest {
            namespace: namespace.to_owned(),
            include_unmanaged: true,
            kinds: vec![target.kind.into()],
            ..ListDeploymentsRequest::default()
        };
        let rows = self.list(request).await.ok()?;
        closest(&target.name, rows.into_iter().map(|row| row.name))
    }
}

/// The name with the fewest differences, if a third of its letters at most are others.
fn closest(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let ranked = names.map(|other| (distance(name, &other), other));
    let (differences, best) = ranked.min()?;
    (differences <= name.len().max(best.len()) / 3).then_some(best)
}

/// How many letters must be added, removed or replaced to make one text of another.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, left) in one.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_few_differences_are_similar() {
        let check = |name: &str, names: &[&str], expected: Option<&str>| {
            let found = closest(name, names.iter().map(|&name| name.to_owned()));
            assert_eq!(found.as_deref(), expected, "{name}");
        };
        check("frontent", &["backend", "frontend"], Some("frontend"));
        check("web", &["web-1", "wbe"], None);
        check("checkout-srv", &["checkout-svc"], Some("checkout-svc"));
        check("x", &[], None);
    }
}
