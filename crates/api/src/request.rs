//! Parses requests. A parsed request is valid, and every error names the field as on the wire.

use std::collections::BTreeSet;

use jiff::Timestamp;
use replica_count_core::entry_target::{EntryTarget, OtherTarget, OtherTargetError};
use replica_count_core::history::entry::{Entry, What};
use replica_count_core::history::position::Position;
use replica_count_core::history::query::Filter;
use replica_count_core::kind::Kind;
use replica_count_core::replicas::Replicas;
use replica_count_core::setting::Enforcement;
use replica_count_core::target::{Target, TargetError, check_name, check_namespace};

use crate::proto;

/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 1024;
/// Events on a page: by default, and at most.
const EVENTS: usize = 100;
const MAX_EVENTS: usize = 1000;
/// Rows in a message of a snapshot, which is then far below the 4 MiB that clients accept by default.
const SNAPSHOT_ROWS: usize = 500;

/// A refused field of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {description}")]
pub struct FieldError {
    /// The field's name on the wire.
    pub field: &'static str,
    /// What is wrong with which value, and what to do.
    pub description: String,
}

impl FieldError {
    fn new(field: &'static str, description: impl Into<String>) -> Self {
        Self { field, description: description.into() }
    }
}

/// `SetDeployment`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "as on the wire")]
pub struct SetRequest {
    /// The target.
    pub target: Target,
    /// The desired count.
    pub replicas: Replicas,
    /// When it ends. `None`: it does not.
    pub hold_until: Option<Timestamp>,
    /// The generation that the setting must have; 0 means that there must be none. `None`: any.
    pub expected_generation: Option<u64>,
    /// Whether to only check, without storing.
    pub is_dry_run: bool,
    /// Why.
    pub reason: Option<String>,
    /// Whether a workload that does not exist is accepted.
    pub allow_missing: bool,
    /// Whether a workload that an autoscaler targets is accepted.
    pub allow_autoscaled: bool,
    /// Whether an entry that this version does not support may be replaced.
    pub replace_unknown: bool,
}

impl SetRequest {
    /// Parses a request. `max` is the largest count that this server allows. A temporary count must end after `now`.
    pub fn parse(
        request: proto::SetDeploymentRequest,
        max: Replicas,
        now: Timestamp,
    ) -> Result<Self, FieldError> {
        let target = target(request.kind, &request.namespace, &request.name)?;
        let count = request.replicas.ok_or_else(|| {
            FieldError::new(
                "Replicas",
                "is required; a client generated from a proto without `optional` cannot send 0: use the current proto",
            )
        })?;
        let replicas =
            Replicas::at_most(count, max).map_err(|error| FieldError::new("Replicas", error.to_string()))?;
        if request.reason.len() > MAX_REASON_BYTES {
            let description =
                format!("has {} bytes; at most {MAX_REASON_BYTES} are allowed", request.reason.len());
            return Err(FieldError::new("Reason", description));
        }
        Ok(Self {
            target,
            replicas,
            hold_until: request.hold_until.map(|until| after("HoldUntil", &until, now)).transpose()?,
            expected_generation: generation(request.expected_generation)?,
            is_dry_run: request.dry_run,
            reason: Some(request.reason).filter(|reason| !reason.is_empty()),
            allow_missing: request.allow_missing,
            allow_autoscaled: request.allow_autoscaled,
            replace_unknown: request.replace_unknown,
        })
    }
}

/// `SetEnforcement`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcementRequest {
    /// The target.
    pub target: Target,
    /// The new enforcement.
    pub enforcement: Enforcement,
    /// The generation that the setting must have; 0 means that there must be none. `None`: any.
    pub expected_generation: Option<u64>,
}

impl EnforcementRequest {
    /// Parses a request. The end of `IGNORE` must be after `now`.
    pub fn parse(request: &proto::SetEnforcementRequest, now: Timestamp) -> Result<Self, FieldError> {
        let target = target(request.kind, &request.namespace, &request.name)?;
        let enforcement = match (proto::EnforcementMode::try_from(request.mode), &request.until) {
            (Ok(proto::EnforcementMode::Enforce), None) => Enforcement::Enforce,
            (Ok(proto::EnforcementMode::Enforce), Some(_)) => {
                return Err(FieldError::new("Until", "is only allowed with Mode IGNORE"));
            }
            (Ok(proto::EnforcementMode::Ignore), until) => Enforcement::Ignore {
                until: until.as_ref().map(|until| after("Until", until, now)).transpose()?,
            },
            (Ok(proto::EnforcementMode::ModeUnspecified), _) => {
                return Err(FieldError::new("Mode", "is required: ENFORCE or IGNORE"));
            }
            (Err(_), _) => {
                return Err(FieldError::new(
                    "Mode",
                    format!("{} is unknown: use ENFORCE or IGNORE", request.mode),
                ));
            }
        };
        let expected_generation = generation(request.expected_generation)?;
        Ok(Self { target, enforcement, expected_generation })
    }
}

