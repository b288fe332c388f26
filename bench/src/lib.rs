//! What calbridge costs: of calls within a process, and of the built programs under load.

mod batches;
pub mod deliveries;
pub mod numbers;
pub mod webhooks;

pub use batches::{Case, Cost, measure};
