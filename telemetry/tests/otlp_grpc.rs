//! Traces, metrics and logs over OTLP by grpc, all the way into a collector.

// `cfg(test)` tells clippy that this is test code, where unwrap is fine.
#[cfg(test)]
#[path = "otlp/receiver.rs"]
mod receiver;

#[test]
fn everything_arrives_by_grpc() {
    receiver::everything_arrives("grpc");
}
