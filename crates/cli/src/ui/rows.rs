//! The rows as the page has them, and what has changed since.

use std::collections::BTreeMap;

use serde::Serialize;

use super::shapes::{Row, Target};

/// Rows of one message.
const CHUNK: usize = 2000;

/// The rows that the page has.
#[derive(Debug, Default)]
pub(super) struct Rows(BTreeMap<Target, Row>);

/// A change of the rows, for the page.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Changes {
    /// New rows, and those that differ.
    pub(super) rows: Vec<Row>,
    /// Workloads that are no longer listed: namespace, name and kind.
    pub(super) gone: Vec<[String; 3]>,
}

impl Rows {
    /// Replaces all rows. Returns what the page has to change.
    pub(super) fn replace(&mut self, rows: impl IntoIterator<Item = Row>) -> Changes {
        let fresh: BTreeMap<Target, Row> = rows.into_iter().map(|row| (target(&row), row)).collect();
        let gone = self.0.keys().filter(|target| !fresh.contains_key(target)).map(key).collect();
        let rows = fresh.iter().filter(|(target, row)| self.0.get(target) != Some(row));
        let rows = rows.map(|(_, row)| row.clone()).collect();
        self.0 = fresh;
        Changes { rows, gone }
    }

    /// Replaces the row of one workload, which is not listed any more if there is none.
    pub(super) fn update(&mut self, target: &Target, row: Option<Row>) -> Changes {
        match row {
            Some(row) if self.0.get(target) == Some(&row) => Changes::default(),
            Some(row) => {
                self.0.insert(target.clone(), row.clone());
                Changes { rows: vec![row], gone: Vec::new() }
            }
            None if self.0.remove(target).is_some() => Changes { rows: Vec::new(), gone: vec![key(target)] },
            None => Changes::default(),
        }
    }
}

impl Changes {
    /// Nothing has changed.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.gone.is_empty()
    }

    /// The same in pieces of a bounded size, at least one.
    pub(super) fn pieces(mut self) -> Vec<Self> {
        let mut pieces = Vec::new();
        while self.rows.len() > CHUNK {
            let rest = self.rows.split_off(CHUNK);
            pieces.push(Self { rows: std::mem::replace(&mut self.rows, rest), gone: Vec::new() });
        }
        pieces.push(self);
        pieces
    }
}

fn target(row: &Row) -> Target {
    Target { namespace: row.namespace.clone(), name: row.name.clone(), kind: row.kind.clone() }
}

fn key(target: &Target) -> [String; 3] {
    let Target { namespace, name, kind } = target.clone();
    [namespace, name, kind]
}

#[cfg(test)]
mod tests {
    use replica_count_api::proto;

    use super::*;

    fn row(name: &str, desired: i32) -> Row {
        proto::GetDeploymentResponse {
            name: name.to_owned(),
            namespace: "shop".to_owned(),
            desired_replicas: Some(desired),
            ..Default::default()
        }
        .into()
    }

    fn names(changes: &Changes) -> (Vec<&str>, Vec<&str>) {
        let rows = changes.rows.iter().map(|row| row.name.as_str()).collect();
        (rows, changes.gone.iter().map(|[_, name, _]| name.as_str()).collect())
    }

    #[test]
    fn only_differences_are_sent() {
        let mut rows = Rows::default();
        assert_eq!(names(&rows.replace([row("a", 1), row("b", 1)])), (vec!["a", "b"], vec![]));
        assert!(rows.replace([row("a", 1), row("b", 1)]).is_empty());
        assert_eq!(names(&rows.replace([row("b", 2), row("c", 1)])), (vec!["b", "c"], vec!["a"]));
        let b = target(&row("b", 2));
        assert!(rows.update(&b, Some(row("b", 2))).is_empty());
        assert_eq!(names(&rows.update(&b, Some(row("b", 3)))), (vec!["b"], vec![]));
        assert_eq!(names(&rows.update(&b, None)), (vec![], vec!["b"]));
        assert!(rows.update(&b, None).is_empty());
    }

    #[test]
    fn many_rows_are_sent_in_pieces() {
        let changes = |count: usize| Changes {
            rows: (0..count).map(|number| row(&number.to_string(), 1)).collect(),
            gone: vec![Default::default()],
        };
        for (count, expected) in [(0, vec![0]), (CHUNK, vec![CHUNK]), (2 * CHUNK + 1, vec![CHUNK, CHUNK, 1])]
        {
            let pieces = changes(count).pieces();
            assert_eq!(pieces.iter().map(|piece| piece.rows.len()).collect::<Vec<_>>(), expected);
            assert_eq!(pieces.iter().map(|piece| piece.gone.len()).sum::<usize>(), 1);
        }
    }
}