/// `ListDeployments`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRequest {
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only workloads of this name.
    pub name: Option<String>,
    /// Only these kinds.
    pub kinds: BTreeSet<Kind>,
    /// Whether to include unmanaged workloads.
    pub include_unmanaged: bool,
    /// At most this many rows, at least 1. `None`: all rows.
    pub page_size: Option<usize>,
    /// Only targets after this one.
    pub after: Option<EntryTarget>,
}

impl ListRequest {
    /// Parses a request.
    pub fn parse(request: proto::ListDeploymentsRequest) -> Result<Self, FieldError> {
        let (namespace, name) = names(request.namespace, request.name)?;
        let page_size = page_size(request.page_size, "all rows")?;
        Ok(Self {
            namespace,
            name,
            kinds: kinds(&request.kinds)?,
            include_unmanaged: request.include_unmanaged,
            page_size: (page_size > 0).then_some(page_size),
            after: page_token(&request.page_token)?,
        })
    }

    /// Whether a target passes the filters.
    pub fn matches(&self, target: &Target) -> bool {
        self.matches_names(target.namespace(), target.name()) && self.kinds.contains(&target.kind())
    }

    /// The same for a target whose kind may be unknown. Such a kind is only in a list of all kinds: clients that do not
    /// name it must not take it for a Deployment.
    pub fn matches_entry(&self, target: &EntryTarget) -> bool {
        match target {
            EntryTarget::Known(target) => self.matches(target),
            EntryTarget::Other(_) => {
                self.matches_names(target.namespace(), target.name())
                    && Kind::ALL.iter().all(|kind| self.kinds.contains(kind))
            }
        }
    }

    fn matches_names(&self, namespace: &str, name: &str) -> bool {
        self.namespace.as_deref().is_none_or(|wanted| wanted == namespace)
            && self.name.as_deref().is_none_or(|wanted| wanted == name)
    }
}

/// `ListEvents`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsRequest {
    /// Which events.
    pub filter: Filter,
    /// Only events before the one with this id.
    pub before: Option<u64>,
    /// At most this many events, at least 1.
    pub page_size: usize,
}

impl EventsRequest {
    /// Parses a request.
    pub fn parse(request: proto::ListEventsRequest) -> Result<Self, FieldError> {
        let (namespace, name) = names(request.namespace, request.name)?;
        let time = |field, time: Option<&_>| time.map(|time| timestamp(field, time)).transpose();
        let page_size = match page_size(request.page_size, "100 events")? {
            0 => EVENTS,
            size => size.min(MAX_EVENTS),
        };
        let token = Some(request.page_token).filter(|token| !token.is_empty());
        Ok(Self {
            filter: Filter {
                namespace,
                name,
                kind: request.kind.map(|kind| self::kind("Kind", kind)).transpose()?,
                since: time("Since", request.since.as_ref())?,
                until: time("Until", request.until.as_ref())?,
                whats: whats(&request.types)?,
            },
            before: token.map(|token| token.parse().map_err(|_| token_error())).transpose()?,
            page_size,
        })
    }
}

/// `WatchDeployments`, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    /// The rows of the snapshot, page by page, and the targets of the events.
    pub list: ListRequest,
    /// Only these events. Empty: all.
    pub whats: BTreeSet<What>,
    /// Where an earlier stream has ended. `None`: there was none, or its token means nothing.
    pub since: Option<Position>,
}

impl WatchRequest {
    /// Parses a request.
    pub fn parse(request: proto::WatchDeploymentsRequest) -> Result<Self, FieldError> {
        let (namespace, name) = names(request.namespace, request.name)?;
        let list = ListRequest {
            namespace,
            name,
            kinds: kinds(&request.kinds)?,
            include_unmanaged: request.include_unmanaged,
            page_size: Some(SNAPSHOT_ROWS),
            after: None,
        };
        let since = request.resume_token.parse().ok();
        Ok(Self { list, whats: whats(&request.types)?, since })
    }

