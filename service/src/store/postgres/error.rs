//! What `PostgreSQL`'s errors mean to a caller. Its messages name tables and columns; values stand in details, which
//! are not repeated.

use tokio_postgres::{Error, error::SqlState};

use crate::store::StoreError;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let Some(refused) = error.as_db_error() else {
            // A column of another type than this program wrote, or one that is missing.
            let is_foreign = error.to_string().starts_with("error retrieving column");
            return if is_foreign {
                Self::Damaged { what: "row", why: error.to_string() }
            } else {
                Self::unavailable(format!("PostgreSQL is away: {error}"))
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
