//! A real Kubernetes control plane for tests, demos and benchmarks, and the server under test.
//!
//! [`ControlPlane`] starts etcd and kube-apiserver, and kube-controller-manager on request, on loopback ports and in a
//! temporary folder. [`Manager`] starts the server against it, with exactly the rights that the chart gives it.
//! [`FaultProxy`] injects faults between the two. Everything started here dies with the process that started it, even
//! if that is killed; see [`parent_death`].

pub mod baseline;
mod cache;
pub mod cluster;
mod component;
pub mod control_plane;
pub mod digest;
pub mod fault_proxy;
pub mod foreground;
pub mod frames;
pub mod http;
pub mod manager;
pub mod node;
pub mod observer;
pub mod page;
pub mod parent_death;
pub mod policy;
mod ports;
mod progress;
pub mod receiver;
mod scratch;
pub mod webhook;
pub mod workspace;

pub use baseline::Baseline;
pub use control_plane::{ControlPlane, Options};
pub use fault_proxy::FaultProxy;
pub use manager::Manager;
pub use page::Page;
pub use webhook::Webhook;
