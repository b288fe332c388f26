//! The whole journal folded again into a fresh state beside the stored one, and every booking that would differ: what
//! tells before an upgrade what it would change, and after one what it did.
//!
//! The fresh state is a store of its own, filled by the very commits that fill the real one. Webhooks go on coming
//! meanwhile: a row is compared only where the journal was folded up to the last that spoke of it; where it was not,
//! the journal is followed a little further. And only where every body that spoke of it is kept: what the stored row
//! owes to a purged one the fresh row can't have.

mod difference;
mod fresh;
mod pages;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use calbridge_proto::v1::{
    Delivery, RefoldDeliveriesResponse, RefoldProgress, RefoldSummary, refold_deliveries_response::Step,
};

use tokio::sync::OwnedSemaphorePermit;

pub(crate) use self::fresh::sweep;
use self::{
    difference::difference,
    fresh::Fresh,
    pages::{read_until, side_by_side},
};
use crate::{
    retype::retype,
    settings::{REFOLD_CATCH_UPS, REFOLD_PAGE, REFOLD_WAITING},
    store::{Batch, BookingKey, NewDelivery, Position, Store, StoreError, StoredRow},
};

/// A check under way; each step of it is pulled by whoever reads the answers.
pub(crate) struct Refold<S> {
    store: Arc<S>,
    fresh: Fresh,
    tenant: Option<String>,
    /// The journal is folded up to here.
    folded: Position,
    phase: Phase,
    counts: RefoldSummary,
    /// Found and not yet told.
    untold: VecDeque<RefoldDeliveriesResponse>,
}

enum Phase {
    /// Following the journal, and where to go on when its end is reached.
    Fold(Box<Phase>),
    /// Comparing rows behind this one, the first time through.
    Compare {
        after: Option<BookingKey>,
        waiting: Vec<BookingKey>,
    },
    /// Comparing once more those that webhooks spoke of meanwhile.
    CatchUp {
        waiting: Vec<BookingKey>,
        tries: usize,
    },
    Done,
}

