//! The wire format of Kubernetes: the frames of a watch, and protobuf messages with the few fields that are read.
//!
//! Source of all field numbers: `generated.proto` in the packages of k8s.io/apimachinery and k8s.io/api. Protobuf is a
//! stable format of Kubernetes: field numbers never change their meaning. There is no I/O here.

mod encoding;
mod envelope;
mod frames;
pub mod messages;

pub use encoding::{ACCEPT, Encoding};
pub use envelope::{Envelope, Event, Unreadable};
pub use frames::{FrameTooLong, Frames, LONGEST_FRAME};
