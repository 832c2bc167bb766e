//! The values of flags that are more than text.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use replica_count_core::kind::Kind;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::{Target, check_name, check_namespace};

/// One namespace, or all.
#[derive(Clone, Debug)]
pub struct OneOrAll(pub Option<String>);

/// The workload that the server runs in. `None`: not known.
#[derive(Clone, Debug)]
pub struct OwnWorkload(pub Option<Target>);

/// A set of namespaces.
#[derive(Clone, Debug)]
pub struct NamespaceSet(pub BTreeSet<String>);

/// A set of kinds, written as resource names.
#[derive(Clone, Debug)]
pub struct KindSet(pub BTreeSet<Kind>);

impl fmt::Display for KindSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|kind| kind.resource()).collect();
        formatter.write_str(&names.join(","))
    }
}

/// Parses a namespace; an empty text means all.
pub(super) fn namespace_or_all(text: &str) -> Result<OneOrAll, String> {
    if text.is_empty() {
        return Ok(OneOrAll(None));
    }
    check_namespace(text).map_err(|error| error.to_string())?;
    Ok(OneOrAll(Some(text.to_owned())))
}

/// Parses namespaces that commas separate.
pub(super) fn namespaces(text: &str) -> Result<NamespaceSet, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| check_namespace(name).map(|()| name.to_owned()).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()
        .map(NamespaceSet)
}

/// Parses kinds that commas separate.
pub(super) fn kinds(text: &str) -> Result<KindSet, String> {
    let all = || KindSet(Kind::ALL.into());
    let kind = |name: &str| Kind::from_resource(&name.to_ascii_lowercase());
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let kinds: BTreeSet<Kind> = names
        .map(|name| kind(name).ok_or_else(|| format!("{name:?} is not known; known are: {}", all())))
        .collect::<Result<_, _>>()?;
    if kinds.is_empty() { Err(format!("name at least one of: {}", all())) } else { Ok(KindSet(kinds)) }
}

/// Parses the name of an object.
pub(super) fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// Parses a workload; an empty text means that it is not known.
pub(super) fn own_workload(text: &str) -> Result<OwnWorkload, String> {
    if text.is_empty() {
        return Ok(OwnWorkload(None));
    }
    let others = Kind::ALL.into_iter().filter(|kind| *kind != Kind::default());
    let forms: Vec<_> = others.map(|kind| format!("NAMESPACE/{}/NAME", kind.singular())).collect();
    let refused = |_| format!("write NAMESPACE/NAME for a {}, or {}", Kind::default(), forms.join(", "));
    text.parse().map(|target| OwnWorkload(Some(target))).map_err(refused)
}

/// Parses a count.
pub(super) fn replicas(text: &str) -> Result<Replicas, String> {
    let count: i32 = text.parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
    Replicas::new(count).map_err(|error| error.to_string())
}

/// Parses a namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    check_namespace(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// Parses a time in seconds or milliseconds, such as `15s` or `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let number = |digits: &str| digits.parse::<u32>().map(u64::from);
    let parsed = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(digits), _) => number(digits).map(Duration::from_millis),
        (None, Some(digits)) => number(digits).map(Duration::from_secs),
        (None, None) => return Err("write a number and s or ms, such as 15s or 500ms".to_owned()),
    };
    parsed.map_err(|_| "write a whole number before s or ms, such as 15s or 500ms".to_owned())
}

/// A parser of numbers from 0 to `limit`.
pub(super) fn at_most(limit: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match text.parse() {
        Ok(number) if number > limit => Err(format!("at most {limit} are allowed")),
        Ok(number) => Ok(number),
        Err(_) => Err("write a number that is not negative".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, expected) in [("15s", Some(15_000)), ("500ms", Some(500)), ("0s", Some(0))] {
            assert_eq!(duration(text).ok(), expected.map(Duration::from_millis), "{text}");
        }
        for text in ["", "s", "ms", "15", "-1s", "1.5s", "5m", "99999999999s"] {
            duration(text).unwrap_err();
        }
    }
}
