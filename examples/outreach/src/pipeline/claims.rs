//! Which meeting keeps which state of the pipeline set, and what it was before.
//!
//! A state is set by the first meeting that claims it and set back when the last one lets it go; whoever joins in
//! between takes over what it was before. So two meetings of one contact undo in any order. What somebody else has
//! changed since stays as he left it.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension as _, Row, Transaction};

use crate::meeting::Meeting;

/// What has a state that a meeting sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Sequence,
    Step,
    Contact,
    Prospect,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    meeting: String,
    kind: Kind,
    target: String,
    /// 0 but for steps.
    step: i64,
}

/// The statements of a kind: reading a state, and changing it from one to another.
struct Statements {
    name: &'static str,
    set: &'static str,
    read: &'static str,
    change: &'static str,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Sequence, Self::Step, Self::Contact, Self::Prospect];

    /// Each statement knows `?1` as the target and `?2` as the step.
    fn statements(self) -> Statements {
        match self {
            Self::Sequence => Statements {
                name: "SEQUENCE",
                set: "BOOKED",
                read: "SELECT status FROM sequences WHERE id = ?1 AND ?2 = 0",
                change: "UPDATE sequences SET status = ?4 WHERE id = ?1 AND ?2 = 0 AND status = ?3",
            },
            Self::Step => Statements {
                name: "STEP",
                set: "BOOKED",
                read: "SELECT status FROM steps WHERE sequence_id = ?1 AND number = ?2",
                change: "UPDATE steps SET status = ?4 WHERE sequence_id = ?1 AND number = ?2 AND status = ?3",
            },
            Self::Contact => Statements {
                name: "CONTACT",
                set: "CONVERTED",
                read: "SELECT status FROM contacts WHERE id = ?1 AND ?2 = 0",
                change: "UPDATE contacts SET status = ?4 WHERE id = ?1 AND ?2 = 0 AND status = ?3",
            },
            Self::Prospect => Statements {
                name: "PROSPECT",
                set: "ENGAGED",
                read: "SELECT status FROM prospects WHERE id = ?1 AND ?2 = 0",
                change: "UPDATE prospects SET status = ?4 WHERE id = ?1 AND ?2 = 0 AND status = ?3",
            },
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.statements().name == name)
    }
}

/// Lets these meetings claim what is theirs, and whatever else the touched lineages claimed go.
pub(super) fn settle(
    change: &Transaction<'_>,
    touched: &BTreeSet<String>,
    meetings: &[Meeting],
) -> rusqlite::Result<()> {
    let held = held(change, touched)?;
    let mut wanted = BTreeSet::new();
    for meeting in meetings.iter().filter(|meeting| meeting.undone_at.is_none()) {
        wanted.extend(wants(change, meeting, &held)?);
    }
    // First what is new: what goes from one meeting to another is never without one.
    for claim in wanted.difference(&held) {
        take(change, claim)?;
    }
    for claim in held.difference(&wanted) {
        let_go(change, claim)?;
    }
    Ok(())
}

fn wants(change: &Transaction<'_>, meeting: &Meeting, held: &BTreeSet<Claim>) -> rusqlite::Result<BTreeSet<Claim>> {
    let claim =
        |kind, target: &str, step| Claim { meeting: meeting.name.clone(), kind, target: target.to_owned(), step };
    let mut wanted = BTreeSet::new();
    if let Some(sequence) = &meeting.sequence {
        let whole = claim(Kind::Sequence, sequence, 0);
        if held.contains(&whole) {
            // A step that was opened since is somebody's wish.
            let ours = |of: &&Claim| of.kind == Kind::Step && of.meeting == meeting.name && of.target == *sequence;
            wanted.extend(held.iter().filter(ours).cloned());
        } else {
            wanted.extend(open_steps(change, sequence)?.into_iter().map(|step| claim(Kind::Step, sequence, step)));
        }
        wanted.insert(whole);
    }
    if let Some(contact) = &meeting.contact {
        wanted.insert(claim(Kind::Contact, contact, 0));
    }
    if let Some(prospect) = prospect(change, meeting)? {
        wanted.insert(claim(Kind::Prospect, &prospect, 0));
    }
    Ok(wanted)
}

