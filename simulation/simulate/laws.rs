//! What must hold, whatever broke: judged from what went in, what was answered and what is kept, and by what the golden
//! lives say of their own ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use calbridge_adapter::inspect_spool;
use calbridge_proto::v1::{Booking, BookingEvent, Delivery, Transition};
use calbridge_service::store::{
    Batch, DeliveryKey, Identity, LogEntry, LogFilter, LogQuery, NewDelivery, PackedBody, Position, Store, StoreError,
    memory::Memory,
};
use futures_util::FutureExt as _;
use uuid::Uuid;

use crate::{
    plan::{Plan, Webhook},
    readers::CONSUMER,
    seen::{Answers, Seen},
    world::tenant,
};

/// More than any seed makes.
const MOST: usize = 10_000;
/// A spool's last batch may go beyond its bound by its records' heads, and by a new segment's.
const BOUND_MORE: u64 = 16 * 1024;

/// As it goes: a spool stays within its bound.
pub(crate) fn bounds(plan: &Plan, spools: &[PathBuf], seen: &Seen) -> Result<(), String> {
    for spool in spools.iter().filter(|spool| spool.exists()) {
        let bytes = directory_bytes(spool).map_err(|why| format!("{}: {why}", spool.display()))?;
        seen.with(|seen| seen.spooled_most = seen.spooled_most.max(bytes));
        if bytes > plan.spool_bytes + BOUND_MORE {
            return Err(format!("a spool of {} bytes holds {bytes}", plan.spool_bytes));
        }
    }
    Ok(())
}

/// What has still to come before all is settled.
pub(crate) fn missing(plan: &Plan, memory: &Memory, spools: &[PathBuf], seen: &Seen) -> Result<Option<String>, String> {
    let store = memory.open();
    for (number, answers) in answers(plan, seen) {
        let webhook = &plan.webhooks[number];
        let wanted = if webhook.step.is_some() { answers.kept().min(1) } else { answers.kept() };
        let there = copies(&deliveries(&store, webhook.tenant)?, webhook);
        if there < wanted {
            return Ok(Some(format!("webhook {number} was answered {answers:?} and is in the store {there} times")));
        }
    }
    for spool in spools {
        let summary = inspect_spool(spool, |_| {}).map_err(|why| format!("{}: {why}", spool.display()))?;
        let waiting: usize = summary.tenants.values().map(|(records, _)| records).sum();
        if waiting > 0 || summary.unreadable > 0 {
            return Ok(Some(format!("{} holds {summary:?}", spool.display())));
        }
    }
    for number in 0..2 {
        let log = log(&store, number)?;
        let watched = seen.with(|seen| seen.watched.get(&number).map_or(0, Vec::len));
        if watched < log.len() {
            return Ok(Some(format!("watcher-{number} has heard of {watched} transitions of {}", log.len())));
        }
    }
    let worked: BTreeSet<String> = seen.with(|seen| seen.worked.iter().map(|made| made.position.clone()).collect());
    let log = log(&store, 0)?;
    if let Some(left) = log.iter().find(|made| !worked.contains(&made.position)) {
        return Ok(Some(format!("the worker was not handed {} of {}", left.position, log.len())));
    }
    let consumer = now(store.consumer((Arc::from(tenant(0)), CONSUMER.to_owned())))?;
    Ok(match consumer {
        None => Some("the worker has not begun".to_owned()),
        Some(of) if of.out + of.waiting > 0 => Some(format!("{} items are not settled", of.out + of.waiting)),
        Some(of) if of.dead_letters > 0 => return Err(format!("{} dead letters", of.dead_letters)),
        Some(_) => None,
    })
}

