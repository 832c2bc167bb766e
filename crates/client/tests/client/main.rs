//! Tests the client with real files and a real server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers as well")]

mod calls;
mod credentials;
mod fixture;
