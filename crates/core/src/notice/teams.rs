//! A message for a workflow of Microsoft Teams: an adaptive card (<https://adaptivecards.io/>).

use serde_json::{Value, json};

use super::Notice;
use super::text::{cut, name, rest, story, title};
use crate::words::Severity;

/// Workloads in a card. Teams takes 28 KB.
const MAX_LISTED: usize = 20;
/// Characters about one workload.
const MAX_STORY: usize = 400;
/// Links in a card.
const MAX_LINKS: usize = 4;
/// The longest URL, in bytes.
const MAX_URL: usize = 2000;

/// The body.
pub fn teams(notice: &Notice<'_>) -> Value {
    let colour = match notice.digest.severity() {
        Severity::Info => "Default",
        Severity::Warning => "Warning",
        Severity::Error => "Attention",
    };
    let mut body = vec![json!({
        "type": "TextBlock",
        "text": plain(&cut(&title(notice.digest), MAX_STORY)),
        "size": "Medium",
        "weight": "Bolder",
        "color": colour,
        "wrap": true,
    })];
    let stories = notice.digest.stories();
    let listed = stories.len().min(MAX_LISTED);
    for (target, of) in &stories[..listed] {
        let text = format!("**{}**  \n{}", plain(&name(target)), plain(&cut(&story(of), MAX_STORY)));
        body.push(json!({ "type": "TextBlock", "text": text, "wrap": true }));
    }
    let context = [rest(notice.digest, listed), Some(format!("Route {}", notice.route))];
    let context = context.into_iter().flatten().collect::<Vec<_>>().join(" ");
    body.push(json!({ "type": "TextBlock", "text": plain(&context), "isSubtle": true, "size": "Small", "wrap": true }));
    let open = stories.first().into_iter().flat_map(|(target, _)| {
        let links = notice.links.iter().map(|link| (link.text(), link.url(target)));
        links.filter(|(_, url)| url.len() <= MAX_URL).take(MAX_LINKS)
    });
    let actions: Vec<_> =
        open.map(|(text, url)| json!({ "type": "Action.OpenUrl", "title": text, "url": url })).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "actions": actions,
            },
        }],
    })
}

/// Without what would be taken for markup.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        if matches!(character, '*' | '_' | '[' | ']' | '<' | '>' | '`' | '#' | '\\') {
            plain.push('\\');
        }
        plain.push(if character.is_control() { ' ' } else { character });
    }
    plain
}
