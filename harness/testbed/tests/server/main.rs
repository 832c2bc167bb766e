//! The server as its users meet it: a process of its own on a real API server, with exactly the rights it asks for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod alone;
mod audit;
mod autoscaled;
mod certificates;
mod check;
mod connections;
mod contested;
mod drift;
mod durability;
mod encodings;
mod grpcurl;
mod hostile;
mod kinds;
mod listing;
mod mass;
mod namespaced;
mod outage;
mod policy;
mod rpc;
mod scene;
mod shutdown;
mod startup;
