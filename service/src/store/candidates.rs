//! Which rows a list looks at: those behind one condition, walked in the order asked for from the cursor on. The filter
//! decides on each of them; what the condition stands for may be too much, never too little.
//!
//! Invariant: the work of a page is bounded. What does not have the order asked for is sorted, so it leads only where
//! few rows are behind it.

use super::{BookingOrder, BookingQuery, Comparison, Condition, Filter, Micros, SORTED_ROWS_MAX, terms};
use calbridge_proto::v1::BookingStatus;

/// What a row says before its state is decoded.
pub(crate) struct Columns {
    pub(crate) status: i32,
    pub(crate) start_time: Micros,
    pub(crate) update_time: Micros,
    pub(crate) organizer: Option<String>,
    pub(crate) event_type_id: Option<i64>,
}

/// What is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lead<'a> {
    /// Attendees and metadata.
    Term(i64),
    Organizer(&'a str),
    EventType(i64),
    Status(BookingStatus),
    /// All of the tenant's, in the order asked for.
    Order(BookingOrder),
}

/// False where the columns show that the filter does not mean the row.
pub(crate) fn may_match(filter: &Filter, columns: &Columns) -> bool {
    filter.0.iter().all(|condition| match condition {
        Condition::Status(comparison, status) => comparison.holds(columns.status.cmp(&i32::from(*status))),
        Condition::StartTime(comparison, time) => {
            // A row without a start has the least integer there.
            columns.start_time == Micros::MIN || comparison.holds(columns.start_time.cmp(time))
        }
        Condition::UpdateTime(comparison, time) => comparison.holds(columns.update_time.cmp(time)),
        Condition::OrganizerEmail(email) => columns.organizer.as_ref() == Some(email),
        Condition::EventTypeId(id) => columns.event_type_id == Some(*id),
        Condition::AttendeeEmail(_) | Condition::Metadata(..) => true,
    })
}

/// Chooses the narrowest condition that leads, as far as it is worth counting: what is to be counted before is answered
/// by [`Choice::to_count`], and its number comes back through [`Choice::counted`].
pub(crate) struct Choice<'q> {
    order: BookingOrder,
    leads: Vec<Lead<'q>>,
    narrowest: (usize, Lead<'q>),
    next: usize,
}

impl<'q> Choice<'q> {
    pub(crate) fn new(query: &'q BookingQuery) -> Self {
        let leads = query.filter.0.iter().filter_map(|condition| Lead::of(&query.tenant, condition)).collect();
        Self { order: query.order, leads, narrowest: (usize::MAX, Lead::Order(query.order)), next: 0 }
    }

    /// Of what the rows are to be counted, up to one more than are sorted.
    pub(crate) fn to_count(&self) -> Option<Lead<'q>> {
        // Nothing to choose from: the one that there is has the order asked for.
        if self.order == BookingOrder::StartTime && self.leads.len() == 1 {
            return None;
        }
        self.leads.get(self.next).copied()
    }

    pub(crate) fn counted(&mut self, rows: usize) {
        if let Some(lead) = self.leads.get(self.next)
            && rows < self.narrowest.0
        {
            self.narrowest = (rows, *lead);
        }
        self.next += 1;
    }

    pub(crate) fn lead(&self) -> Lead<'q> {
        match (self.order, self.leads.as_slice()) {
            (BookingOrder::StartTime, [only]) => *only,
            (BookingOrder::UpdateTime, _) if self.narrowest.0 > SORTED_ROWS_MAX => Lead::Order(self.order),
            _ => self.narrowest.1,
        }
    }
}

/// The times between which a list can have rows, in its order: where a walk begins and ends.
pub(crate) struct Range {
    pub(crate) least: Micros,
    pub(crate) greatest: Micros,
}

impl Range {
    /// As the filter says.
    pub(crate) fn of(query: &BookingQuery) -> Self {
        let mut range = Self { least: Micros::MIN, greatest: Micros::MAX };
        for condition in &query.filter.0 {
            let ((BookingOrder::StartTime, Condition::StartTime(comparison, time))
            | (BookingOrder::UpdateTime, Condition::UpdateTime(comparison, time))) = (query.order, condition)
            else {
                continue;
            };
            let (from, to) = match comparison {
                Comparison::Equal => (*time, *time),
                Comparison::Less => (Micros::MIN, time.saturating_sub(1)),
                Comparison::LessOrEqual => (Micros::MIN, *time),
                Comparison::Greater => (time.saturating_add(1), Micros::MAX),
                Comparison::GreaterOrEqual => (*time, Micros::MAX),
                Comparison::NotEqual => (Micros::MIN, Micros::MAX),
            };
            (range.least, range.greatest) = (range.least.max(from), range.greatest.min(to));
        }
        range
    }

    /// What is to be compared. One of each kind at the most, however many conditions there are: a connection keeps a
    /// statement for each set of them.
    pub(crate) fn comparisons(&self) -> impl Iterator<Item = (Comparison, Micros)> {
        let from = (self.least > Micros::MIN).then_some((Comparison::GreaterOrEqual, self.least));
        let to = (self.greatest < Micros::MAX).then_some((Comparison::LessOrEqual, self.greatest));
        from.into_iter().chain(to)
    }
}

impl<'a> Lead<'a> {
    fn of(tenant: &str, condition: &'a Condition) -> Option<Self> {
        match condition {
            Condition::AttendeeEmail(email) => Some(Self::Term(terms::attendee(tenant, email))),
            Condition::Metadata(key, value) => Some(Self::Term(terms::metadata(tenant, key, value))),
            Condition::OrganizerEmail(email) => Some(Self::Organizer(email)),
            Condition::EventTypeId(id) => Some(Self::EventType(*id)),
            Condition::Status(Comparison::Equal, status) => Some(Self::Status(*status)),
            Condition::Status(..) | Condition::StartTime(..) | Condition::UpdateTime(..) => None,
        }
    }
}

#[cfg(test)]
mod tests;
