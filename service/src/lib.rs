//! The booking service.

pub mod store;
