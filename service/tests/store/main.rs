//! The laws of every store, and what `SQLite` alone can get wrong.
//!
//! `laws` speaks of the trait; each backend runs the whole of it by one line of `laws!`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers as well")]

mod clock;
mod exhaustive;
mod filters;
mod histories;
mod laws;
mod lineage;
mod order;
mod pages;
mod replay;
mod spans;
mod sqlite;
mod support;

/// Runs every law on a backend, each on a store of its own.
#[macro_export]
macro_rules! laws {
    ($backend:ty: $($module:ident::{$($law:ident),* $(,)?});* $(;)?) => {
        $($(
            #[tokio::test]
            async fn $law() {
                $crate::$module::$law(&<$backend>::default()).await;
            }
        )*)*
    };
}
