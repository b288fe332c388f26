//! The gRPC surface: thin, and the only place that knows the wire's quirks. What is asked for is checked here, and
//! every refusal is made in `errors.rs`.

mod bells;
mod booking;
mod consume;
mod consumer;
mod delivery;
mod errors;
mod filter;
pub(crate) mod fuzzing;
mod ingest;
mod left_out;
mod mask;
mod page;
mod places;
mod trace;
mod tray;
mod turn;
mod watch;
mod words;

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use calbridge_process::Scope;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use tracing::error;

pub(crate) use self::places::Places;
use self::{bells::Bells, errors::ApiError, left_out::LeftOut};
use crate::{
    auth::{Caller, Denied},
    clock::Clock,
    ingest::{Ingest, check_tenant},
    metrics::Metrics,
    settings::{READ_TIMEOUT, WATCHES, WATCHES_OF_ONE},
    store::{ClockPolicies, Store, StoreError},
};

/// Every method that gets a span, by the name that the span bears.
pub(crate) const METHODS: &[&str] = &[
    "calbridge.v1.IngestService/SubmitEvent",
    "calbridge.v1.IngestService/SubmitEvents",
    "calbridge.v1.BookingService/GetBooking",
    "calbridge.v1.BookingService/ListBookings",
    "calbridge.v1.BookingService/GetLineage",
    "calbridge.v1.BookingService/GetTimeline",
    "calbridge.v1.BookingService/WatchTransitions",
    "calbridge.v1.ConsumerService/CreateConsumer",
    "calbridge.v1.ConsumerService/GetConsumer",
    "calbridge.v1.ConsumerService/ListConsumers",
    "calbridge.v1.ConsumerService/UpdateConsumer",
    "calbridge.v1.ConsumerService/DeleteConsumer",
    "calbridge.v1.ConsumerService/SeekConsumer",
    "calbridge.v1.ConsumerService/PauseConsumer",
    "calbridge.v1.ConsumerService/ResumeConsumer",
    "calbridge.v1.ConsumerService/Consume",
    "calbridge.v1.ConsumerService/ListDeadLetters",
    "calbridge.v1.ConsumerService/ReplayDeadLetters",
    "calbridge.v1.ConsumerService/DeleteDeadLetters",
    "calbridge.v1.DeliveryService/ListDeliveries",
    "calbridge.v1.DeliveryService/GetDelivery",
    "calbridge.v1.DeliveryService/ReplayDelivery",
    "calbridge.v1.DeliveryService/RefoldDeliveries",
];

/// What each method asks of its caller: any of these scopes. A method without a row can't be called.
const NEEDS: &[(&str, &[Scope])] = &[
    ("calbridge.v1.IngestService/SubmitEvent", &[Scope::Ingest]),
    ("calbridge.v1.IngestService/SubmitEvents", &[Scope::Ingest]),
    ("calbridge.v1.BookingService/GetBooking", &[Scope::Read]),
    ("calbridge.v1.BookingService/ListBookings", &[Scope::Read]),
    ("calbridge.v1.BookingService/GetLineage", &[Scope::Read]),
    ("calbridge.v1.BookingService/GetTimeline", &[Scope::Read]),
    ("calbridge.v1.BookingService/WatchTransitions", &[Scope::Read, Scope::Consume]),
    ("calbridge.v1.ConsumerService/CreateConsumer", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/GetConsumer", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/ListConsumers", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/UpdateConsumer", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/DeleteConsumer", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/SeekConsumer", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/PauseConsumer", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/ResumeConsumer", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/Consume", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/ListDeadLetters", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/ReplayDeadLetters", &[Scope::Consume]),
    ("calbridge.v1.ConsumerService/DeleteDeadLetters", &[Scope::Consume]),
    ("calbridge.v1.DeliveryService/ListDeliveries", &[Scope::Read]),
    ("calbridge.v1.DeliveryService/GetDelivery", &[Scope::Read]),
    ("calbridge.v1.DeliveryService/ReplayDelivery", &[Scope::Admin]),
    ("calbridge.v1.DeliveryService/RefoldDeliveries", &[Scope::Admin]),
];

/// Methods that change nothing and answer with one message.
const READS: [&str; 9] = [
    "calbridge.v1.BookingService/GetBooking",
    "calbridge.v1.BookingService/ListBookings",
    "calbridge.v1.BookingService/GetLineage",
    "calbridge.v1.BookingService/GetTimeline",
    "calbridge.v1.ConsumerService/GetConsumer",
    "calbridge.v1.ConsumerService/ListConsumers",
    "calbridge.v1.ConsumerService/ListDeadLetters",
    "calbridge.v1.DeliveryService/ListDeliveries",
    "calbridge.v1.DeliveryService/GetDelivery",
];

/// Whether the method at this path is one of them.
pub(crate) fn is_read(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|method| READS.contains(&method))
}

/// The row of a method; nothing for one that is not ours.
pub(crate) fn needs(method: &str) -> Option<&'static [Scope]> {
    NEEDS.iter().find(|(name, _)| *name == method).map(|(_, scopes)| *scopes)
}

/// What a caller is told whom the door does not let in.
pub(crate) fn refusal(denied: Denied) -> Status {
    match denied {
        Denied::TokenMissing => ApiError::TokenMissing.into(),
        Denied::TokenInvalid => ApiError::TokenInvalid.into(),
        Denied::ScopeMissing(scopes) => ApiError::ScopeMissing { scopes, what: "this method" }.into(),
        // As tonic has it, without a word.
        Denied::Unknown => Status::unimplemented(""),
    }
}

/// What a caller is told that has taken too little of what it was answered before.
pub(crate) fn overloaded() -> Status {
    ApiError::Overloaded.into()
}

