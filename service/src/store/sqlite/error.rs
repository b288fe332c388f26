//! What `SQLite`'s errors mean to a caller. Its messages name tables and columns, never values, so they may be logged.

use rusqlite::{Error, ErrorCode};

use crate::store::StoreError;

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match &error {
            Error::SqliteFailure(failure, _)
                if matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
            {
                Self::Damaged { what: "database file", why: error.to_string() }
            }
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
            | Error::QueryReturnedNoRows => Self::Damaged { what: "row", why: error.to_string() },
            _ => Self::Unavailable { why: error.to_string(), code: code(&error) },
        }
    }
}

/// `SQLite`'s extended result code.
fn code(error: &Error) -> Option<String> {
    if let Error::SqliteFailure(failure, _) = error { Some(failure.extended_code.to_string()) } else { None }
}
