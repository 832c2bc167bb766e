//! `docs/reference/events.md` says what the code does. `UPDATE_REFERENCE=1 cargo test -p replica-count-manager reference`
//! writes it anew.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use replica_count_api::proto;
use replica_count_core::history::entry::What;
use replica_count_core::history::sample::sample;
use replica_count_core::words::{lasting_sentence, sentence};

const INTRODUCTION: &str = "\
# Events

What the server tells: in its log, by `ListEvents` and `WatchDeployments` ([how](../how-to/history.md)), by Events of
Kubernetes, and by [notifications](../how-to/notifications.md). This page is generated from the code.

Every event has `Name`, `Namespace`, `Kind`, `At` and an `Id`, and most have the `Generation` of the setting. An event with
`By` also says how sure that is (`Certainty`), and of a field manager `Operation` and `Subresource`.

| event | `Types` of `ListEvents` | reason of the Event | severity | when |
|---|---|---|---|---|
";

const FIELDS: &str = "
`event` is the name in the history file, in notifications and in their routes. Events of Kubernetes of severity
`warning` and `error` have the type `Warning`, the others `Normal`.

## Fields and texts

The text is the note of the Event of Kubernetes, and what notifications say. The text of such an Event cannot change. So
what happens again with the same text only counts in its series; where it happens again with other counts, one more Event
has the second text, and counts all that follows.

| event | fields | text | text of a series with different counts |
|---|---|---|---|
";

/// The fields of an entry, as stored, and their names in `ListEvents`.
const NAMES: [(&str, &str); 12] = [
    ("from", "From"),
    ("to", "To"),
    ("author", "By"),
    ("reason", "Reason"),
    ("message", "Message"),
    ("code", "Code"),
    ("took", "Took"),
    ("wait", "Wait"),
    ("pods_lost", "PodsLost"),
    ("times", "Times"),
    ("until", "Until"),
    ("autoscaler", "Autoscaler"),
];

fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    for what in What::ALL {
        let listed = proto::EventType::from(what).as_str_name();
        let (name, reason, severity) = (what.name(), what.reason(), what.severity().as_str());
        let _ = writeln!(text, "| `{name}` | `{listed}` | `{reason}` | {severity} | {} |", what.meaning());
    }
    text.push_str(FIELDS);
    for what in What::ALL {
        let entry = sample("shop", "web", what);
        let stored = serde_json::to_value(&entry).unwrap();
        let fields = NAMES.iter().filter(|(field, _)| stored.get(field).is_some());
        let fields: Vec<_> = fields.map(|(_, name)| format!("`{name}`")).collect();
        let (name, fields, lasting) =
            (what.name(), fields.join(", "), lasting_sentence(&entry).unwrap_or_default());
        let _ = writeln!(text, "| `{name}` | {fields} | {} | {lasting} |", sentence(&entry));
    }
    text
}

#[test]
fn the_reference_of_events_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/events.md");
    let expected = reference();
    if env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), expected, "run it with UPDATE_REFERENCE=1");
}
