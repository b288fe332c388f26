//! The statements that write, one for each part of a round: what was received, its bookings, the log with what finds
//! bookings. Rows travel as arrays. A statement costs us some twenty microseconds besides its rows, the server a few:
//! what goes together does.
//!
//! All of them are prepared before the transaction begins and sent one behind the other without waiting; the caller
//! looks at every answer before it believes the commit.

mod bookings;

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
};

use deadpool_postgres::ClientWrapper;
use tokio_postgres::{Error, Statement, types::ToSql};

use super::{
    head::Head,
    postings::Postings,
    records::{Fault, Record, Records},
};
use crate::store::{
    Position,
    changes::{Changes, DeliveryRow, MentionRow, TransitionRow},
    pack::{Packed, Packer},
    replay::Kept,
    round::Plan,
};

/// What was received, and the lines of timelines.
const RECEIVED: &str = "WITH
    d AS (INSERT INTO deliveries (position, delivery_id, tenant, key_time, identity, body_sha256, body_size, trigger,
            trigger_name, receive_time, event_time, disposition, outcome, secret_id, request_id, content_type,
            webhook_version, booking_uid, mentioned, trace_id, siblings_silent)
        SELECT * FROM UNNEST($1::delivery_row[])),
    b AS (INSERT INTO bodies (position, encoding, body) SELECT * FROM UNNEST($2::body_row[]))
    INSERT INTO mentions (tenant, uid, position, delivery, outcome, source) SELECT * FROM UNNEST($3::mention_row[])";
/// The log, what finds the bookings, and where both end now.
const LOGGED: &str = "WITH
    t AS (INSERT INTO transitions (position, delivery, tenant, uid, kind, from_status, to_status, rule, source,
            commit_time, booking, trace_id)
        SELECT * FROM UNNEST($1::transition_row[])),
    p AS (INSERT INTO posting_tail (number, entries)
        SELECT $2::bigint + e.n, e.entries FROM UNNEST($3::bytea[]) WITH ORDINALITY AS e (entries, n))
    UPDATE head SET position = $4, tail_start = $5, tail_end = $6, tail_entries = $7, run = $8";
const NOTES: &str = "INSERT INTO duplicates (position, delivery, receive_time, secret_id, trace_id)
    SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])";
const COUNTS: &str = "UPDATE deliveries d SET duplicate_count = c.count
    FROM UNNEST($1::bigint[], $2::bigint[]) AS c (position, count) WHERE d.position = c.position";
/// Plain, since no row can be in the way: to look for one first costs a search of the index besides the insert's own.
const SHOWN_NEW: &str = "INSERT INTO bookings (tenant, uid, state, visible, status, start_time, update_time, position,
        rescheduled_from, link, seated, organizer, event_type_id, clock_end, clock_told, first_position)
    SELECT r.tenant, r.uid, r.state, 1, r.status, r.start_time, r.update_time, r.position, r.rescheduled_from, r.link,
        r.seated, r.organizer, r.event_type_id, r.clock_end, r.clock_told, $2::bigint
    FROM UNNEST($1::booking_row[]) AS r";
const SHOWN: &str = "UPDATE bookings b SET state = r.state, visible = 1, status = r.status, start_time = r.start_time,
        update_time = r.update_time, position = r.position, rescheduled_from = r.rescheduled_from, link = r.link,
        seated = r.seated, organizer = r.organizer, event_type_id = r.event_type_id, clock_end = r.clock_end,
        clock_told = r.clock_told
    FROM UNNEST($1::booking_row[]) AS r WHERE b.tenant = r.tenant AND b.uid = r.uid";
const AS_BEFORE: &str = "UPDATE bookings b SET state = r.state, clock_end = r.clock_end, clock_told = r.clock_told
    FROM UNNEST($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::boolean[])
        AS r (tenant, uid, state, clock_end, clock_told)
    WHERE b.tenant = r.tenant AND b.uid = r.uid";
const HIDDEN: &str = "INSERT INTO bookings (tenant, uid, state, visible, status, start_time, update_time, position,
        first_position, rescheduled_from, link)
    SELECT r.tenant, r.uid, r.state, 0, 0, 0, 0, 0, $6::bigint, r.rescheduled_from, r.link
    FROM UNNEST($1::text[], $2::text[], $3::bytea[], $4::text[], $5::integer[])
        AS r (tenant, uid, state, rescheduled_from, link)
    ON CONFLICT (tenant, uid) DO UPDATE SET state = excluded.state, rescheduled_from = excluded.rescheduled_from,
        link = excluded.link";
const KEPT: &str = "UPDATE deliveries SET trigger = $2, trigger_name = $3, event_time = $4, outcome = $5,
        booking_uid = $6, mentioned = $7, siblings_silent = $8
    WHERE position = $1";

/// The statements, prepared on one connection.
pub(super) struct Statements<'c> {
    client: &'c ClientWrapper,
    received: Statement,
    logged: Statement,
    notes: Statement,
    counts: Statement,
    shown_new: Statement,
    shown: Statement,
    as_before: Statement,
    hidden: Statement,
    kept: Statement,
}

impl<'c> Statements<'c> {
    pub(super) async fn prepare(client: &'c ClientWrapper) -> Result<Self, Error> {
        let prepared = |sql| client.prepare_cached(sql);
        Ok(Self {
            client,
            received: prepared(RECEIVED).await?,
            logged: prepared(LOGGED).await?,
            notes: prepared(NOTES).await?,
            counts: prepared(COUNTS).await?,
            shown_new: prepared(SHOWN_NEW).await?,
            shown: prepared(SHOWN).await?,
            as_before: prepared(AS_BEFORE).await?,
            hidden: prepared(HIDDEN).await?,
            kept: prepared(KEPT).await?,
        })
    }

