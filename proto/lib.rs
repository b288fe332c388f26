//! `calbridge.v1`: the gRPC schema as Rust types. The comments of the `.proto` files are the documentation.

mod payload;

/// Messages, enums, clients and servers of the package `calbridge.v1`.
pub mod v1 {
    // Generated code keeps its own style.
    #![allow(clippy::pedantic, clippy::all, missing_docs)]
    tonic::include_proto!("calbridge.v1");
}

/// Largest HTTP/2 frame that the service takes, in bytes, and that the adapter fills in a burst: one is a write there
/// and a wake here, and of the protocol's own size (16 KiB, RFC 9113, 4.2) there are twice as many.
pub const FRAME_BYTES: u32 = 32 * 1024;

/// The whole schema as an encoded `FileDescriptorSet`, without comments: what server reflection answers from.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
