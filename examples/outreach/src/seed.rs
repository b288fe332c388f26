//! `seed`: a prospect, a contact of theirs, and a sequence under way, to try the pipeline with.

use crate::pipeline::{Pipeline, PipelineError};

/// Whom to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// `metadata.outreachSequenceId` of their bookings.
    pub sequence: String,
    /// `metadata.contactId` of their bookings.
    pub contact: String,
    /// The prospect's key.
    pub prospect: String,
    /// The contact's address.
    pub email: String,
    /// The contact's name.
    pub name: String,
}

/// Writes what is not there yet. The sequence has three steps; the first is done.
///
/// # Errors
///
/// Where the database can't be written, or the address is another contact's.
pub fn seed(pipeline: &mut Pipeline, seed: &Seed) -> Result<(), PipelineError> {
    let Seed { sequence, contact, prospect, email, name } = seed;
    let change = pipeline.connection().transaction()?;
    change.execute(
        "INSERT INTO prospects (id, name, status) VALUES (?1, ?1, 'CONTACTED') ON CONFLICT (id) DO NOTHING",
        [prospect],
    )?;
    change.execute(
        "INSERT INTO contacts (id, prospect_id, email, name, status) VALUES (?1, ?2, ?3, ?4, 'CONTACTED')
         ON CONFLICT (id) DO NOTHING",
        [contact, prospect, email, name],
    )?;
    change.execute(
        "INSERT INTO sequences (id, prospect_id, name, status) VALUES (?1, ?2, 'First outreach', 'ACTIVE')
         ON CONFLICT (id) DO NOTHING",
        [sequence, prospect],
    )?;
    for (number, channel, status) in [(1, "email", "DONE"), (2, "call", "OPEN"), (3, "email", "OPEN")] {
        change.execute(
            "INSERT INTO steps (sequence_id, number, channel, status) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (sequence_id, number) DO NOTHING",
            (sequence, number, channel, status),
        )?;
    }
    change.commit()?;
    Ok(())
}
