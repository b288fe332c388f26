//! The statements that write: rows, the log, timelines. Each is part of its caller's transaction.

use calbridge_proto::v1::{self, TransitionSource};
use prost::Message;
use rusqlite::{Transaction, params};
use uuid::Uuid;

use super::notes;
use crate::store::{
    Identity, Micros, NewDelivery, Position, StoreError,
    body::Packer,
    fold::{Columns, FoldedBooking, FoldedDelivery, Occasion, Shows, Terms},
    time::micros,
};

/// A delivery that was not kept before.
pub(super) fn delivery(
    transaction: &Transaction<'_>,
    delivery: &NewDelivery,
    folded: &FoldedDelivery,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO deliveries (position, delivery_id, tenant, key_time, identity, body_sha256,
            body_size, trigger, trigger_name, receive_time, event_time, disposition, outcome, secret_id, request_id,
            content_type, webhook_version, booking_uid, mentioned, trace_id, siblings_silent)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";
    let event = &delivery.event;
    let sha256 = match delivery.key.identity {
        Identity::Body(_) => None,
        Identity::Request(_) => Some(&delivery.body_sha256[..]),
    };
    let disposition = match event.payload {
        Some(_) => v1::DeliveryDisposition::Accepted,
        None => v1::DeliveryDisposition::Unparsed,
    };
    let request_id = Uuid::parse_str(&event.request_id).ok();
    transaction.prepare_cached(INSERT)?.execute(params![
        folded.position.0,
        &delivery.delivery_id.as_bytes()[..],
        delivery.key.tenant,
        delivery.key.time,
        super::queries::identity(&delivery.key.identity),
        sha256,
        i64::try_from(event.raw_body.len()).unwrap_or(i64::MAX),
        event.trigger,
        event.trigger_name,
        event.receive_time.as_ref().map_or(0, micros),
        event.event_time.as_ref().map(micros),
        i32::from(disposition),
        i32::from(folded.outcome),
        event.secret_id,
        request_id.as_ref().map(|id| &id.as_bytes()[..]),
        event.content_type,
        event.webhook_version,
        delivery.booking_uid,
        notes::mentioned(delivery.booking_uid.as_deref(), &folded.mentions),
        delivery.trace_id,
        delivery.leaves_siblings_silent,
    ])?;
    Ok(())
}

/// Its body.
pub(super) fn body(
    transaction: &Transaction<'_>,
    packer: &mut Packer,
    body: &[u8],
    position: Position,
) -> Result<(), StoreError> {
    let stored = packer.pack(body);
    transaction
        .prepare_cached("INSERT INTO bodies (position, encoding, body) VALUES (?1, ?2, ?3)")?
        .execute(params![position.0, stored.encoding, &stored.bytes[..]])?;
    Ok(())
}

/// The changes that a delivery made, and where it stands in timelines. `kept_at` is where the delivery itself is kept:
/// for a replay another place than that of what it makes.
pub(super) fn changes(
    transaction: &Transaction<'_>,
    delivery: &NewDelivery,
    folded: &FoldedDelivery,
    kept_at: Position,
    occasion: &Occasion<'_>,
) -> Result<(), StoreError> {
    for (position, made) in &folded.transitions {
        // A webhook's trace is its delivery's.
        let trace_id = if occasion.source == TransitionSource::Webhook { "" } else { &made.trace_id };
        transition(transaction, *position, made, kept_at, trace_id, occasion.now)?;
    }
    for told in &folded.mentions {
        let (tenant, uid) = (&delivery.key.tenant, &told.uid);
        let note =
            notes::Note { position: told.position, delivery: kept_at, outcome: told.outcome, source: occasion.source };
        notes::mention(transaction, tenant, uid, &note)?;
    }
    Ok(())
}

/// What the clock did.
pub(super) fn clock(
    transaction: &Transaction<'_>,
    made: &[(Position, v1::Transition)],
    now: Micros,
) -> Result<(), StoreError> {
    for (position, made) in made {
        let delivery = Position::default();
        transition(transaction, *position, made, delivery, &made.trace_id, now)?;
        let outcome = v1::SubmitOutcome::Unspecified;
        let note = notes::Note { position: *position, delivery, outcome, source: TransitionSource::Clock };
        notes::mention(transaction, &made.tenant, &made.uid, &note)?;
    }
    Ok(())
}

/// Rows, each with what finds it.
pub(super) fn bookings(transaction: &Transaction<'_>, bookings: &[FoldedBooking]) -> Result<(), StoreError> {
    for booking in bookings {
        row(transaction, booking)?;
        terms(transaction, &booking.key.1, &booking.terms)?;
    }
    Ok(())
}