/// Steps that are open, or would be but for a meeting.
fn open_steps(change: &Transaction<'_>, sequence: &str) -> rusqlite::Result<Vec<i64>> {
    let mut read = change.prepare_cached(
        "SELECT number FROM steps WHERE sequence_id = ?1 AND status = 'OPEN'
         UNION SELECT step FROM claims WHERE kind = 'STEP' AND target = ?1",
    )?;
    read.query_map([sequence], |row| row.get(0))?.collect()
}

/// The contact's; a contact that has none may be one of the sequence's prospect.
fn prospect(change: &Transaction<'_>, meeting: &Meeting) -> rusqlite::Result<Option<String>> {
    let mut read = change.prepare_cached(
        "SELECT coalesce((SELECT prospect_id FROM contacts WHERE id = ?1),
                         (SELECT prospect_id FROM sequences WHERE id = ?2))",
    )?;
    read.query_row((&meeting.contact, &meeting.sequence), |row| row.get(0))
}

fn take(change: &Transaction<'_>, claim: &Claim) -> rusqlite::Result<()> {
    let Statements { name, set, read, change: update } = claim.kind.statements();
    let mut first =
        change.prepare_cached("SELECT prior FROM claims WHERE kind = ?1 AND target = ?2 AND step = ?3 LIMIT 1")?;
    let taken_over: Option<String> = first.query_row((name, &claim.target, claim.step), |row| row.get(0)).optional()?;
    let prior = if let Some(prior) = taken_over {
        prior
    } else {
        let found: String = change.prepare_cached(read)?.query_row((&claim.target, claim.step), |row| row.get(0))?;
        change.prepare_cached(update)?.execute((&claim.target, claim.step, &found, set))?;
        found
    };
    let mut write =
        change.prepare_cached("INSERT INTO claims (meeting, kind, target, step, prior) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    write.execute((&claim.meeting, name, &claim.target, claim.step, prior))?;
    Ok(())
}

fn let_go(change: &Transaction<'_>, claim: &Claim) -> rusqlite::Result<()> {
    let Statements { name, set, change: update, .. } = claim.kind.statements();
    let mut remove = change.prepare_cached(
        "DELETE FROM claims WHERE meeting = ?1 AND kind = ?2 AND target = ?3 AND step = ?4 RETURNING prior",
    )?;
    let prior: String = remove.query_row((&claim.meeting, name, &claim.target, claim.step), |row| row.get(0))?;
    let mut others =
        change.prepare_cached("SELECT 1 FROM claims WHERE kind = ?1 AND target = ?2 AND step = ?3 LIMIT 1")?;
    if !others.exists((name, &claim.target, claim.step))? {
        change.prepare_cached(update)?.execute((&claim.target, claim.step, set, prior))?;
    }
    Ok(())
}

fn held(change: &Transaction<'_>, meetings: &BTreeSet<String>) -> rusqlite::Result<BTreeSet<Claim>> {
    let mut read = change.prepare_cached("SELECT meeting, kind, target, step FROM claims WHERE meeting = ?1")?;
    let mut held = BTreeSet::new();
    for meeting in meetings {
        for claim in read.query_map([meeting], claim)? {
            held.extend(claim?);
        }
    }
    Ok(held)
}

/// Nothing for a kind that the schema does not allow.
fn claim(row: &Row<'_>) -> rusqlite::Result<Option<Claim>> {
    let (meeting, target, step) = (row.get(0)?, row.get(2)?, row.get(3)?);
    Ok(Kind::named(&row.get::<_, String>(1)?).map(|kind| Claim { meeting, kind, target, step }))
}