/// What a caller is told of whose request tonic could make nothing; nothing where the refusal is another's. tonic has
/// no reason for it, and takes a code that means a cursor here.
pub(crate) fn unread(refusal: &Status) -> Option<Status> {
    match refusal.code() {
        _ if !refusal.details().is_empty() => None,
        Code::OutOfRange => Some(ApiError::RequestTooLarge.into()),
        Code::Internal => Some(ApiError::RequestMalformed.into()),
        _ => None,
    }
}

/// A stream's end, with a reason where it is ours to name.
fn ending(refusal: Status) -> Status {
    unread(&refusal).unwrap_or(refusal)
}

/// What a caller is told whose call took longer than it, or this service, waits.
pub(crate) fn out_of_time() -> Status {
    ApiError::OutOfTime.into()
}

/// The services over one store.
#[derive(Debug)]
pub(crate) struct Api<S> {
    store: Arc<S>,
    ingest: Ingest,
    replays: Replays,
    places: Arc<Places>,
    bells: Arc<Bells>,
    left_out: Arc<LeftOut>,
    metrics: Arc<Metrics>,
    stopping: CancellationToken,
}

/// What replaying needs.
#[derive(Debug, Clone)]
pub(crate) struct Replays {
    pub(crate) clock: Clock,
    pub(crate) policies: Arc<ClockPolicies>,
    /// The folder of a fresh state.
    pub(crate) scratch: PathBuf,
    /// Held by the one that folds.
    pub(crate) refolding: Arc<Semaphore>,
}

impl<S> Clone for Api<S> {
    fn clone(&self) -> Self {
        let (store, ingest, metrics) = (Arc::clone(&self.store), self.ingest.clone(), Arc::clone(&self.metrics));
        let (replays, places, bells) = (self.replays.clone(), Arc::clone(&self.places), Arc::clone(&self.bells));
        let (left_out, stopping) = (Arc::clone(&self.left_out), self.stopping.clone());
        Self { store, ingest, replays, places, bells, left_out, metrics, stopping }
    }
}

impl<S: Store> Api<S> {
    /// Once `stopping` fires, streams answer what they have read and end.
    pub(crate) fn new(
        store: Arc<S>,
        ingest: Ingest,
        replays: Replays,
        metrics: Arc<Metrics>,
        stopping: CancellationToken,
    ) -> Self {
        let places = Arc::new(Places::new(WATCHES, WATCHES_OF_ONE));
        let (bells, left_out) = (Arc::default(), Arc::default());
        Self { store, ingest, replays, places, bells, left_out, metrics, stopping }
    }
}

/// One read of the store, under its time limit.
async fn read<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, ApiError> {
    read_within(READ_TIMEOUT, work).await
}

async fn read_within<T>(limit: Duration, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, ApiError> {
    match timeout(limit, work).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(failure)) => {
            error!(error = %failure, "a read failed");
            Err(ApiError::StoreUnavailable)
        }
        Err(_) => {
            error!("a read took longer than {limit:?}");
            Err(ApiError::StoreUnavailable)
        }
    }
}

/// Who calls, and what for: the way into every request.
fn open<M>(request: Request<M>) -> (Caller, M) {
    (Caller::of(&request), request.into_inner())
}

/// The tenant that no event can be of: it has no name.
const NOBODY: &str = "";

/// The tenant in whose data is to be looked for what this caller asks of that one: itself, where he knows of it, else
/// one that nobody ever heard of. So what is not his takes the way of what does not exist, to the last byte.
fn tenant<'a>(caller: &Caller, tenant: &'a str) -> Result<&'a str, ApiError> {
    check_tenant(tenant, "tenant")?;
    Ok(if caller.knows(tenant) { tenant } else { NOBODY })
}

/// Refuses a caller who may not do this.
fn demand(caller: &Caller, scope: &'static [Scope], what: &'static str) -> Result<(), ApiError> {
    if scope.iter().any(|scope| caller.has(*scope)) {
        Ok(())
    } else {
        Err(ApiError::ScopeMissing { scopes: scope, what })
    }
}

fn named(value: &str, field: &'static str) -> Result<(), ApiError> {
    if value.is_empty() {
        return Err(ApiError::InvalidField { field, why: "must not be empty" });
    }
    // No text of the store has one; PostgreSQL would take the question for damage.
    if value.contains('\0') {
        return Err(ApiError::InvalidField { field, why: "must not hold a NUL" });
    }
    Ok(())
}

/// Deliveries have no filter but the empty one.
fn no_filter(filter: &str) -> Result<(), ApiError> {
    let expected = "nothing: deliveries have no filter";
    if filter.trim().is_empty() { Ok(()) } else { Err(ApiError::FilterSyntax { character: 1, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_are_those_of_the_schema() {
        use prost::Message;
        let files = prost_types::FileDescriptorSet::decode(calbridge_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut schema: Vec<String> = files
            .file
            .iter()
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
            .flat_map(|(package, service)| {
                service.method.iter().map(move |method| format!("{package}.{}/{}", service.name(), method.name()))
            })
            .collect();
        let mut ours = METHODS.to_vec();
        schema.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, schema);
        let mut allowed: Vec<&str> = NEEDS.iter().map(|(method, _)| *method).collect();
        allowed.sort_unstable();
        assert_eq!(allowed, schema, "the scopes that each method asks for");
        assert!(NEEDS.iter().all(|(_, scopes)| !scopes.is_empty()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_that_takes_for_ever_is_given_up() {
        let stuck = std::future::pending::<Result<(), StoreError>>();
        assert!(matches!(read(stuck).await, Err(ApiError::StoreUnavailable)));
    }
}
