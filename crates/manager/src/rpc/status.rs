//! Why an RPC is refused, and the only place where that becomes a gRPC status.
//!
//! The caller sees what was wrong with which value, and what to do. Internal causes go to the log.

use std::sync::Arc;
use std::time::Duration;

use replica_count_api::request::FieldError;
use replica_count_core::authorization::Denial;
use replica_count_core::change::ChangeError;
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::history::position::Position;
use replica_count_core::scope::OutOfScope;
use replica_count_core::target::Target;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::error;

use super::unknown::Unknown;
use crate::kubernetes::access_review::ReviewError;
use crate::net::quota::Exhausted;
use crate::store::{BackendError, BackendReason, StoreError};

/// The domain of the reasons, as in `google.rpc.ErrorInfo`.
const ERROR_DOMAIN: &str = "replicacount.dev";
/// The key of a token in the metadata of `google.rpc.ErrorInfo`.
const RESUME_TOKEN: &str = "ResumeToken";
/// How long clients should wait before they retry after a temporary failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why an RPC is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// A field of the request is not valid.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The namespace is not managed here.
    #[error(transparent)]
    OutOfScope(#[from] OutOfScope),
    /// No rule of Kubernetes allows this to the user.
    #[error(transparent)]
    Denied(Denial),
    /// The client certificate has a name that only Kubernetes itself may give.
    #[error(
        "the client certificate names {0:?}, which belongs to Kubernetes; use one without `system:` names"
    )]
    ReservedName(String),
    /// Kubernetes cannot be asked what the user may do.
    #[error("cannot ask the Kubernetes API server whether you may do this; {}", match .0 {
        ReviewError::Forbidden => "ask the operators of this server, which lacks the right to ask",
        ReviewError::Deadline | ReviewError::Failed(_) => "try again",
    })]
    NotAuthorizable(ReviewError),
    /// A setting was created or deleted since the user's rights were checked.
    #[error("the setting of {0} was created or deleted meanwhile; try again")]
    Existing(EntryTarget),
    /// The workload does not exist.
    #[error(
        "{} does not exist; check the name, or set AllowMissing to store a count before it is created",
        .0.with_kind()
    )]
    NotFound(Target),
    /// Nothing is stored for the target.
    #[error("{} is not managed: no replica count is stored for it; use SetDeployment first", .0.with_kind())]
    NotManaged(Target),
    /// Nothing is stored for a workload of a kind that this server does not know.
    #[error("nothing is stored for {}, and this server does not know the kind", .0.with_kind())]
    NotStored(EntryTarget),
    /// Another version has stored what this one does not support.
    #[error(
        "{} has an entry of another version of this server: {reason}; delete it, or replace it with ReplaceUnknown",
        .target.with_kind()
    )]
    Unsupported {
        /// The target of the entry.
        target: EntryTarget,
        /// What is not known.
        reason: Arc<str>,
    },
    /// The setting is not the one that the caller expected.
    #[error(
        "the setting of {target} has generation {actual}, not {expected}; read it again before you retry"
    )]
    Generation {
        /// The target of the setting.
        target: EntryTarget,
        /// What the caller expected.
        expected: u64,
        /// What is stored.
        actual: u64,
    },
    /// An autoscaler would fight with the setting.
    #[error(
        "{} is scaled by {autoscaler}, which would fight with a fixed count; \
         delete the autoscaler first, or set AllowAutoscaled",
        .target.with_kind()
    )]
    Autoscaled {
        /// The workload.
        target: Target,
        /// Kind and name of the autoscaler.
        autoscaler: Arc<str>,
    },
    /// The state of the cluster is unknown.
    #[error("{}", match .0 {
        Unknown::Unread => format!("{}; try again shortly", .0),
        Unknown::Refused(_) => .0.to_string(),
    })]
    Unknown(Unknown),
    /// The API server cannot be reached.
    #[error("cannot ask the Kubernetes API server whether {0} exists; try again, or set AllowMissing")]
    Unreachable(Target),
    /// There is no slot for another request.
    #[error("too many requests are in flight: {0}; try again, with fewer at once")]
    TooManyRequests(Exhausted),
    /// There is no memory for another answer.
    #[error(
        "too many answers have not been read yet: {0}; read them, ask for pages (PageSize), or try again"
    )]
    TooManyAnswers(Exhausted),
    /// A stream was read too slowly.
    #[error("{0} events were missed because they were not read fast enough; watch again, for a new snapshot")]
    Missed(u64),
    /// Too much happened at once for the servers to tell each other.
    #[error("events were missed because too many happened at once; watch again, for a new snapshot")]
    Gap,
    /// The server ends, and with it a stream, which another one can continue here.
    #[error("the server is shutting down; watch again, with ResumeToken to go on where this ends")]
    Ending(Position),
    /// The settings are not known yet.
    #[error("the settings have not been read yet; try again shortly")]
    Unread,
    /// The setting was not stored, or its outcome is unknown.
    #[error(transparent)]
    Store(BackendError),
}

