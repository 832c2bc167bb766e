//! End-to-end tests of the server: a separate process on a real API server, with exactly the rights of the chart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod address_families;
mod admission;
mod another_server;
mod audit;
mod authorization;
mod autoscaled;
mod certificates;
mod check;
mod cli;
mod connections;
mod contested;
mod crd;
mod credentials;
mod drift;
mod durability;
mod encodings;
mod fixture;
mod grpcurl;
mod guard;
mod guard_policies;
mod history;
mod hold;
mod hostile;
mod kinds;
mod leader;
mod listing;
mod mass;
mod namespaced;
mod namespaces;
mod outage;
mod own_workload;
mod page;
mod proxies;
mod rpc;
mod shutdown;
mod standalone;
mod starting;
mod startup;
mod steady;
mod unread_log;
mod unsupported;
mod unwritable;
