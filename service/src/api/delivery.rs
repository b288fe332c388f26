//! Reading the webhooks that were kept, and folding them again.

use std::{pin::Pin, sync::Arc};

use calbridge_process::Scope;
use calbridge_proto::v1::{
    GetDeliveryRequest, GetDeliveryResponse, ListDeliveriesRequest, ListDeliveriesResponse, RefoldDeliveriesRequest,
    RefoldDeliveriesResponse, ReplayDeliveryRequest, ReplayDeliveryResponse, delivery_service_server::DeliveryService,
};
use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, async_trait};
use tracing::{Span, error};
use uuid::Uuid;

use super::{
    Api, demand,
    errors::ApiError,
    mask, no_filter, open,
    page::{self, List},
    read, tenant,
};
use crate::{
    audit,
    ingest::{kept_id, record_transitions},
    refold::Refold,
    retype::retype,
    store::{Replay, Store, StoreError},
};

/// What a stream of steps is to tonic.
type Steps = Pin<Box<dyn Stream<Item = Result<RefoldDeliveriesResponse, Status>> + Send>>;

#[async_trait]
impl<S: Store> DeliveryService for Api<S> {
    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesResponse>, Status> {
        let (caller, request) = open(request);
        let whose = tenant(&caller, &request.tenant)?;
        no_filter(&request.filter)?;
        let size = page::size(request.page_size)?;
        let pages = List { method: "ListDeliveries", tenant: &request.tenant, choices: &[] };
        let before = pages.position(&request.page_token)?;
        let mut found = read(self.store.deliveries(whose, before, size + 1)).await?;
        let more = page::cut(&mut found, size, |(_, delivery)| page::encoded(delivery));
        let next_page_token = match found.last() {
            Some((last, _)) if more => pages.token_at(*last),
            _ => String::new(),
        };
        let deliveries = found.into_iter().map(|(_, delivery)| delivery).collect();
        Ok(Response::new(ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn get_delivery(
        &self,
        request: Request<GetDeliveryRequest>,
    ) -> Result<Response<GetDeliveryResponse>, Status> {
        let (caller, GetDeliveryRequest { tenant: asked, delivery_id, include_raw_body }) = open(request);
        let whose = tenant(&caller, &asked)?;
        let id = delivery(&delivery_id)?;
        if include_raw_body {
            demand(&caller, &[Scope::Admin], "include_raw_body")?;
            audit::raw_body(&caller, &asked, id);
        }
        let delivery = read(self.store.delivery(whose, id, include_raw_body)).await?;
        let delivery = delivery.ok_or(ApiError::DeliveryNotFound { delivery_id: id.to_string() })?;
        Ok(Response::new(GetDeliveryResponse { delivery: Some(delivery) }))
    }

    async fn replay_delivery(
        &self,
        request: Request<ReplayDeliveryRequest>,
    ) -> Result<Response<ReplayDeliveryResponse>, Status> {
        let (caller, ReplayDeliveryRequest { tenant: whose, delivery_id, dry_run }) = open(request);
        let whose = tenant(&caller, &whose)?;
        let id = delivery(&delivery_id)?;
        let not_found = || ApiError::DeliveryNotFound { delivery_id: id.to_string() };
        let kept = read(self.store.delivery(whose, id, true)).await?.ok_or_else(not_found)?;
        if kept.raw_body_purged {
            return Err(ApiError::BodyPurged { delivery_id: id.to_string() }.into());
        }
        let trace_id = kept_id(&Span::current());
        // A body may have megabytes: typed beside the reactor.
        let typed = tokio::task::spawn_blocking(move || retype(kept, trace_id));
        let ending = |_| StoreError::unavailable("the service is ending");
        let delivery = read(async { typed.await.map_err(ending)? }).await?;
        let (now, clock) = ((self.replays.clock)(), Arc::clone(&self.replays.policies));
        // Its time limit is the call's: a write that is under way is not given up.
        let replayed =
            self.store.replay(Replay { delivery, dry_run, now, clock }).await.map_err(|failure| failed(&failure))?;
        let replayed = replayed.ok_or_else(not_found)?;
        if !dry_run {
            record_transitions(&Span::current(), &replayed.transitions);
        }
        let (outcome, transitions) = (replayed.outcome.into(), mask::all_shown(&caller, replayed.transitions));
        Ok(Response::new(ReplayDeliveryResponse { outcome, transitions, delivery_id: id.to_string() }))
    }

    type RefoldDeliveriesStream = Steps;

    async fn refold_deliveries(
        &self,
        request: Request<RefoldDeliveriesRequest>,
    ) -> Result<Response<Self::RefoldDeliveriesStream>, Status> {
        let (caller, RefoldDeliveriesRequest { tenant: whose }) = open(request);
        let whose = match whose.as_str() {
            "" if caller.knows_all() => None,
            // Nothing at all would be taken for a fold without a difference.
            "" => return Err(ApiError::ScopeMissing { scopes: &[Scope::Admin], what: "a fold of every tenant" }.into()),
            whose => Some(tenant(&caller, whose)?.to_owned()),
        };
        let alone = Arc::clone(&self.replays.refolding).try_acquire_owned().map_err(|_| ApiError::Overloaded)?;
        let refold = Refold::open(Arc::clone(&self.store), whose, self.replays.scratch.clone(), alone).await;
        let state = (refold.map_err(|failure| failed(&failure))?, self.stopping.clone(), caller);
        let steps = stream::unfold(Some(state), |state| async move {
            let (mut refold, stopping, caller) = state?;
            if stopping.is_cancelled() {
                return Some((Err(ApiError::ShuttingDown.into()), None));
            }
            match refold.next().await? {
                Ok(step) => Some((Ok(mask::shown(&caller, step)), Some((refold, stopping, caller)))),
                Err(failure) => Some((Err(failed(&failure).into()), None)),
            }
        });
        Ok(Response::new(steps.boxed()))
    }
}

fn delivery(id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(|_| ApiError::InvalidField { field: "delivery_id", why: "must be a UUID" })
}

fn failed(failure: &StoreError) -> ApiError {
    error!(error = %failure, "a replay failed");
    ApiError::StoreUnavailable
}