/// At the end.
pub(crate) fn judge(plan: &Plan, memory: &Memory, seen: &Seen) -> Result<(), String> {
    let store = memory.open();
    let answers: BTreeMap<usize, Answers> = answers(plan, seen).collect();
    for number in 0..plan.lives.len() {
        let kept = deliveries(&store, number)?;
        kept_once(plan, number, &kept, &answers)?;
        states(plan, number, &kept, &store)?;
    }
    for number in 0..2 {
        let (log, watched) = (log(&store, number)?, seen.with(|seen| seen.watched.remove(&number).unwrap_or_default()));
        let told = watched.iter().map(said).zip(log.iter().map(said));
        if let Some((heard, made)) = told.into_iter().find(|(heard, made)| made != heard) {
            return Err(format!("watcher-{number} heard {heard:?}, the log has {made:?}"));
        }
        if log.len() != watched.len() {
            return Err(format!("watcher-{number} heard of {:?}, the log has {:?}", places(&watched), places(&log)));
        }
    }
    in_turn(&seen.with(|seen| std::mem::take(&mut seen.worked)), &log(&store, 0)?)
}

/// Everything that was promised is there, once, and nothing that nobody sent.
fn kept_once(plan: &Plan, number: usize, kept: &[Delivery], answers: &BTreeMap<usize, Answers>) -> Result<(), String> {
    let mut sent = 0;
    for (webhook, told) in plan.webhooks.iter().enumerate().filter(|(_, webhook)| webhook.tenant == number) {
        let there = copies(kept, told);
        let of = answers.get(&webhook).copied().unwrap_or_default();
        // Each request with a body that can't be typed is a webhook of its own.
        let (least, most) = match told.step {
            Some(_) => (of.kept().min(1), of.tried.min(1)),
            None => (of.kept(), of.tried),
        };
        // Two webhooks of a life may be the same bytes: then they are one.
        if there < least || there > most.max(usize::from(told.step.is_some() && there == 1)) {
            return Err(format!("webhook {webhook} is in the store {there} times: {of:?}"));
        }
        sent += usize::from(there > 0);
    }
    let bodies: BTreeSet<_> = kept.iter().map(|delivery| &delivery.body_sha256).collect();
    if sent < bodies.len() {
        return Err(format!("{} holds {} bodies, {sent} of them were sent", tenant(number), bodies.len()));
    }
    Ok(())
}

/// Every booking is what its webhooks say, told one by one in the order in which they came about; and a life of which
/// nothing is missing ends where it was written to end.
fn states(plan: &Plan, number: usize, kept: &[Delivery], store: &impl Store) -> Result<(), String> {
    let told = plan.webhooks.iter().filter(|webhook| webhook.tenant == number && webhook.step.is_some());
    let (there, lost): (Vec<_>, Vec<_>) = told.partition(|webhook| copies(kept, webhook) > 0);
    let judge = Memory::default().open();
    for webhook in there {
        let delivery = delivery(&tenant(number), webhook);
        now(judge.commit(Batch { deliveries: vec![delivery], ..Batch::default() }))?;
    }
    for (uid, status, payment) in &plan.lives[number].ends {
        let read = now(store.booking(&tenant(number), uid, false))?.map(state);
        let meant = now(judge.booking(&tenant(number), uid, false))?.map(state);
        if read != meant {
            return Err(format!("{uid} of {} is {read:?}, and its webhooks say {meant:?}", tenant(number)));
        }
        let end = read.map(|booking| (booking.status(), booking.payment_status()));
        if lost.is_empty() && end != Some((*status, *payment)) {
            return Err(format!("{uid} of {} ends as {end:?}, not as {status:?} and {payment:?}", tenant(number)));
        }
    }
    Ok(())
}

/// The worker was handed everything, and of each booking nothing before what came before it.
fn in_turn(worked: &[Transition], log: &[Transition]) -> Result<(), String> {
    let known: BTreeSet<_> = log.iter().map(|made| &made.position).collect();
    let mut first: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for made in worked {
        if !known.contains(&made.position) {
            return Err(format!("the worker was handed {}, which is not in the log", made.position));
        }
        let of = first.entry(&made.uid).or_default();
        if !of.contains(&made.position.as_str()) {
            of.push(&made.position);
        }
    }
    match first.iter().find(|(_, positions)| !positions.is_sorted()) {
        Some((uid, positions)) => Err(format!("the worker was handed {uid} as {positions:?}")),
        None => Ok(()),
    }
}