    /// Deliveries that were not kept before, their bodies, and the lines of timelines.
    pub(super) async fn received(
        &self,
        deliveries: &[DeliveryRow<'_>],
        bodies: &[(Position, Packed<'_>)],
        mentions: &[MentionRow<'_>],
    ) -> Result<(), Error> {
        if deliveries.is_empty() && mentions.is_empty() {
            return Ok(());
        }
        let deliveries = Records { rows: deliveries, write: delivery };
        let bodies = Records { rows: bodies, write: body };
        let mentions = Records { rows: mentions, write: mention };
        self.client.execute(&self.received, &[&deliveries, &bodies, &mentions]).await?;
        Ok(())
    }

    /// The log, the tail of what finds bookings, and the head behind both.
    pub(super) async fn logged(
        &self,
        packer: &Mutex<Packer>,
        changes: &Changes<'_>,
        (before, after, postings): (Head, Position, &Postings),
    ) -> Result<(), Error> {
        let Postings { marks, tail, .. } = postings;
        if (Head { position: after, marks: *marks }) == before {
            return Ok(());
        }
        let rows: Vec<_> = {
            let mut packer = packer.lock().unwrap_or_else(PoisonError::into_inner);
            changes.transitions().map(|row| (packer.booking(&row.made.booking), row)).collect()
        };
        let rows = Records { rows: &rows, write: transition };
        let values: [&(dyn ToSql + Sync); 8] =
            [&rows, &before.marks.end, tail, &after.0, &marks.start, &marks.end, &marks.entries, &marks.run];
        self.client.execute(&self.logged, &values).await?;
        Ok(())
    }

    /// Copies are counted.
    pub(super) async fn counts(&self, plan: &Plan<'_>) -> Result<(), Error> {
        if plan.counts.is_empty() {
            return Ok(());
        }
        let counts: Vec<_> = plan.counts.iter().collect();
        self.client
            .execute(
                &self.counts,
                &[&column(&counts, |(position, _)| position.0), &column(&counts, |(_, count)| **count)],
            )
            .await?;
        Ok(())
    }

    /// The first few of them are noted as well.
    pub(super) async fn notes(&self, plan: &Plan<'_>) -> Result<(), Error> {
        let rows = &plan.notes;
        if rows.is_empty() {
            return Ok(());
        }
        self.client
            .execute(
                &self.notes,
                &[
                    &column(rows, |row| row.position.0),
                    &column(rows, |row| row.copy.first.position.0),
                    &column(rows, |row| row.copy.receive_time),
                    &column(rows, |row| text(&row.copy.secret_id)),
                    &column(rows, |row| row.copy.trace_id.as_str()),
                ],
            )
            .await?;
        Ok(())
    }

    /// Has a statement write rows, if there are any.
    async fn records<R: Sync>(
        &self,
        statement: &Statement,
        rows: &[R],
        write: impl Fn(&R, &mut Record<'_>) -> Result<(), Fault> + Sync,
    ) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        self.client.execute(statement, &[&Records { rows, write }]).await?;
        Ok(())
    }

    /// What a kept delivery is by now.
    pub(super) async fn kept(&self, kept: Option<&Kept>) -> Result<(), Error> {
        let Some(kept) = kept else { return Ok(()) };
        self.client
            .execute(
                &self.kept,
                &[
                    &kept.position.0,
                    &kept.trigger,
                    &text(&kept.trigger_name),
                    &kept.event_time,
                    &kept.outcome,
                    &kept.booking_uid,
                    &kept.mentioned,
                    &kept.siblings_silent,
                ],
            )
            .await?;
        Ok(())
    }
}

fn delivery(row: &DeliveryRow<'_>, record: &mut Record<'_>) -> Result<(), Fault> {
    let (delivery, event) = (row.delivery, &row.delivery.event);
    record.put(&[
        &row.position.0,
        &delivery.delivery_id,
        &delivery.key.tenant.as_ref(),
        &delivery.key.time,
        &delivery.key.identity.as_bytes(),
        &row.body_sha256(),
        &row.body_size(),
        &event.trigger,
        &text(&event.trigger_name),
        &row.receive_time(),
        &row.event_time(),
        &i32::from(row.disposition()),
        &i32::from(row.outcome),
        &text(&event.secret_id),
        &row.request_id(),
        &text(&event.content_type),
        &text(&event.webhook_version),
        &delivery.booking_uid,
        &row.mentioned,
        &delivery.trace_id,
        &delivery.leaves_siblings_silent,
    ])
}

fn body((position, body): &(Position, Packed<'_>), record: &mut Record<'_>) -> Result<(), Fault> {
    record.put(&[&position.0, &body.encoding, &body.bytes.as_ref()])
}

fn mention(row: &MentionRow<'_>, record: &mut Record<'_>) -> Result<(), Fault> {
    let (outcome, source) = (i32::from(row.outcome), i32::from(row.source));
    record.put(&[&row.tenant, &row.uid, &row.position.0, &row.delivery.0, &outcome, &source])
}

fn transition((booking, row): &(Cow<'_, [u8]>, TransitionRow<'_>), record: &mut Record<'_>) -> Result<(), Fault> {
    let made = &row.made.transition;
    record.put(&[
        &row.position.0,
        &row.delivery.0,
        &made.tenant,
        &made.uid,
        &made.kind,
        &made.from_status,
        &made.to_status,
        &made.rule,
        &made.source,
        &row.commit_time,
        booking,
        &row.trace_id,
    ])
}

/// One column of the rows, as an array of its own: for the statements that few rounds have.
pub(super) fn column<'r, R, T>(rows: &'r [R], of: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

/// `PostgreSQL`'s texts hold no NUL.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}").into() } else { text.into() }
}
