//! One command a file.

pub(crate) mod delete;
pub(crate) mod enforcement;
pub(crate) mod get;
pub(crate) mod set;
pub(crate) mod watch;
pub(crate) mod who;
