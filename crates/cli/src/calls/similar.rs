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

/// How many letters must be added, removed, replaced or swapped with their neighbour to make one text of another.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut fewest = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                fewest = fewest.min(rows[i - 2][j - 2] + 1);
            }
            row.push(fewest);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
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
        check("wbe", &["api", "web"], Some("web"));
        check("web", &["web-1", "shop"], None);
        check("checkout-srv", &["checkout-svc"], Some("checkout-svc"));
        check("x", &[], None);
    }
}
