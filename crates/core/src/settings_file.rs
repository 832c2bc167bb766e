//! The settings as text: what people read, edit and keep in version control, and what survives a restart.
//!
//! A JSON array of `{"name", "namespace", "replicas"}`, one entry a line, with additional keys only where needed:
//! `kind` (unless it is `Deployment`), `generation` (unless it is 1), `enforcement` (when it is `ignore`),
//! `enforcementUntil`, `setBy`, `setAt` and `reason`. Times are in RFC 3339.
//!
//! An entry with another key, or with an unknown `kind` or `enforcement`, was written by another version. It is kept
//! unchanged after all others, and not enforced. Anything else is refused, with its line and column: a setting that is
//! silently dropped or misread would scale a workload to a wrong count.

mod entry;
mod error;
mod parse;
mod render;
#[cfg(test)]
mod tests;
mod text;
mod unknown_keys;
mod value;

pub use error::SettingsFileError;
pub use parse::parse;
pub use render::render;
pub use text::Text;
