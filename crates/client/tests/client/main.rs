//! The client against files and a server, both real.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers as well")]

mod calls;
mod credentials;
mod fixture;