impl<S: Store> Refold<S> {
    /// Makes an empty fresh state in `folder`. `alone` is held until nothing is left of it.
    pub(crate) async fn open(
        store: Arc<S>,
        tenant: Option<String>,
        folder: PathBuf,
        alone: OwnedSemaphorePermit,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            store,
            fresh: Fresh::open(folder, alone).await?,
            tenant,
            folded: Position::default(),
            phase: Phase::Fold(Box::new(Phase::Compare { after: None, waiting: Vec::new() })),
            counts: RefoldSummary::default(),
            untold: VecDeque::new(),
        })
    }

    /// What is to be told next; `None` behind the summary.
    pub(crate) async fn next(&mut self) -> Option<Result<RefoldDeliveriesResponse, StoreError>> {
        self.step().await.transpose()
    }

    async fn step(&mut self) -> Result<Option<RefoldDeliveriesResponse>, StoreError> {
        if let Some(told) = self.untold.pop_front() {
            return Ok(Some(told));
        }
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Fold(then) => {
                let more = self.fold_page().await?;
                self.phase = if more { Phase::Fold(then) } else { *then };
            }
            Phase::Compare { after, waiting } => self.phase = self.compare_page(after, waiting).await?,
            Phase::CatchUp { waiting, tries } => self.phase = self.catch_up(waiting, tries).await?,
            Phase::Done => return Ok(None),
        }
        if matches!(self.phase, Phase::Done) {
            // Before the last word: whoever has heard it may ask for the next check.
            self.fresh.close().await;
            self.untold.push_back(step(Step::Summary(self.counts)));
        }
        let RefoldSummary { deliveries, bookings, .. } = self.counts;
        Ok(Some(step(Step::Progress(RefoldProgress { deliveries, bookings }))))
    }

    /// Folds a page of the journal; false at its end.
    async fn fold_page(&mut self) -> Result<bool, StoreError> {
        // Read before the page: where the page is empty, everything up to here is folded.
        let head = self.store.head().await?;
        let page = self.store.journal(self.tenant.clone(), self.folded, REFOLD_PAGE).await?;
        let Some((last, _)) = page.last() else {
            self.folded = self.folded.max(head);
            return Ok(false);
        };
        let last = *last;
        self.counts.deliveries += count(page.len());
        let deliveries = tokio::task::spawn_blocking(move || page.into_iter().map(|(_, kept)| again(kept)).collect());
        let deliveries: Result<Vec<_>, StoreError> = deliveries.await.map_err(|_| ending())?;
        self.fresh.store()?.commit(Batch { deliveries: deliveries?, ..Batch::default() }).await?;
        self.folded = last;
        Ok(true)
    }

    /// Compares a page of rows, side by side; goes on behind the least key up to which both sides were read.
    async fn compare_page(
        &mut self,
        after: Option<BookingKey>,
        mut waiting: Vec<BookingKey>,
    ) -> Result<Phase, StoreError> {
        let fresh = self.fresh.store()?.rows(self.tenant.clone(), after.clone(), REFOLD_PAGE).await?;
        let stored = self.store.rows(self.tenant.clone(), after, REFOLD_PAGE).await?;
        let purged = self.purged(stored.rows.iter().map(|row| Arc::clone(&row.key.0)).collect()).await?;
        let Some(until) = read_until(&stored, &fresh) else { return Ok(Phase::CatchUp { waiting, tries: 0 }) };
        for (key, stored, fresh) in side_by_side(stored.rows, fresh.rows, &until) {
            if self.compare(&key, stored.as_ref(), fresh.as_ref(), &purged)? {
                continue;
            }
            if waiting.len() < REFOLD_WAITING {
                waiting.push(key);
            } else {
                self.counts.unchecked += 1;
            }
        }
        Ok(Phase::Compare { after: Some(until), waiting })
    }

    /// Follows the journal further for the bookings that wait, a few times.
    async fn catch_up(&mut self, mut waiting: Vec<BookingKey>, tries: usize) -> Result<Phase, StoreError> {
        for key in std::mem::take(&mut waiting) {
            let (stored, fresh) = (self.store.row(key.clone()).await?, self.fresh.store()?.row(key.clone()).await?);
            let purged = self.purged([Arc::clone(&key.0)].into()).await?;
            if !self.compare(&key, stored.as_ref(), fresh.as_ref(), &purged)? {
                waiting.push(key);
            }
        }
        if waiting.is_empty() || tries == REFOLD_CATCH_UPS {
            self.counts.unchecked += count(waiting.len());
            return Ok(Phase::Done);
        }
        Ok(Phase::Fold(Box::new(Phase::CatchUp { waiting, tries: tries + 1 })))
    }

    /// Through which positions the bodies of these tenants are gone. Asked after the rows were read: a body that is
    /// kept now was there when the journal was folded.
    async fn purged(&self, tenants: BTreeSet<Arc<str>>) -> Result<HashMap<Arc<str>, Position>, StoreError> {
        let mut purged = HashMap::with_capacity(tenants.len());
        for tenant in tenants {
            let through = self.store.watermarks(&tenant).await?.bodies;
            purged.insert(tenant, through);
        }
        Ok(purged)
    }

    /// False where a webhook that is not folded yet spoke of the booking: nothing can be said of it now.
    fn compare(
        &mut self,
        key: &BookingKey,
        stored: Option<&StoredRow>,
        fresh: Option<&StoredRow>,
        purged: &HashMap<Arc<str>, Position>,
    ) -> Result<bool, StoreError> {
        let through = purged.get(&key.0).copied().unwrap_or_default();
        if through > Position::default() && stored.is_some_and(|row| row.first <= through) {
            self.counts.not_checkable += 1;
            return Ok(true);
        }
        let same = stored.map(|row| &row.state) == fresh.map(|row| &row.state);
        let known = stored.is_none_or(|row| row.mentioned <= self.folded);
        if same || known {
            self.counts.bookings += 1;
        }
        if !same && known {
            self.counts.differences += 1;
            self.untold.push_back(step(Step::Difference(difference(key, stored, fresh)?)));
        }
        Ok(same || known)
    }
}

/// What a kept delivery says to the fresh state, which needs no bytes of it.
fn again(kept: Delivery) -> Result<NewDelivery, StoreError> {
    let mut delivery = retype(kept, String::new())?;
    delivery.event.raw_body.clear();
    Ok(delivery)
}

fn step(step: Step) -> RefoldDeliveriesResponse {
    RefoldDeliveriesResponse { step: Some(step) }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn ending() -> StoreError {
    StoreError::unavailable("the service is ending")
}
