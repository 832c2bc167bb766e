//! A receiver: what is sent to it, and what its answer means.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, Uri, header};
use jiff::Timestamp;
use replica_count_core::history::entry::Entry;
use replica_count_core::notice::cloud_event::{CONTENT_TYPE, cloud_event};
use replica_count_core::notice::digest::Digest;
use replica_count_core::notice::filter::RouteFilter;
use replica_count_core::notice::firing::Firing;
use replica_count_core::notice::signature::{SIGNATURE_PREFIX, signed};
use replica_count_core::notice::slack::slack;
use replica_count_core::notice::teams::teams;
use replica_count_core::notice::{Notice, alerts};
use serde_json::Value;

use crate::kubernetes::outbound::{Answer, Outbound};

/// How long one attempt may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How much of an answer is logged, in bytes.
const MAX_TEXT: usize = 200;
const JSON: &str = "application/json";
const USER_AGENT: &str = concat!("replica-count-manager/", env!("CARGO_PKG_VERSION"));

/// What kind of receiver it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// An incoming webhook of Slack.
    Slack,
    /// A workflow of Microsoft Teams.
    Teams,
    /// A webhook that takes CloudEvents.
    Webhook,
    /// API v2 of Alertmanager.
    Alertmanager,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Slack, Self::Teams, Self::Webhook, Self::Alertmanager];

    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Teams => "teams",
            Self::Webhook => "webhook",
            Self::Alertmanager => "alertmanager",
        }
    }

    /// The media type of its messages.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Webhook => CONTENT_TYPE,
            Self::Slack | Self::Teams | Self::Alertmanager => JSON,
        }
    }

    /// Whether it is told of an event by a route with this filter, whose alerts fire, and which has collected this.
    pub fn takes(
        self,
        filter: &RouteFilter,
        entry: &Entry,
        firing: &Firing,
        collected: Option<&Digest>,
    ) -> bool {
        match self {
            Self::Slack | Self::Teams | Self::Webhook => filter.matches(entry),
            Self::Alertmanager => alerts::takes(filter, entry, firing, collected),
        }
    }

    /// Whether it has to be told when something ends.
    pub fn has_ends(self) -> bool {
        match self {
            Self::Slack | Self::Teams | Self::Webhook => false,
            Self::Alertmanager => true,
        }
    }

    /// What collects for it.
    pub fn digest(self) -> Digest {
        match self {
            Self::Slack | Self::Teams | Self::Webhook => Digest::default(),
            Self::Alertmanager => Digest::with_room(alerts::MAX_WORKLOADS),
        }
    }

    /// The bodies of the requests of a message. Without any, there is nothing to send. `firing` is told which alerts are sent.
    pub fn render(self, notice: &Notice<'_>, firing: &mut Firing) -> Vec<Value> {
        match self {
            Self::Slack => vec![slack(notice)],
            Self::Teams => vec![teams(notice)],
            Self::Webhook => vec![cloud_event(notice)],
            Self::Alertmanager => alerts::alerts(notice, firing),
        }
    }
}

/// Where messages are sent.
pub struct Receiver {
    pub(super) name: String,
    pub(super) service: Service,
    /// A secret.
    pub(super) url: Uri,
    pub(super) authorization: Option<HeaderValue>,
    /// The keys that sign, the newest first.
    pub(super) keys: Vec<hmac::Key>,
    pub(super) outbound: Outbound,
}

/// Without its secrets.
impl std::fmt::Debug for Receiver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.name, self.host())
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has it.
    Accepted,
    /// It may succeed later.
    Retry {
        /// Why it failed. Shows no secret.
        reason: String,
        /// How long the receiver asks to wait.
        after: Option<Duration>,
    },
    /// It will never succeed.
    Failed {
        /// Why. Shows no secret.
        reason: String,
    },
}

impl Receiver {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind it is.
    pub fn service(&self) -> Service {
        self.service
    }

    /// The host that messages are sent to. The rest of the URL is a secret.
    pub fn host(&self) -> &str {
        self.url.host().unwrap_or_default()
    }

    /// Sends a message once. `id` is the same for each attempt.
    pub async fn send(&self, id: &str, body: &[u8], now: Timestamp) -> Attempt {
        let request = match self.request(id, body, now) {
            Ok(request) => request,
            Err(error) => return Attempt::Failed { reason: error.to_string() },
        };
        match self.outbound.send(request, DEADLINE).await {
            Ok(answer) => self.judge(answer),
            Err(error) => Attempt::Retry { reason: self.without_secrets(&error.to_string()), after: None },
        }
    }

