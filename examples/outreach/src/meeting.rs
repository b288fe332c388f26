//! What bookings amount to, pure: the meetings that they are, each of them a lineage.
//!
//! A meeting is a function of the newest state of its bookings and of nothing else. The log keeps the order of each
//! booking and not that of two: a successor may be heard of before or after the booking that it replaced is said to be
//! replaced, and in the end both ways must lead to the same place. So nothing here asks what came first.

use std::collections::{BTreeMap, BTreeSet};

use calbridge_client::v1::BookingStatus;

/// What is known of a booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) uid: String,
    pub(crate) status: BookingStatus,
    pub(crate) title: String,
    pub(crate) time: Option<(String, String)>,
    /// When it was first accepted: from then on it has been somebody's meeting.
    pub(crate) accepted_at: Option<String>,
    /// When it was cancelled or rejected, while it is.
    pub(crate) ended_at: Option<String>,
    pub(crate) sequence: Option<String>,
    pub(crate) contact: Option<String>,
    /// Its booker, where it names no contact.
    pub(crate) found_contact: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
}

/// Bookings of one lineage, at least one of which was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meeting {
    /// The uid of its earliest known booking.
    pub(crate) name: String,
    /// The booking whose time it is.
    pub(crate) booking: String,
    pub(crate) title: String,
    pub(crate) time: Option<(String, String)>,
    pub(crate) sequence: Option<String>,
    pub(crate) contact: Option<String>,
    pub(crate) booked_at: String,
    /// Set where nothing of it is left.
    pub(crate) undone_at: Option<String>,
}

/// It takes place, or did: whether people came is nothing to the pipeline.
pub(crate) fn is_accepted(status: BookingStatus) -> bool {
    use BookingStatus::{Completed, InProgress, NoShow, Scheduled};
    matches!(status, Scheduled | InProgress | Completed | NoShow)
}

pub(crate) fn is_ended(status: BookingStatus) -> bool {
    matches!(status, BookingStatus::Cancelled | BookingStatus::Rejected)
}

/// The meetings of these bookings, which are whole lineages.
pub(crate) fn meetings(bookings: &[Known]) -> Vec<Meeting> {
    let known: BTreeMap<&str, &Known> = bookings.iter().map(|booking| (booking.uid.as_str(), booking)).collect();
    lineages(bookings).iter().filter_map(|lineage| meeting(lineage, &known)).collect()
}

fn meeting(lineage: &BTreeSet<&str>, known: &BTreeMap<&str, &Known>) -> Option<Meeting> {
    let members = earliest_first(lineage, known);
    let accepted: Vec<&Known> = members.iter().copied().filter(|member| member.accepted_at.is_some()).collect();
    let mut tips: Vec<&Known> =
        members.iter().copied().filter(|member| !members.iter().any(|other| is_link(member, other))).collect();
    if tips.is_empty() {
        // A cycle: somebody must be the last.
        tips.extend(members.last());
    }
    // One that was rescheduled and whose successor nobody has heard of is on its way, as one is that waits for consent.
    let stands = tips.iter().any(|tip| !is_ended(tip.status));
    let ended = tips.iter().filter_map(|tip| tip.ended_at.clone()).max();
    let holder = tips.iter().copied().rfind(|tip| is_accepted(tip.status)).or(accepted.last().copied())?;
    let first = |named: fn(&Known) -> Option<&String>| members.iter().copied().find_map(named).cloned();
    let booked_at = accepted.iter().filter_map(|member| member.accepted_at.clone()).min()?;
    Some(Meeting {
        name: members.first()?.uid.clone(),
        booking: holder.uid.clone(),
        title: holder.title.clone(),
        time: holder.time.clone(),
        sequence: first(|member| member.sequence.as_ref()),
        contact: first(|member| member.contact.as_ref()).or(first(|member| member.found_contact.as_ref())),
        undone_at: (!stands).then(|| ended.unwrap_or_else(|| booked_at.clone())),
        booked_at,
    })
}

/// That one replaced the other: either of the two may say so first.
fn is_link(before: &Known, after: &Known) -> bool {
    before.uid != after.uid && (after.from.as_ref() == Some(&before.uid) || before.to.as_ref() == Some(&after.uid))
}

/// Generation by generation, in each by uid. A cycle has no beginning: there it is the least uid.
fn earliest_first<'a>(lineage: &BTreeSet<&str>, known: &BTreeMap<&str, &'a Known>) -> Vec<&'a Known> {
    let mut left: Vec<&Known> = lineage.iter().filter_map(|uid| known.get(uid).copied()).collect();
    let mut sorted = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let (mut generation, later): (Vec<&Known>, Vec<&Known>) =
            left.iter().partition(|member| !left.iter().any(|other| is_link(other, member)));
        left = later;
        if generation.is_empty() {
            generation.push(left.remove(0));
        }
        sorted.append(&mut generation);
    }
    sorted
}

/// Sets of uids that links join, also through bookings that are not known.
fn lineages(bookings: &[Known]) -> Vec<BTreeSet<&str>> {
    let mut lineages: Vec<BTreeSet<&str>> = Vec::new();
    for booking in bookings {
        let named = [Some(&booking.uid), booking.from.as_ref(), booking.to.as_ref()];
        let mut joined: BTreeSet<&str> = named.into_iter().flatten().map(String::as_str).collect();
        let (met, apart): (Vec<_>, Vec<_>) = lineages.into_iter().partition(|other| !other.is_disjoint(&joined));
        lineages = apart;
        joined.extend(met.into_iter().flatten());
        lineages.push(joined);
    }
    lineages
}

#[cfg(test)]
mod tests;
