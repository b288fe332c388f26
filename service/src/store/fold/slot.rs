//! A booking while a round folds into it: its row, how it shows, and what the log says that the clock did.

use std::collections::{BTreeMap, BTreeSet};

use calbridge_booking::{Change, Derived, Horizon, Row, Rule, derive, link_back, transition};
use calbridge_proto::v1::Booking;
use prost::Message as _;

use super::message::{Columns, columns, start_time};
use crate::store::{
    BookingKey, Micros, Position, StoreError,
    clock::SKEW,
    terms,
    view::{self, LoadedRow},
};

/// A booking under way.
pub(super) struct Slot {
    pub(super) row: Row,
    /// As the log has told it; unset while the row is not visible.
    pub(super) visible: Option<Derived>,
    /// Set where a change is to be seen.
    columns: Option<Columns>,
    terms: Terms,
    anyway: bool,
    is_new: bool,
}

/// A row to write.
pub(crate) struct FoldedBooking {
    pub(crate) key: BookingKey,
    /// There was no row of it: nor is there anything that finds it.
    pub(crate) is_new: bool,
    pub(crate) state: Vec<u8>,
    /// The end that the clock waits for, or has passed.
    pub(crate) clock_end: Option<Micros>,
    pub(crate) clock_told: bool,
    /// Its registers say more than before; else the clock alone spoke.
    pub(crate) told_more: bool,
    pub(crate) shows: Shows,
    /// What it is found by from now on, and what finds it no more.
    pub(crate) terms: Terms,
}

/// How a row shows after a round.
pub(crate) enum Shows {
    /// As before: the stored columns hold.
    AsBefore,
    /// Otherwise.
    Otherwise(Columns),
    /// Not at all: hints are all that is known. With what it replaced, if that is, and the `LinkEvidence` of it.
    Nothing(Option<(String, i32)>),
}

/// The terms that a round makes find a booking (true), or not any more (false).
pub(crate) type Terms = BTreeMap<(i64, Micros), bool>;

impl Slot {
    pub(super) fn load(stored: Option<&LoadedRow>, uid: &str) -> Result<Self, StoreError> {
        let row = stored.map_or_else(|| Ok(Row::default()), |stored| view::decode(&stored.state))?;
        let visible = stored.and_then(|stored| derive(uid, &row, view::told(stored.clock_told)));
        let is_new = stored.is_none();
        Ok(Self { row, visible, columns: None, terms: Terms::new(), anyway: false, is_new })
    }

    pub(super) fn written_anyway(self) -> Self {
        Self { anyway: true, ..self }
    }

    /// How the row shows now. What the clock has completed stays so while its end counts as past; what it has not
    /// completed yet is its own to tell.
    pub(super) fn derive_anew(&self, uid: &str, horizon: Horizon) -> Option<Derived> {
        let heard = match &self.visible {
            Some(Derived { rule: Rule::EndedByClock, clock_end: Some(end), .. }) => horizon.max(Horizon::up_to(*end)),
            _ => Horizon::NONE,
        };
        derive(uid, &self.row, heard)
    }

    /// What the clock changes at `horizon`, and how the booking shows then.
    pub(super) fn hear(&self, uid: &str, horizon: Horizon) -> Option<(Change, Derived)> {
        let visible = self.visible.as_ref()?;
        let end = visible.clock_end?;
        let told = visible.rule == Rule::EndedByClock;
        // A clock that goes back a little takes nothing back.
        let passed = horizon.passed(if told { end.saturating_sub(SKEW) } else { end });
        if passed == told {
            return None;
        }
        let after = derive(uid, &self.row, if passed { Horizon::up_to(end) } else { Horizon::NONE })?;
        Some((transition(Some(visible), &after)?, after))
    }

    /// The booking shows otherwise from this position and time on. Answers it as the log has it.
    pub(super) fn show(
        &mut self,
        (tenant, uid): (&str, &str),
        mut after: Derived,
        (position, now): (Position, Micros),
    ) -> Vec<u8> {
        view::place(&mut after.booking, tenant, uid, position, now);
        let before = self.visible.as_ref().map(|before| &before.booking);
        // Most webhooks change little that a term is made of.
        if before.map(several) != Some(several(&after.booking)) {
            exchange(&mut self.terms, tenant, before, &after.booking, terms::of);
        }
        if before.map(single) != Some(single(&after.booking)) {
            exchange(&mut self.terms, tenant, before, &after.booking, terms::of_columns);
        }
        self.columns = Some(columns(&after, position, now));
        self.visible.insert(after).booking.encode_to_vec()
    }

    pub(super) fn is_to_be_written(&self, told_more: bool) -> bool {
        self.anyway || told_more || self.columns.is_some()
    }

    pub(super) fn folded(self, key: BookingKey, state: Vec<u8>, told_more: bool) -> FoldedBooking {
        let shows = match (&self.visible, self.columns) {
            (_, Some(columns)) => Shows::Otherwise(columns),
            (Some(_), None) => Shows::AsBefore,
            (None, None) => {
                Shows::Nothing(link_back(&self.row).map(|(uid, evidence)| (uid.to_owned(), evidence.into())))
            }
        };
        let (clock_end, clock_told) = match &self.visible {
            Some(visible) => (visible.clock_end, visible.rule == Rule::EndedByClock),
            None => (None, false),
        };
        FoldedBooking { is_new: self.is_new, state, clock_end, clock_told, told_more, shows, terms: self.terms, key }
    }
}

/// What finds a booking no more, and what finds it from now on.
fn exchange(
    terms: &mut Terms,
    tenant: &str,
    before: Option<&Booking>,
    after: &Booking,
    of: fn(&str, &Booking) -> BTreeSet<i64>,
) {
    let at = |booking: &Booking| (start_time(booking), of(tenant, booking));
    let (then, gone) = before.map(at).unwrap_or_default();
    let (now, found) = at(after);
    let stays = |term: &i64| then == now && gone.contains(term) && found.contains(term);
    terms.extend(gone.iter().filter(|term| !stays(term)).map(|term| ((*term, then), false)));
    terms.extend(found.iter().filter(|term| !stays(term)).map(|term| ((*term, now), true)));
}

/// What the terms are made of that a booking has several of.
fn several(booking: &Booking) -> impl PartialEq {
    (start_time(booking), &booking.attendees, &booking.metadata)
}

/// And one of each.
fn single(booking: &Booking) -> impl PartialEq {
    let organizer = booking.organizer.as_ref().map(|organizer| &organizer.email);
    (start_time(booking), booking.status, booking.event_type_id, organizer)
}