/// The newest position that was handed out.
pub(super) fn head(transaction: &Transaction<'_>, before: Position, after: Position) -> Result<(), StoreError> {
    if after != before {
        transaction.prepare_cached("UPDATE head SET position = ?1")?.execute([after.0])?;
    }
    Ok(())
}

fn transition(
    transaction: &Transaction<'_>,
    position: Position,
    made: &v1::Transition,
    delivery: Position,
    trace_id: &str,
    now: Micros,
) -> Result<(), StoreError> {
    const INSERT: &str = "INSERT INTO transitions (position, delivery, tenant, uid, kind, from_status, to_status,
            rule, source, commit_time, booking, trace_id)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let booking = made.booking.as_ref().map(Message::encode_to_vec).unwrap_or_default();
    transaction.prepare_cached(INSERT)?.execute(params![
        position.0,
        delivery.0,
        made.tenant,
        made.uid,
        made.kind,
        made.from_status,
        made.to_status,
        made.rule,
        made.source,
        now,
        booking,
        trace_id,
    ])?;
    Ok(())
}

fn row(transaction: &Transaction<'_>, booking: &FoldedBooking) -> Result<(), StoreError> {
    match &booking.shows {
        Shows::Otherwise(columns) => shown(transaction, booking, columns),
        Shows::AsBefore => {
            const UPDATE: &str = "UPDATE bookings SET state = ?3, clock_end = ?4, clock_told = ?5
                WHERE tenant = ?1 AND uid = ?2";
            let (tenant, uid) = &booking.key;
            let (end, told) = (booking.clock_end, booking.clock_told);
            transaction.prepare_cached(UPDATE)?.execute(params![tenant, uid, booking.state, end, told])?;
            Ok(())
        }
        Shows::Nothing(link) => hidden(transaction, booking, link.as_ref()),
    }
}

/// A row of hints alone: kept, not shown, and a link of a chain all the same.
fn hidden(
    transaction: &Transaction<'_>,
    booking: &FoldedBooking,
    link: Option<&(String, i32)>,
) -> Result<(), StoreError> {
    const HIDE: &str = "INSERT INTO bookings
            (tenant, uid, state, visible, status, start_time, update_time, position, rescheduled_from, link)
        VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, ?4, ?5)
        ON CONFLICT (tenant, uid) DO UPDATE SET state = excluded.state, rescheduled_from = excluded.rescheduled_from,
            link = excluded.link";
    let (tenant, uid) = &booking.key;
    let (from, evidence) = link.map_or((None, 0), |(from, evidence)| (Some(from), *evidence));
    transaction.prepare_cached(HIDE)?.execute(params![tenant, uid, booking.state, from, evidence])?;
    Ok(())
}

/// A row whose booking changed visibly.
fn shown(transaction: &Transaction<'_>, booking: &FoldedBooking, columns: &Columns) -> Result<(), StoreError> {
    const UPSERT: &str = "INSERT INTO bookings (tenant, uid, state, visible, status, start_time, update_time, position,
            rescheduled_from, link, seated, organizer, event_type_id, clock_end, clock_told)
        VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
        ON CONFLICT (tenant, uid) DO UPDATE SET state = excluded.state, visible = excluded.visible,
            status = excluded.status, start_time = excluded.start_time, update_time = excluded.update_time,
            position = excluded.position, rescheduled_from = excluded.rescheduled_from, link = excluded.link,
            seated = excluded.seated, organizer = excluded.organizer, event_type_id = excluded.event_type_id,
            clock_end = excluded.clock_end, clock_told = excluded.clock_told";
    transaction.prepare_cached(UPSERT)?.execute(params![
        booking.key.0,
        booking.key.1,
        booking.state,
        columns.status,
        columns.start_time,
        columns.update_time,
        columns.position.0,
        columns.rescheduled_from,
        columns.link,
        columns.seated,
        columns.organizer,
        columns.event_type_id,
        booking.clock_end,
        booking.clock_told,
    ])?;
    Ok(())
}

/// By what a booking is found, and by what not any more.
pub(super) fn terms(transaction: &Transaction<'_>, uid: &str, terms: &Terms) -> Result<(), StoreError> {
    const ADD: &str = "INSERT OR IGNORE INTO terms (term, start_time, uid) VALUES (?1, ?2, ?3)";
    const REMOVE: &str = "DELETE FROM terms WHERE term = ?1 AND start_time = ?2 AND uid = ?3";
    for ((term, start), finds) in terms {
        transaction.prepare_cached(if *finds { ADD } else { REMOVE })?.execute(params![term, start, uid])?;
    }
    Ok(())
}