    /// Whether the stream shows an event.
    pub fn wants(&self, entry: &Entry) -> bool {
        self.list.matches(&entry.target) && (self.whats.is_empty() || self.whats.contains(&entry.what))
    }
}

/// Parses the types of events.
fn whats(types: &[i32]) -> Result<BTreeSet<What>, FieldError> {
    let what = |number: &i32| {
        let known = proto::EventType::try_from(*number).ok().and_then(Option::from);
        known.ok_or_else(|| FieldError::new("Types", format!("{number} is unknown: use an EventType")))
    };
    types.iter().map(what).collect()
}

/// Parses the namespace and the name of a filter; each may be empty.
fn names(namespace: String, name: String) -> Result<(Option<String>, Option<String>), FieldError> {
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
    let name = Some(name).filter(|name| !name.is_empty());
    namespace.as_deref().map_or(Ok(()), check_namespace).map_err(name_error)?;
    name.as_deref().map_or(Ok(()), check_name).map_err(name_error)?;
    Ok((namespace, name))
}

/// Parses the size of a page. `default` is what 0 means.
fn page_size(size: i32, default: &str) -> Result<usize, FieldError> {
    let negative = |_| FieldError::new("PageSize", format!("{size} is negative; 0 means {default}"));
    usize::try_from(size).map_err(negative)
}

fn token_error() -> FieldError {
    FieldError::new("PageToken", "is not the NextPageToken of an earlier response")
}

/// Parses the target of a request.
pub fn target(kind: i32, namespace: &str, name: &str) -> Result<Target, FieldError> {
    Target::new(self::kind("Kind", kind)?, namespace, name).map_err(name_error)
}

/// Parses the target of a request that may name a kind that this server does not know.
pub fn entry_target(
    kind: i32,
    other_kind: &str,
    namespace: &str,
    name: &str,
) -> Result<EntryTarget, FieldError> {
    if other_kind.is_empty() {
        return target(kind, namespace, name).map(EntryTarget::Known);
    }
    let other = OtherTarget::new(other_kind, namespace, name);
    other.map(EntryTarget::Other).map_err(|error| match error {
        OtherTargetError::Kind(kind) => {
            FieldError::new("OtherKind", format!("{kind:?} is not a kind that is unknown here: use Kind"))
        }
        OtherTargetError::Target(error) => name_error(error),
    })
}

fn kind(field: &'static str, kind: i32) -> Result<Kind, FieldError> {
    match proto::Kind::try_from(kind) {
        Ok(proto::Kind::Deployment) => Ok(Kind::Deployment),
        Ok(proto::Kind::StatefulSet) => Ok(Kind::StatefulSet),
        Err(_) => {
            let known: Vec<_> =
                Kind::ALL.into_iter().map(|kind| proto::Kind::from(kind).as_str_name()).collect();
            Err(FieldError::new(field, format!("{kind} is unknown: use {}", known.join(" or "))))
        }
    }
}

/// Parses the kinds of a list. None means Deployments, the only kind that the first clients know.
fn kinds(kinds: &[i32]) -> Result<BTreeSet<Kind>, FieldError> {
    if kinds.is_empty() {
        return Ok(BTreeSet::from([Kind::default()]));
    }
    kinds.iter().map(|kind| self::kind("Kinds", *kind)).collect()
}

/// Parses an expected generation; 0 means that there must be no setting.
pub fn generation(generation: Option<i64>) -> Result<Option<u64>, FieldError> {
    let refused =
        |_| FieldError::new("ExpectedGeneration", "is negative; 0 means that there is no setting yet");
    generation.map(u64::try_from).transpose().map_err(refused)
}

fn name_error(error: TargetError) -> FieldError {
    match error {
        TargetError::Namespace(error) => FieldError::new("Namespace", error.to_string()),
        TargetError::Name(error) => FieldError::new("Name", error.to_string()),
    }
}

/// Parses a page token: the target of the last row on the previous page.
fn page_token(token: &str) -> Result<Option<EntryTarget>, FieldError> {
    if token.is_empty() {
        return Ok(None);
    }
    token.parse().map(Some).map_err(|_| token_error())
}

fn timestamp(field: &'static str, timestamp: &prost_types::Timestamp) -> Result<Timestamp, FieldError> {
    Timestamp::new(timestamp.seconds, timestamp.nanos)
        .map_err(|error| FieldError::new(field, error.to_string()))
}

