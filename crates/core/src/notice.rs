//! Notifications: which events are sent, what is collected into one message, and how it looks for each receiver.

pub mod alerts;
pub mod cloud_event;
pub mod digest;
pub mod filter;
pub mod firing;
pub mod link;
pub mod signature;
pub mod slack;
pub mod teams;
mod text;

use jiff::Timestamp;

use self::digest::Digest;
use self::filter::RouteFilter;
use self::link::Link;

/// A message before it is rendered.
#[derive(Clone, Copy, Debug)]
pub struct Notice<'a> {
    /// Unique among all messages, and the same for each attempt to send it.
    pub id: &'a str,
    /// The route.
    pub route: &'a str,
    /// What it takes.
    pub filter: &'a RouteFilter,
    /// What happened.
    pub digest: &'a Digest,
    /// Where people can look.
    pub links: &'a [Link],
    /// When the message was made.
    pub at: Timestamp,
}

#[cfg(test)]
mod tests;
