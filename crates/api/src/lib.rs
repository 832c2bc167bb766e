//! The gRPC API: generated code, and its conversion to and from the types of the domain.

pub mod event;
pub mod request;
pub mod response;

/// The generated messages, client and server of package `proto`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::pedantic, clippy::unwrap_used)]
pub mod proto {
    tonic::include_proto!("proto");
}

/// The encoded `FileDescriptorSet` of the API, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
