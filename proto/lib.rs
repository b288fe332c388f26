//! `calbridge.v1`: the gRPC schema as Rust types. The comments of the `.proto` files are the documentation.

mod payload;

/// Messages, enums, clients and servers of the package `calbridge.v1`.
pub mod v1 {
    // Generated code keeps its own style.
    #![allow(clippy::pedantic, clippy::all, missing_docs)]
    tonic::include_proto!("calbridge.v1");
}

/// The whole schema as an encoded `FileDescriptorSet`, without comments: what server reflection answers from.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