fn answers(plan: &Plan, seen: &Seen) -> impl Iterator<Item = (usize, Answers)> + use<> {
    let answers = seen.with(|seen| seen.answers.clone());
    (0..plan.webhooks.len()).map(move |number| (number, answers.get(&number).copied().unwrap_or_default()))
}

fn deliveries(store: &impl Store, number: usize) -> Result<Vec<Delivery>, String> {
    let kept = now(store.deliveries(&tenant(number), None, MOST))?;
    Ok(kept.into_iter().map(|(_, delivery)| delivery).collect())
}

fn copies(kept: &[Delivery], webhook: &Webhook) -> usize {
    kept.iter().filter(|delivery| delivery.body_sha256 == webhook.sha256).count()
}

fn log(store: &impl Store, number: usize) -> Result<Vec<Transition>, String> {
    let (mut after, mut made) = (Position::default(), Vec::new());
    loop {
        let filter = Arc::new(LogFilter::default());
        let page = now(store.log(LogQuery { tenant: tenant(number).into(), after, filter, recorded: false }))?;
        made.extend(page.entries.into_iter().filter_map(|(_, entry)| match entry {
            LogEntry::Transition(transition) => Some(*transition),
            LogEntry::Recorded(_) => None,
        }));
        if !page.more {
            return Ok(made);
        }
        after = page.through;
    }
}

fn places(log: &[Transition]) -> Vec<&str> {
    log.iter().map(|made| made.position.as_str()).collect()
}

/// A transition without what is looked up when it is read: a link that came late is told by whoever reads late.
fn said(made: &Transition) -> Transition {
    let booking = made.booking.clone().map(|booking| Booking {
        etag: String::new(),
        origin_uid: String::new(),
        rescheduled_from_uid: String::new(),
        rescheduled_from_evidence: 0,
        ..booking
    });
    Transition { booking, ..made.clone() }
}

/// A booking without what only tells when it was learned.
fn state(booking: Booking) -> Booking {
    Booking { position: String::new(), etag: String::new(), update_time: None, ..booking }
}

/// A webhook as it comes to a store.
fn delivery(tenant: &str, webhook: &Webhook) -> NewDelivery {
    let raw_body = webhook.body.clone().into();
    let mut event = BookingEvent { tenant: tenant.to_owned(), raw_body, ..Default::default() };
    calbridge_calcom::type_body(&webhook.body).into_event(&mut event);
    let mut body_sha256 = [0; 32];
    body_sha256.copy_from_slice(&webhook.sha256);
    NewDelivery {
        key: DeliveryKey { tenant: Arc::from(tenant), time: 0, identity: Identity::Body(body_sha256) },
        delivery_id: Uuid::from_slice(&body_sha256[..16]).unwrap_or_default(),
        body_sha256,
        booking_uid: None,
        facts: calbridge_booking::facts(&event, &body_sha256),
        leaves_siblings_silent: calbridge_booking::leaves_siblings_silent(&event),
        packed: PackedBody::default(),
        is_typed: event.payload.is_some(),
        event: Box::new(event),
        trace_id: String::new(),
    }
}

/// The store in memory waits for nothing.
fn now<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, String> {
    let answered = asked.now_or_never().ok_or("the store in memory waits for something")?;
    answered.map_err(|why| why.to_string())
}

fn directory_bytes(directory: &Path) -> std::io::Result<u64> {
    let segments = fs::read_dir(directory)?.map(|entry| {
        let entry = entry?;
        let is_segment = entry.path().extension().is_some_and(|extension| extension == "segment");
        Ok(if is_segment { entry.metadata()?.len() } else { 0 })
    });
    segments.sum()
}
