//! Texts that all messages for people share.

use super::digest::{Digest, Story};
use crate::target::Target;
use crate::words::sentence;

/// The headline: what happened, and to what.
pub(super) fn title(digest: &Digest) -> String {
    let counts: Vec<String> = digest
        .counts()
        .iter()
        .map(|(what, count)| format!("{} {}", grouped(*count), what.counted()))
        .collect();
    let what = if counts.is_empty() { "Events were missed".to_owned() } else { counts.join(", ") };
    match digest.stories().first() {
        Some((target, _)) if digest.workloads() == 1 => format!("{}: {what}", target.with_kind()),
        Some(_) => format!("{} workloads: {what}", grouped(digest.workloads() as u64)),
        None => what,
    }
}

/// What happened to a workload, as sentences.
pub(super) fn story(story: &Story) -> String {
    let told = story.told();
    let sentences = told.iter().map(|told| match told.count {
        1 => format!("{}.", sentence(&told.last)),
        count => format!("{} ({}×).", sentence(&told.last), grouped(count)),
    });
    sentences.collect::<Vec<_>>().join(" ")
}

/// What the list does not say. `listed` is how many workloads it has. `None`: it says everything.
pub(super) fn rest(digest: &Digest, listed: usize) -> Option<String> {
    let more = digest.workloads().saturating_sub(listed);
    match (more, digest.missed()) {
        (0, 0) => None,
        (0, missed) => Some(format!("{} more events were too many to tell.", grouped(missed))),
        (more, 0) => Some(format!("And {} more workloads.", grouped(more as u64))),
        (more, missed) => Some(format!(
            "And {} more workloads; {} more events were too many to tell.",
            grouped(more as u64),
            grouped(missed)
        )),
    }
}

/// A workload, as a heading.
pub(super) fn name(target: &Target) -> String {
    target.with_kind().to_string()
}

/// A number with commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The beginning of a text, up to a number of characters; what is cut ends with `…`.
pub(super) fn cut(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters - 1).chain(['…']).collect()
}
