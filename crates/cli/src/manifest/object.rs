//! Reads the keys of an object, and refuses those that nobody reads: a misspelt key would otherwise be ignored.

use jiff::Timestamp;

use super::node::{Node, Value};

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) line: u64,
    /// The path of the key, such as `spec.replicas`. Empty: the entry as a whole.
    pub(super) key: String,
    pub(super) text: String,
}

/// An object whose keys are taken one by one.
pub(super) struct Object {
    pub(super) line: u64,
    /// The path of the object, with a full stop at its end.
    path: String,
    entries: Vec<(String, u64, Node)>,
}

type Result<T> = std::result::Result<T, Problem>;

impl Object {
    pub(super) fn new(path: &str, node: Node) -> Result<Self> {
        let Node { line, value } = node;
        let entries = match value {
            Value::Map(entries) => entries,
            other => {
                let text = format!("must be an object, and is {}", other.kind());
                return Err(Problem { line, key: path.trim_end_matches('.').to_owned(), text });
            }
        };
        let entries = entries.into_iter().map(|(key, node)| {
            let line = key.referenced.line();
            (key.value, line, node)
        });
        Ok(Self { line, path: path.to_owned(), entries: entries.collect() })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, ..)| name == key)
    }

    /// A key with its line. `None`: it is absent or null.
    fn take(&mut self, key: &str) -> Option<Node> {
        let position = self.entries.iter().position(|(name, ..)| name == key)?;
        let (_, line, node) = self.entries.remove(position);
        (node.value != Value::Null).then_some(Node { line, ..node })
    }

    fn problem(&self, line: u64, key: &str, text: impl Into<String>) -> Problem {
        Problem { line, key: format!("{}{key}", self.path), text: text.into() }
    }

    pub(super) fn missing(&self, key: &str) -> Problem {
        self.problem(self.line, key, "is missing")
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<(String, u64)>> {
        match self.take(key) {
            None => Ok(None),
            Some(Node { line, value: Value::Text(text) }) => Ok(Some((text, line))),
            Some(Node { line, value }) => {
                Err(self.problem(line, key, format!("must be a text, and is {}", value.kind())))
            }
        }
    }

    pub(super) fn count(&mut self, key: &str) -> Result<Option<i32>> {
        let Some(Node { line, value }) = self.take(key) else { return Ok(None) };
        match value {
            Value::Integer(number) => match i32::try_from(number) {
                Ok(count) if count >= 0 => Ok(Some(count)),
                Ok(_) | Err(_) => {
                    Err(self.problem(line, key, format!("{number} is not a count: write a number from 0 on")))
                }
            },
            other => Err(self.problem(line, key, format!("must be a number, and is {}", other.kind()))),
        }
    }

    pub(super) fn time(&mut self, key: &str) -> Result<Option<Timestamp>> {
        let Some((text, line)) = self.text(key)? else { return Ok(None) };
        let time = text.parse().map_err(|_| {
            self.problem(line, key, format!("{text:?} is not a time: write for example 2030-01-01T08:00:00Z"))
        })?;
        Ok(Some(time))
    }

    pub(super) fn object(&mut self, key: &str) -> Result<Option<Self>> {
        let path = format!("{}{key}.", self.path);
        self.take(key).map(|node| Self::new(&path, node)).transpose()
    }

    pub(super) fn list(&mut self, key: &str) -> Result<Vec<Node>> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Node { value: Value::List(items), .. }) => Ok(items),
            Some(Node { line, value }) => {
                Err(self.problem(line, key, format!("must be a list, and is {}", value.kind())))
            }
        }
    }

    /// Keys that are written by servers, and mean nothing in a file.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        self.entries.retain(|(name, ..)| !keys.contains(&name.as_str()));
    }

    /// Refuses the first key that nobody has taken.
    pub(super) fn finish(self) -> Result<()> {
        match self.entries.first() {
            None => Ok(()),
            Some((key, line, _)) => Err(self.problem(*line, key, "is not a known key")),
        }
    }
}