impl Refusal {
    pub(super) fn of_change(target: &EntryTarget, error: ChangeError) -> Self {
        match error {
            ChangeError::NotManaged => match target {
                EntryTarget::Known(target) => Self::NotManaged(target.clone()),
                EntryTarget::Other(_) => Self::NotStored(target.clone()),
            },
            ChangeError::Existing => Self::Existing(target.clone()),
            ChangeError::Unsupported { reason } => Self::Unsupported { target: target.clone(), reason },
            ChangeError::Generation { expected, actual } => {
                Self::Generation { target: target.clone(), expected, actual }
            }
        }
    }

    pub(super) fn of_store(target: &EntryTarget, error: StoreError) -> Self {
        match error {
            StoreError::Change(error) => Self::of_change(target, error),
            StoreError::Backend(error) => {
                error!(%target, %error, "not stored");
                Self::Store(error)
            }
        }
    }

    /// The status code, and a reason that programs can rely on.
    fn code(&self) -> (Code, &'static str) {
        match self {
            Self::Field(_) => (Code::InvalidArgument, "INVALID_FIELD"),
            Self::OutOfScope(OutOfScope::Excluded(_)) => (Code::PermissionDenied, "NAMESPACE_EXCLUDED"),
            Self::OutOfScope(OutOfScope::Other { .. }) => (Code::PermissionDenied, "NAMESPACE_NOT_MANAGED"),
            Self::OutOfScope(OutOfScope::Kind(_)) => (Code::PermissionDenied, "KIND_NOT_MANAGED"),
            Self::OutOfScope(OutOfScope::Own(_)) => (Code::PermissionDenied, "OWN_WORKLOAD"),
            Self::Denied(_) => (Code::PermissionDenied, "NOT_AUTHORIZED"),
            Self::ReservedName(_) => (Code::PermissionDenied, "RESERVED_NAME"),
            Self::NotAuthorizable(_) => (Code::Unavailable, "AUTHORIZATION_UNAVAILABLE"),
            Self::Existing(_) => (Code::Aborted, "SETTING_RACED"),
            Self::NotFound(_) => (Code::NotFound, "DEPLOYMENT_NOT_FOUND"),
            Self::NotManaged(_) | Self::NotStored(_) => (Code::NotFound, "DEPLOYMENT_NOT_MANAGED"),
            Self::Unsupported { .. } => (Code::FailedPrecondition, "ENTRY_UNSUPPORTED"),
            Self::Generation { .. } => (Code::Aborted, "GENERATION_MISMATCH"),
            Self::Autoscaled { .. } => (Code::FailedPrecondition, "DEPLOYMENT_AUTOSCALED"),
            Self::Unknown(Unknown::Unread) => (Code::Unavailable, "CLUSTER_NOT_READ"),
            Self::Unknown(Unknown::Refused(_)) => (Code::FailedPrecondition, "KIND_NOT_READABLE"),
            Self::Unreachable(_) => (Code::Unavailable, "KUBERNETES_UNREACHABLE"),
            Self::TooManyRequests(_) => (Code::ResourceExhausted, "TOO_MANY_REQUESTS"),
            Self::TooManyAnswers(_) => (Code::ResourceExhausted, "TOO_MANY_ANSWERS"),
            Self::Missed(_) | Self::Gap => (Code::ResourceExhausted, "EVENTS_MISSED"),
            Self::Ending(_) => (Code::Unavailable, "SHUTTING_DOWN"),
            Self::Unread => (Code::Unavailable, "STORE_NOT_READ"),
            Self::Store(error) => match error.reason {
                BackendReason::Unread => (Code::Unavailable, "STORE_NOT_READ"),
                BackendReason::NoNamespace => (Code::NotFound, "NAMESPACE_NOT_FOUND"),
                BackendReason::Refused => (Code::FailedPrecondition, "STORE_REFUSED"),
                BackendReason::Full => (Code::ResourceExhausted, "STORE_FULL"),
                BackendReason::TooMany => (Code::ResourceExhausted, "TOO_MANY_SETTINGS"),
                BackendReason::Busy => (Code::ResourceExhausted, "STORE_BUSY"),
                BackendReason::Uncertain => (Code::Unavailable, "STORE_OUTCOME_UNKNOWN"),
                BackendReason::Closed => (Code::Unavailable, "SHUTTING_DOWN"),
                BackendReason::Unavailable => (Code::Unavailable, "STORE_UNAVAILABLE"),
            },
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, reason) = refusal.code();
        let message = match &refusal {
            // The cause is only logged.
            Refusal::Store(BackendError { reason: BackendReason::Unavailable, message, .. }) => {
                format!("{message}; ask the operators of this server")
            }
            Refusal::Store(BackendError { message, .. }) => message.to_string(),
            other => other.to_string(),
        };
        let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
        match &refusal {
            Refusal::Field(FieldError { field, description }) => {
                details.add_bad_request_violation(*field, description.clone());
            }
            Refusal::Generation { target, .. } | Refusal::Unsupported { target, .. } => {
                details.add_precondition_failure_violation(reason, target.to_string(), message.clone());
            }
            Refusal::Autoscaled { target, .. } => {
                details.add_precondition_failure_violation(reason, target.to_string(), message.clone());
            }
            Refusal::Unknown(Unknown::Refused(kind)) => {
                let resource = format!("{}.{}", kind.resource(), kind.group());
                details.add_precondition_failure_violation(reason, resource, message.clone());
            }
            Refusal::Unknown(Unknown::Unread)
            | Refusal::Unread
            | Refusal::Unreachable(_)
            | Refusal::NotAuthorizable(_)
            | Refusal::Existing(_)
            | Refusal::TooManyRequests(_)
            | Refusal::TooManyAnswers(_)
            | Refusal::Missed(_)
            | Refusal::Gap
            | Refusal::Store(BackendError { reason: BackendReason::Busy | BackendReason::Unread, .. }) => {
                details.set_retry_info(Some(RETRY_DELAY));
            }
            Refusal::Ending(position) => {
                let token = [(RESUME_TOKEN.to_owned(), position.to_string())];
                details.set_error_info(reason, ERROR_DOMAIN, token);
                details.set_retry_info(Some(RETRY_DELAY));
            }
            Refusal::OutOfScope(_)
            | Refusal::Denied(_)
            | Refusal::ReservedName(_)
            | Refusal::NotFound(_)
            | Refusal::NotManaged(_)
            | Refusal::NotStored(_)
            | Refusal::Store(_) => {}
        }
        Self::with_error_details(code, message, details)
    }
}