/// A time that must be after `now`.
fn after(
    field: &'static str,
    time: &prost_types::Timestamp,
    now: Timestamp,
) -> Result<Timestamp, FieldError> {
    let time = timestamp(field, time)?;
    if time <= now {
        return Err(FieldError::new(field, format!("{time} is in the past; use a time after {now}")));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn max() -> Replicas {
        Replicas::new(1000).expect("valid")
    }

    fn set() -> proto::SetDeploymentRequest {
        proto::SetDeploymentRequest {
            name: "web".into(),
            namespace: "shop".into(),
            replicas: Some(0),
            ..proto::SetDeploymentRequest::default()
        }
    }

    #[track_caller]
    fn check_set(change: impl FnOnce(&mut proto::SetDeploymentRequest), expected: Result<i32, &str>) {
        let mut request = set();
        change(&mut request);
        match (SetRequest::parse(request, max(), Timestamp::UNIX_EPOCH), expected) {
            (Ok(parsed), Ok(count)) => assert_eq!(parsed.replicas.get(), count),
            (Err(error), Err(text)) => assert!(error.to_string().starts_with(text), "{error}"),
            (actual, expected) => panic!("{actual:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn set_accepts_only_valid_requests() {
        check_set(|_| {}, Ok(0));
        check_set(|request| request.replicas = Some(1000), Ok(1000));
        check_set(|request| request.replicas = None, Err("Replicas: is required"));
        check_set(|request| request.replicas = Some(-1), Err("Replicas: -1 is negative"));
        check_set(|request| request.replicas = Some(1001), Err("Replicas: 1001 is more than 1000"));
        check_set(|request| request.name = String::new(), Err("Name: is empty"));
        check_set(|request| request.kind = 9, Err("Kind: 9 is unknown: use DEPLOYMENT or STATEFUL_SET"));
        check_set(|request| request.namespace = "Shop".into(), Err("Namespace: \"Shop\" is not valid"));
        check_set(|request| request.reason = "x".repeat(1025), Err("Reason: has 1025 bytes"));
        check_set(|request| request.expected_generation = Some(-1), Err("ExpectedGeneration: is negative"));
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        check_set(|request| request.hold_until = at(1), Ok(0));
        let past = "HoldUntil: 1970-01-01T00:00:00Z is in the past; use a time after 1970-01-01T00:00:00Z";
        check_set(|request| request.hold_until = at(0), Err(past));
        check_set(|request| request.hold_until = at(i64::MAX), Err("HoldUntil: "));
    }

    #[track_caller]
    fn check_enforcement(mode: i32, until_s: Option<i64>, expected: Result<Enforcement, &str>) {
        let request = proto::SetEnforcementRequest {
            name: "web".into(),
            namespace: "shop".into(),
            mode,
            until: until_s.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
            expected_generation: None,
            kind: 0,
        };
        match (EnforcementRequest::parse(&request, Timestamp::UNIX_EPOCH), expected) {
            (Ok(parsed), Ok(enforcement)) => assert_eq!(parsed.enforcement, enforcement),
            (Err(error), Err(text)) => assert!(error.to_string().starts_with(text), "{error}"),
            (actual, expected) => panic!("{actual:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn set_enforcement_accepts_only_valid_requests() {
        let minute = Timestamp::from_second(60).expect("in range");
        check_enforcement(1, None, Ok(Enforcement::Enforce));
        check_enforcement(2, None, Ok(Enforcement::Ignore { until: None }));
        check_enforcement(2, Some(60), Ok(Enforcement::Ignore { until: Some(minute) }));
        check_enforcement(2, Some(0), Err("Until: 1970-01-01T00:00:00Z is in the past"));
        check_enforcement(2, Some(i64::MAX), Err("Until: "));
        check_enforcement(1, Some(60), Err("Until: is only allowed with Mode IGNORE"));
        check_enforcement(0, None, Err("Mode: is required"));
        check_enforcement(9, None, Err("Mode: 9 is unknown"));
    }

    #[track_caller]
    fn check_list(request: proto::ListDeploymentsRequest, expected: Result<Option<usize>, &str>) {
        match (ListRequest::parse(request), expected) {
            (Ok(parsed), Ok(page_size)) => assert_eq!(parsed.page_size, page_size),
            (Err(error), Err(text)) => assert!(error.to_string().starts_with(text), "{error}"),
            (actual, expected) => panic!("{actual:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn list_accepts_only_valid_requests() {
        let request = proto::ListDeploymentsRequest::default;
        check_list(request(), Ok(None));
        check_list(
            proto::ListDeploymentsRequest { page_size: 5, page_token: "shop/web".into(), ..request() },
            Ok(Some(5)),
        );
        check_list(
            proto::ListDeploymentsRequest { page_size: -5, ..request() },
            Err("PageSize: -5 is negative"),
        );
        for token in ["shop", "/", "shop/", "Shop/web", "shop/web/x"] {
            check_list(
                proto::ListDeploymentsRequest { page_token: token.into(), ..request() },
                Err("PageToken: is not"),
            );
        }
        check_list(
            proto::ListDeploymentsRequest { namespace: "-".into(), ..request() },
            Err("Namespace: \"-\""),
        );
        check_list(proto::ListDeploymentsRequest { name: "-".into(), ..request() }, Err("Name: \"-\""));
        check_list(
            proto::ListDeploymentsRequest { kinds: vec![0, 9], ..request() },
            Err("Kinds: 9 is unknown"),
        );
    }

    #[test]
    fn only_a_list_of_all_kinds_has_unknown_ones() {
        let known: EntryTarget = "shop/web".parse().expect("valid");
        let other = "shop/Rollout/web".parse().expect("valid");
        for (kinds, expected) in [(vec![], false), (vec![0], false), (vec![1], false), (vec![0, 1], true)] {
            let is_named = kinds.is_empty() || kinds.contains(&0);
            let request = proto::ListDeploymentsRequest {
                kinds,
                name: "web".into(),
                ..proto::ListDeploymentsRequest::default()
            };
            let request = ListRequest::parse(request).expect("valid");
            assert_eq!((request.matches_entry(&known), request.matches_entry(&other)), (is_named, expected));
            assert!(!request.matches_entry(&"shop/Rollout/api".parse().expect("valid")));
        }
    }

    #[test]
    fn an_unknown_kind_has_a_field_of_its_own() {
        let parse = |other_kind: &str| {
            let parsed = entry_target(0, other_kind, "shop", "web");
            parsed.map(|target| target.to_string()).map_err(|error| error.field)
        };
        assert_eq!(parse(""), Ok("shop/web".to_owned()));
        assert_eq!(parse("Rollout"), Ok("shop/Rollout/web".to_owned()));
        assert_eq!((parse("Deployment"), parse("x y")), (Err("OtherKind"), Err("OtherKind")));
        assert_eq!(entry_target(0, "Rollout", "shop", "").map_err(|error| error.field), Err("Name"));
    }

    #[test]
    fn a_list_without_kinds_contains_deployments_only() {
        let parse = |kinds| {
            let request = proto::ListDeploymentsRequest { kinds, ..proto::ListDeploymentsRequest::default() };
            ListRequest::parse(request).map(|request| request.kinds)
        };
        assert_eq!(parse(Vec::new()), Ok(BTreeSet::from([Kind::Deployment])));
        for kind in Kind::ALL {
            let number = proto::Kind::from(kind).into();
            assert_eq!(parse(vec![number, number]), Ok(BTreeSet::from([kind])));
        }
    }

    #[test]
    fn events_accept_only_valid_requests() {
        let check = |request: proto::ListEventsRequest, expected: Result<(Option<u64>, usize), &str>| {
            let parsed = EventsRequest::parse(request).map(|parsed| (parsed.before, parsed.page_size));
            assert_eq!(parsed.map_err(|error| error.field), expected);
        };
        let request = proto::ListEventsRequest::default;
        check(request(), Ok((None, 100)));
        check(proto::ListEventsRequest { page_size: 5000, ..request() }, Ok((None, 1000)));
        check(proto::ListEventsRequest { page_token: "17".into(), ..request() }, Ok((Some(17), 100)));
        check(proto::ListEventsRequest { page_token: "x".into(), ..request() }, Err("PageToken"));
        check(proto::ListEventsRequest { page_size: -1, ..request() }, Err("PageSize"));
        check(proto::ListEventsRequest { types: vec![0], ..request() }, Err("Types"));
        check(proto::ListEventsRequest { kind: Some(9), ..request() }, Err("Kind"));
        check(proto::ListEventsRequest { namespace: "A".into(), ..request() }, Err("Namespace"));
        let since = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
        check(proto::ListEventsRequest { since, ..request() }, Err("Since"));
        let watch = proto::WatchDeploymentsRequest { types: vec![19], ..Default::default() };
        assert_eq!(WatchRequest::parse(watch).map_err(|error| error.field), Err("Types"));
    }
}
