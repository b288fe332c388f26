//! Rows as one parameter of a statement: an array of a composite type, in the binary form of `PostgreSQL`'s
//! `array_recv` and `record_recv`.
//!
//! Columns as arrays of their own cost the server more than the rows: `UNNEST` writes each array down before it reads
//! them side by side. For the 21 columns of 31 deliveries that is six times the work of one array of rows.

use std::{error::Error, fmt, slice};

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{Field, IsNull, Kind, ToSql, Type, to_sql_checked};

/// Why a value can't be written.
pub(super) type Fault = Box<dyn Error + Sync + Send>;

/// Rows, and how each is written: its columns in the order of the type.
pub(super) struct Records<'r, R, W> {
    pub(super) rows: &'r [R],
    pub(super) write: W,
}

/// One row that is being written.
pub(super) struct Record<'a> {
    fields: slice::Iter<'a, Field>,
    out: &'a mut BytesMut,
}

impl Record<'_> {
    /// All its columns.
    pub(super) fn put(&mut self, columns: &[&(dyn ToSql + Sync)]) -> Result<(), Fault> {
        if columns.len() != self.fields.len() {
            return Err("a row has other columns than its type".into());
        }
        for (column, field) in columns.iter().zip(&mut self.fields) {
            self.out.put_u32(field.type_().oid());
            sized(self.out, |out| column.to_sql_checked(field.type_(), out))?;
        }
        Ok(())
    }
}

impl<R, W> ToSql for Records<'_, R, W>
where
    R: Sync,
    W: Fn(&R, &mut Record<'_>) -> Result<(), Fault> + Sync,
{
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Fault> {
        let (row_type, fields) = fields(ty).ok_or("no array of rows")?;
        let dimensions = i32::from(!self.rows.is_empty());
        out.put_i32(dimensions);
        // No row is null.
        out.put_i32(0);
        out.put_u32(row_type.oid());
        if dimensions > 0 {
            out.put_i32(i32::try_from(self.rows.len())?);
            // Counted from one.
            out.put_i32(1);
        }
        for row in self.rows {
            sized(out, |out| {
                out.put_i32(i32::try_from(fields.len())?);
                (self.write)(row, &mut Record { fields: fields.iter(), out })?;
                Ok(IsNull::No)
            })?;
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        fields(ty).is_some()
    }

    to_sql_checked!();
}

impl<R, W> fmt::Debug for Records<'_, R, W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} rows", self.rows.len())
    }
}

/// The type of the rows of such an array, and its fields.
fn fields(ty: &Type) -> Option<(&Type, &[Field])> {
    let Kind::Array(row) = ty.kind() else { return None };
    let Kind::Composite(fields) = row.kind() else { return None };
    Some((row, fields))
}

/// Writes a value behind its length in bytes; null has none.
fn sized(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> Result<IsNull, Fault>) -> Result<(), Fault> {
    const NULL: i32 = -1;
    let at = out.len();
    out.put_i32(NULL);
    if let IsNull::No = write(out)? {
        let length = i32::try_from(out.len() - at - size_of::<i32>())?;
        if let Some(mut place) = out.get_mut(at..) {
            place.put_i32(length);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Type {
        let fields = vec![Field::new("n".to_owned(), Type::INT4), Field::new("name".to_owned(), Type::TEXT)];
        let pair = Type::new("pair".to_owned(), 70_001, Kind::Composite(fields), "public".to_owned());
        Type::new("_pair".to_owned(), 70_002, Kind::Array(pair), "public".to_owned())
    }

    fn write((n, name): &(i32, Option<&str>), record: &mut Record<'_>) -> Result<(), Fault> {
        record.put(&[n, name])
    }

    #[test]
    fn rows_are_an_array_of_records() {
        let mut out = BytesMut::new();
        Records { rows: &[(7, Some("x")), (8, None)], write }.to_sql_checked(&pairs(), &mut out).unwrap();
        let numbers = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>();
        let array = numbers(&[1, 0, 70_001, 2, 1]);
        let first = [numbers(&[25, 2, 23, 4, 7, 25, 1]), b"x".to_vec()].concat();
        let second = numbers(&[24, 2, 23, 4, 8, 25, u32::MAX]);
        assert_eq!(out, [array, first, second].concat());
        let mut out = BytesMut::new();
        Records { rows: &[], write }.to_sql_checked(&pairs(), &mut out).unwrap();
        assert_eq!(out, numbers(&[0, 0, 70_001]));
    }

    #[test]
    fn what_the_type_does_not_have_is_refused() {
        let one = |(n, _): &(i32, Option<&str>), record: &mut Record<'_>| record.put(&[n]);
        let other = |(n, _): &(i32, Option<&str>), record: &mut Record<'_>| record.put(&[n, n]);
        let rows = [(7, None)];
        assert!(Records { rows: &rows, write: one }.to_sql_checked(&pairs(), &mut BytesMut::new()).is_err());
        assert!(Records { rows: &rows, write: other }.to_sql_checked(&pairs(), &mut BytesMut::new()).is_err());
        assert!(Records { rows: &rows, write }.to_sql_checked(&Type::INT4_ARRAY, &mut BytesMut::new()).is_err());
    }
}