    fn request(&self, id: &str, body: &[u8], now: Timestamp) -> http::Result<Request<Vec<u8>>> {
        let mut request = Request::post(self.url.clone())
            .header(header::CONTENT_TYPE, self.service.content_type())
            .header(header::USER_AGENT, USER_AGENT);
        for (name, value) in self.signature(id, body, now) {
            request = request.header(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        request.body(body.to_vec())
    }

    /// The headers of Standard Webhooks. Without a key, there are none.
    pub fn signature(&self, id: &str, body: &[u8], now: Timestamp) -> Vec<(&'static str, String)> {
        if self.keys.is_empty() {
            return Vec::new();
        }
        let seconds = now.as_second();
        let signed = signed(id, seconds, body);
        let sign =
            |key: &hmac::Key| format!("{SIGNATURE_PREFIX}{}", STANDARD.encode(hmac::sign(key, &signed)));
        let signatures: Vec<_> = self.keys.iter().map(sign).collect();
        vec![
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ]
    }

    /// What an answer means.
    fn judge(&self, answer: Answer) -> Attempt {
        let Answer { status, retry_after, redirects_to, text } = answer;
        if status.is_success() {
            return Attempt::Accepted;
        }
        if status.is_redirection() {
            let to = redirects_to.as_ref().and_then(Uri::host).unwrap_or("another address");
            let reason = format!(
                "{} redirects to {to} ({status}), which is never followed: configure the final address",
                self.host()
            );
            return Attempt::Failed { reason };
        }
        let text = self.without_secrets(&text);
        let text = text[..text.floor_char_boundary(MAX_TEXT)].replace(char::is_control, " ");
        let reason = format!("{} answered {status}: {text}", self.host());
        // 408, 425 and 429 ask for another attempt.
        if status.is_server_error() || [408, 425, 429].contains(&status.as_u16()) {
            Attempt::Retry { reason, after: retry_after }
        } else {
            Attempt::Failed { reason }
        }
    }

    /// A server may repeat what it was sent.
    fn without_secrets(&self, text: &str) -> String {
        let path = self.url.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        let mut text = if path.len() > 1 { text.replace(path, "/…") } else { text.to_owned() };
        if let Some(token) = self.authorization.as_ref().and_then(|value| value.to_str().ok()) {
            text = text.replace(token.trim_start_matches("Bearer "), "…");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::kubernetes::outbound::HttpVersion;

    fn receiver() -> Receiver {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let url = Uri::from_static("https://hooks.example.com/secret");
        let outbound = Outbound::new(&url, None, HttpVersion::One).unwrap();
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        Receiver {
            name: "shop".to_owned(),
            service: Service::Webhook,
            url,
            authorization: Some(HeaderValue::from_static("Bearer token")),
            keys: vec![hmac::Key::new(hmac::HMAC_SHA256, &key)],
            outbound,
        }
    }

    /// The example of the specification of Standard Webhooks.
    #[test]
    fn a_message_is_signed_by_standard_webhooks() {
        let now = Timestamp::from_second(1_614_265_330).unwrap();
        let headers = receiver().signature("msg_p5jXN8AQM9LWM0D4loKWxJek", br#"{"test": 2432232314}"#, now);
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(headers[2], ("webhook-signature", signature.to_owned()));
        assert_eq!(headers[1], ("webhook-timestamp", "1614265330".to_owned()));
    }

    #[test]
    fn an_answer_is_final_or_not() {
        let answer = |status: u16, to: Option<&'static str>, after: Option<u64>, text: &str| Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: after.map(Duration::from_secs),
            redirects_to: to.map(Uri::from_static),
            text: text.to_owned(),
        };
        let judge = |answer: Answer| receiver().judge(answer);
        assert_eq!(judge(answer(200, None, None, "ok")), Attempt::Accepted);
        assert_eq!(judge(answer(202, None, None, "")), Attempt::Accepted);
        for status in [408, 429, 500, 503] {
            let Attempt::Retry { after, .. } = judge(answer(status, None, Some(7), "")) else {
                panic!("{status}")
            };
            assert_eq!(after, Some(Duration::from_secs(7)));
        }
        for status in [400, 401, 403, 404, 410] {
            let attempt = judge(answer(status, None, None, "no_service at /secret for token"));
            let Attempt::Failed { reason } = attempt else { panic!("{status}") };
            assert!(reason.ends_with(": no_service at /… for …"), "{reason}");
        }
        let Attempt::Failed { reason } = judge(answer(302, Some("https://evil.example/x"), None, "")) else {
            panic!("followed")
        };
        assert!(reason.starts_with("hooks.example.com redirects to evil.example (302 Found)"), "{reason}");
        assert_eq!(format!("{:?}", receiver()), "shop (hooks.example.com)");
    }
}
