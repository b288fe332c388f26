//! What a read found, column by column, and the messages that it becomes: the same for every store.

use calbridge_proto::v1;
use prost::Message;
use uuid::Uuid;

use super::{
    Micros, PAGE_BYTES_MAX, Position, StoreError, lineage::Origin, pack, time::timestamp, view, view::LoadedRow,
};

/// A visible row.
pub(crate) struct FoundBooking {
    pub(crate) uid: String,
    pub(crate) row: LoadedRow,
    pub(crate) position: Position,
    pub(crate) update_time: Micros,
}

/// A line of a timeline.
pub(crate) struct FoundEntry {
    pub(crate) position: Position,
    /// The clock has none.
    pub(crate) delivery_id: Option<Uuid>,
    /// Unset are its position, the delivery's id and the transition.
    pub(crate) entry: v1::TimelineEntry,
    pub(crate) changed: Option<FoundChange>,
}

/// A transition, as it stands in the log.
pub(crate) struct FoundTransition {
    pub(crate) position: Position,
    pub(crate) uid: String,
    /// The clock has none.
    pub(crate) delivery_id: Option<Uuid>,
    pub(crate) trigger: i32,
    pub(crate) event_time: Option<Micros>,
    pub(crate) trace_id: String,
    pub(crate) changed: FoundChange,
}

/// The columns of a transition.
pub(crate) struct FoundChange {
    pub(crate) kind: i32,
    pub(crate) from_status: i32,
    pub(crate) to_status: i32,
    pub(crate) rule: String,
    pub(crate) source: i32,
    pub(crate) commit_time: Micros,
    pub(crate) booking: Vec<u8>,
}

impl FoundBooking {
    /// But for what only a reader of other rows can know.
    pub(crate) fn show(&self, tenant: &str) -> Result<v1::Booking, StoreError> {
        view::booking(tenant, &self.uid, &self.row, self.position, self.update_time)
    }

    /// The same for a list, which leaves out what is damaged: the others must not go with it.
    pub(crate) fn show_in_list(
        self,
        tenant: &str,
        damaged: &mut Vec<String>,
    ) -> Result<Option<v1::Booking>, StoreError> {
        match self.show(tenant) {
            Err(StoreError::Damaged { .. }) => {
                damaged.push(self.uid);
                Ok(None)
            }
            shown => shown.map(Some),
        }
    }
}

impl FoundEntry {
    pub(crate) fn show(
        self,
        tenant: &str,
        uid: &str,
        origin: &Origin,
    ) -> Result<(Position, v1::TimelineEntry), StoreError> {
        let Self { position, delivery_id, mut entry, changed } = self;
        entry.position = position.to_token();
        entry.delivery_id = delivery_id.map(|id| id.to_string()).unwrap_or_default();
        entry.transition = changed.map(|changed| changed.show(&entry, tenant, uid, origin)).transpose()?;
        Ok((position, entry))
    }
}

impl FoundTransition {
    pub(crate) fn show(self, tenant: &str, origin: &Origin) -> Result<v1::Transition, StoreError> {
        let cause = v1::TimelineEntry {
            position: self.position.to_token(),
            delivery_id: self.delivery_id.map(|id| id.to_string()).unwrap_or_default(),
            trigger: self.trigger,
            event_time: self.event_time.map(timestamp),
            trace_id: self.trace_id,
            ..v1::TimelineEntry::default()
        };
        self.changed.show(&cause, tenant, &self.uid, origin)
    }
}

impl FoundChange {
    fn show(
        self,
        entry: &v1::TimelineEntry,
        tenant: &str,
        uid: &str,
        origin: &Origin,
    ) -> Result<v1::Transition, StoreError> {
        let damaged = |_| StoreError::Damaged { what: "transition", why: "its booking can't be read".to_owned() };
        let mut booking = v1::Booking::decode(&*pack::booking(&self.booking)?).map_err(damaged)?;
        view::seal(&mut booking, origin.clone());
        Ok(v1::Transition {
            position: entry.position.clone(),
            tenant: tenant.to_owned(),
            uid: uid.to_owned(),
            kind: self.kind,
            from_status: self.from_status,
            to_status: self.to_status,
            booking: Some(booking),
            delivery_id: entry.delivery_id.clone(),
            trigger: entry.trigger,
            commit_time: Some(timestamp(self.commit_time)),
            event_time: entry.event_time,
            trace_id: entry.trace_id.clone(),
            rule: self.rule,
            source: self.source,
        })
    }
}

/// What is to be said of a line beside its columns.
pub(crate) fn notes(siblings_silent: bool) -> Vec<i32> {
    if siblings_silent { vec![v1::TimelineNote::SiblingsMayHaveChanged.into()] } else { Vec::new() }
}

/// The entries of a page, taken one after the other, until they are too many bytes.
pub(crate) fn collect<T>(
    found: impl Iterator<Item = Result<T, StoreError>>,
    bytes: impl Fn(&T) -> usize,
) -> Result<Vec<T>, StoreError> {
    let mut page = Vec::new();
    let mut total = 0_usize;
    for entry in found {
        let entry = entry?;
        total = total.saturating_add(bytes(&entry));
        page.push(entry);
        if total > PAGE_BYTES_MAX && page.len() > 1 {
            break;
        }
    }
    Ok(page)
}
