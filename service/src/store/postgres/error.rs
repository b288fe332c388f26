//! What `PostgreSQL`'s errors mean to a caller. Its messages name tables and columns; values stand in details, which
//! are not repeated.

use std::{error::Error as _, io, iter};

use deadpool_postgres::{HookError, PoolError};
use tokio_postgres::{Error, error::SqlState};

use crate::store::StoreError;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let Some(refused) = error.as_db_error() else {
            // A column of another type than this program wrote, or one that is missing.
            let is_foreign =
                ["error deserializing column", "invalid column"].iter().any(|said| error.to_string().starts_with(said));
            return if is_foreign {
                Self::Damaged { what: "row", why: error.to_string() }
            } else {
                Self::unavailable(format!("PostgreSQL is away: {}", with_causes(&error)))
            };
        };
        let code = refused.code().code();
        match &code[..2] {
            // Values that can't be stored, and pages that can't be read: another try ends the same way.
            "22" => Self::Damaged { what: "value", why: format!("PostgreSQL refused it with {code}") },
            "XX" => Self::Damaged { what: "database", why: format!("PostgreSQL says {code}") },
            _ => Self::Unavailable { why: refused.message().to_owned(), code: Some(code.to_owned()) },
        }
    }
}

/// Whether the same transaction, begun again, may end well: `PostgreSQL` chose it as the one to give way.
pub(super) fn gave_way(error: &StoreError) -> bool {
    let chosen = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
    let StoreError::Unavailable { code: Some(code), .. } = error else { return false };
    chosen.iter().any(|state| state.code() == code)
}

/// Whether another try for a first connection may end otherwise: the database is starting, full, or not there yet. What
/// it says of a password, or a certificate of us, stays said.
pub(super) fn passes(error: &PoolError) -> bool {
    let (PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error))) = error else { return true };
    match error.code() {
        // Insufficient resources, and an operator's intervention: it starts, or ends.
        Some(code) => matches!(&code.code()[..2], "53" | "57"),
        None => error.is_closed() || causes(error).any(|cause| cause.downcast_ref().is_some_and(is_of_the_network)),
    }
}

/// TLS speaks through the errors of a socket as well.
fn is_of_the_network(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return true };
    !inner.is::<rustls::Error>()
}

/// "error performing TLS handshake" alone helps nobody.
pub(super) fn with_causes(error: &Error) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn causes(error: &Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    iter::successors(error.source(), |cause| (*cause).source())
}

#[cfg(test)]
mod tests;
