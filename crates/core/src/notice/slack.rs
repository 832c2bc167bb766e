//! A message for an incoming webhook of Slack: <https://docs.slack.dev/reference/block-kit/>.
//!
//! Slack counts characters after `&`, `<` and `>` are escaped, and refuses a message that is too long as a whole.

use serde_json::{Value, json};

use super::Notice;
use super::digest::Story;
use super::link::Link;
use super::text::{cut, name, rest, story, title};
use crate::target::Target;
use crate::words::Severity;

/// Characters of a header.
const MAX_HEADER: usize = 150;
/// Characters of a section.
const MAX_SECTION: usize = 3000;
/// Workloads in a message: more do not fit on a phone.
const MAX_LISTED: usize = 20;
/// Characters about one workload, without its links.
const MAX_STORY: usize = 400;
/// Characters of all sections together. Slack takes some 13,200.
const MAX_ALL: usize = 9000;
/// Characters of the text of a notification on a phone.
const MAX_FALLBACK: usize = 300;

/// The body.
pub fn slack(notice: &Notice<'_>) -> Value {
    let title = title(notice.digest);
    let headline = format!("{}{title}", mark(notice.digest.severity()));
    let mut blocks = vec![json!({
        "type": "header",
        "text": { "type": "plain_text", "text": cut(&headline, MAX_HEADER), "emoji": true },
    })];
    let (mut length, mut listed) = (0, 0);
    for (target, story) in notice.digest.stories().into_iter().take(MAX_LISTED) {
        let text = section(target, story, notice.links);
        length += text.chars().count();
        if length > MAX_ALL {
            break;
        }
        blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } }));
        listed += 1;
    }
    let context = [rest(notice.digest, listed), Some(format!("Route {}", notice.route))];
    let context = context.into_iter().flatten().collect::<Vec<_>>().join(" ");
    blocks.push(json!({
        "type": "context",
        "elements": [{ "type": "mrkdwn", "text": escape(&context) }],
    }));
    json!({ "text": escape(&cut(&headline, MAX_FALLBACK)), "blocks": blocks })
}

fn section(target: &Target, of: &Story, links: &[Link]) -> String {
    let heading = match links.first() {
        Some(link) => format!("*<{}|{}>*", escape(&link.url(target)), escape(&name(target))),
        None => format!("*{}*", escape(&name(target))),
    };
    let mut text = format!("{heading}\n{}", escape(&cut(&story(of), MAX_STORY)));
    for link in links.iter().skip(1) {
        let link = format!("\n<{}|{}>", escape(&link.url(target)), escape(link.text()));
        if text.chars().count() + link.chars().count() <= MAX_SECTION {
            text.push_str(&link);
        }
    }
    // A first link that is too long would be cut within its URL.
    if text.chars().count() > MAX_SECTION {
        text = format!("*{}*\n{}", escape(&name(target)), escape(&cut(&story(of), MAX_STORY)));
    }
    text
}

fn mark(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "",
        Severity::Warning => "⚠️ ",
        Severity::Error => "🛑 ",
    }
}

/// What Slack would take for markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