#[cfg(test)]
mod tests {
    use replica_count_core::kind::Kind;

    use super::*;

    #[track_caller]
    fn check(refusal: Refusal, code: Code, reason: &str, message: &str) {
        let status = Status::from(refusal);
        assert_eq!(status.code(), code);
        assert!(status.message().contains(message), "{}", status.message());
        let info = status.get_details_error_info().expect("an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, ERROR_DOMAIN));
    }

    #[test]
    fn every_refusal_has_a_code_and_a_reason() {
        let web = || Target::deployment("shop", "web").expect("valid");
        let store = |reason| {
            let (message, cause) = ("nothing was stored: full".into(), Some("EROFS".into()));
            Refusal::Store(BackendError { reason, message, cause })
        };
        check(Refusal::NotFound(web()), Code::NotFound, "DEPLOYMENT_NOT_FOUND", "shop/web does not exist");
        check(
            Refusal::NotManaged(web()),
            Code::NotFound,
            "DEPLOYMENT_NOT_MANAGED",
            "shop/web is not managed",
        );
        let unread = Refusal::Unknown(Unknown::Unread);
        check(unread, Code::Unavailable, "CLUSTER_NOT_READ", "has not been read yet; try again");
        let refused = Refusal::Unknown(Unknown::Refused(Kind::Deployment));
        check(
            refused,
            Code::FailedPrecondition,
            "KIND_NOT_READABLE",
            "grant it get, list and watch of deployments.apps",
        );
        check(Refusal::Unreachable(web()), Code::Unavailable, "KUBERNETES_UNREACHABLE", "shop/web");
        let (requests, answers) =
            (Refusal::TooManyRequests(Exhausted::ForUser), Refusal::TooManyAnswers(Exhausted::ForAll));
        check(requests, Code::ResourceExhausted, "TOO_MANY_REQUESTS", "one user");
        check(answers, Code::ResourceExhausted, "TOO_MANY_ANSWERS", "PageSize");
        check(Refusal::Missed(7), Code::ResourceExhausted, "EVENTS_MISSED", "7 events were missed");
        check(Refusal::Gap, Code::ResourceExhausted, "EVENTS_MISSED", "watch again");
        check(Refusal::Ending(Position::default()), Code::Unavailable, "SHUTTING_DOWN", "watch again");
        check(Refusal::Unread, Code::Unavailable, "STORE_NOT_READ", "have not been read yet");
        check(store(BackendReason::NoNamespace), Code::NotFound, "NAMESPACE_NOT_FOUND", "full");
        let refused = Status::from(store(BackendReason::Refused));
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::FailedPrecondition, "nothing was stored: full")
        );
        check(store(BackendReason::Full), Code::ResourceExhausted, "STORE_FULL", "full");
        let unavailable = "nothing was stored: full; ask the operators of this server";
        check(store(BackendReason::Unavailable), Code::Unavailable, "STORE_UNAVAILABLE", unavailable);
        let excluded = OutOfScope::Excluded("kube-system".into());
        check(excluded.into(), Code::PermissionDenied, "NAMESPACE_EXCLUDED", "kube-system");
    }

    #[test]
    fn a_refused_field_has_its_name_on_the_wire() {
        let field = FieldError { field: "Replicas", description: "is required".into() };
        let status = Status::from(Refusal::from(field));
        assert_eq!(status.code(), Code::InvalidArgument);
        let request = status.get_details_bad_request().expect("a BadRequest");
        assert_eq!(request.field_violations[0].field, "Replicas");
    }

    #[test]
    fn an_autoscaler_is_named() {
        let target = Target::deployment("shop", "web").expect("valid");
        let refusal = Refusal::Autoscaled { target, autoscaler: "ScaledObject/web".into() };
        let status = Status::from(refusal);
        assert_eq!(status.code(), Code::FailedPrecondition);
        let failure = status.get_details_precondition_failure().expect("a PreconditionFailure");
        assert_eq!(failure.violations[0].subject, "shop/web");
        assert!(failure.violations[0].description.contains("ScaledObject/web"), "{failure:?}");
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let target = EntryTarget::from(Target::deployment("shop", "web").expect("valid"));
        let unsupported = ChangeError::Unsupported { reason: "it has a \"floor\"".into() };
        let status = Status::from(Refusal::of_change(&target, unsupported));
        assert_eq!(status.code(), Code::FailedPrecondition);
        let failure = status.get_details_precondition_failure().expect("a PreconditionFailure");
        assert_eq!(failure.violations[0].subject, "shop/web");
        assert!(status.message().contains("it has a \"floor\"; delete it, or"), "{}", status.message());
        let other = "shop/Rollout/web".parse().expect("valid");
        let not_stored = Refusal::of_change(&other, ChangeError::NotManaged);
        check(not_stored, Code::NotFound, "DEPLOYMENT_NOT_MANAGED", "Rollout shop/web, and this server");
    }

    #[test]
    fn an_unexpected_generation_is_named() {
        let target = Target::deployment("shop", "web").expect("valid");
        let target = target.into();
        let status = Status::from(Refusal::Generation { target, expected: 3, actual: 5 });
        assert_eq!(status.code(), Code::Aborted);
        let failure = status.get_details_precondition_failure().expect("a PreconditionFailure");
        assert_eq!(failure.violations[0].subject, "shop/web");
        assert!(status.message().contains("generation 5, not 3"));
    }
}
