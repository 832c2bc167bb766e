//! Finds the server's addresses in its log, because with port 0 only the server knows them.

use std::net::SocketAddr;

use serde_json::Value;

/// The message of that line.
const MESSAGE: &str = "listening";

/// The addresses of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
}

/// Finds the addresses in the lines of a JSON log.
pub(super) fn find(lines: &[String]) -> Option<Listening> {
    lines.iter().find_map(|line| parse(line))
}

/// The fields are in `fields`, or at the top level if the log is flattened.
fn parse(line: &str) -> Option<Listening> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| entry.get("fields").unwrap_or(&entry).get(name)?.as_str();
    if field("message")? != MESSAGE {
        return None;
    }
    Some(Listening { grpc: field("grpc")?.parse().ok()?, http: field("http")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_with_both_addresses_counts() {
        let found = Some(Listening { grpc: ([127, 0, 0, 1], 1).into(), http: ([127, 0, 0, 1], 2).into() });
        let cases = [
            (
                r#"{"level":"INFO","fields":{"message":"listening","grpc":"127.0.0.1:1","http":"127.0.0.1:2"}}"#,
                found,
            ),
            (r#"{"level":"INFO","message":"listening","grpc":"127.0.0.1:1","http":"127.0.0.1:2"}"#, found),
            (r#"{"level":"INFO","fields":{"message":"listening","grpc":"127.0.0.1:1"}}"#, None),
            (r#"{"level":"INFO","fields":{"message":"ready"}}"#, None),
            ("2026-01-01 INFO listening", None),
            (r#"{"level":"INFO","fields":{"message":"liste"#, None),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line), expected, "{line}");
        }
    }
}
