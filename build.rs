//! Compiles the schema without a system `protoc`: protox is written in Rust and carries Google's well-known types.

use std::{env, error::Error, fs, path::PathBuf};

/// Every file of the schema; reflection and code generation see exactly these.
const FILES: [&str; 10] = [
    "calbridge/v1/booking.proto",
    "calbridge/v1/booking_service.proto",
    "calbridge/v1/consumer.proto",
    "calbridge/v1/consumer_service.proto",
    "calbridge/v1/delivery.proto",
    "calbridge/v1/delivery_service.proto",
    "calbridge/v1/event.proto",
    "calbridge/v1/ingest_service.proto",
    "calbridge/v1/payload.proto",
    "calbridge/v1/transition.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);

    // Reflection needs names and shapes alone: shipping every comment inside each binary would only be weight.
    let mut lean = protox::Compiler::new(["proto"])?;
    lean.include_imports(true).include_source_info(false).open_files(FILES)?;
    fs::write(out.join("descriptors.bin"), lean.encode_file_descriptor_set())?;

    // Code generation wants the comments: they become the documentation of the generated types.
    let described = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        // Maps with a fixed order: the same message has the same bytes in every process.
        .btree_map(".")
        // Bodies and spooled events are shared, never copied.
        .bytes(".calbridge.v1.BookingEvent.raw_body")
        .compile_fds(described)?;
    Ok(())
}
