//! One command a file.

pub(crate) mod apply;
pub(crate) mod completion;
pub(crate) mod delete;
pub(crate) mod diff;
pub(crate) mod enforcement;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod handover;
pub(crate) mod login;
pub(crate) mod pin;
pub(crate) mod set;
pub(crate) mod status;
pub(crate) mod undo;
pub(crate) mod version;
pub(crate) mod watch;
pub(crate) mod who;
