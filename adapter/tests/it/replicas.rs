//! Several replicas of the service: they share the load, and one that dies, hangs, refuses, comes or goes costs the
//! senders no webhook and next to no time.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use calbridge_adapter::Resolver;
use calbridge_e2e::wait;
use calbridge_process::Limits;
use calbridge_proto::v1::SubmitError;
use tokio::{task::JoinSet, time::Instant};

use crate::support::{
    Adapter, created, limits,
    sender::{exchange, webhook},
    service::{Act, Service},
    settings,
};

/// What a replica that hangs may cost whoever waits for it: half a second until it is left, and the machine's noise.
const LEAVING: Duration = Duration::from_secs(3);

async fn services<const COUNT: usize>() -> [Service; COUNT] {
    let mut services = Vec::new();
    for _ in 0..COUNT {
        services.push(Service::start().await);
    }
    services.try_into().ok().unwrap()
}

/// Sends so many webhooks at once; each must be answered 200. The longest wait.
async fn burst(adapter: &Adapter, name: &str, count: usize) -> Duration {
    let mut senders = JoinSet::new();
    for at in 0..count {
        let (address, body) = (adapter.address, created(&format!("{name}-{at}")));
        senders.spawn(async move {
            let began = Instant::now();
            let answer = exchange(address, webhook(&body)).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            began.elapsed()
        });
    }
    senders.join_all().await.into_iter().max().unwrap()
}

/// One after the other.
async fn one_by_one(adapter: &Adapter, name: &str, count: usize) {
    for at in 0..count {
        assert_eq!(exchange(adapter.address, webhook(&created(&format!("{name}-{at}")))).await.status, 200);
    }
}

fn arrived<const COUNT: usize>(services: &[Service; COUNT]) -> [usize; COUNT] {
    std::array::from_fn(|at| services[at].arrivals().len())
}

/// Sends webhooks until each of these has committed one: then the adapter knows that they are there.
async fn all_proven(adapter: &Adapter, services: &[Service]) {
    let proven = async {
        while !services.iter().all(|service| !service.arrivals().is_empty()) {
            one_by_one(adapter, "prove", 1).await;
        }
    };
    wait::within("each has committed one", proven).await;
}

async fn proven_among(services: &[Service]) -> Adapter {
    let adapter = Adapter::among(services, limits()).await;
    all_proven(&adapter, services).await;
    adapter
}

fn unavailable() -> SubmitError {
    SubmitError { code: 14, reason: "STORE_UNAVAILABLE".to_owned(), ..SubmitError::default() }
}

#[tokio::test]
async fn replicas_share_the_load_over_one_stream_each() {
    let services: [Service; 3] = services().await;
    let adapter = proven_among(&services).await;
    let before = arrived(&services);
    one_by_one(&adapter, "turns", 30).await;
    let after = arrived(&services);
    assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), [10; 3], "they take turns");
    burst(&adapter, "burst", 60).await;
    let sum = |counts: [usize; 3]| counts.iter().sum::<usize>();
    assert_eq!(sum(arrived(&services)), sum(after) + 60, "each event goes to one of them");
    assert_eq!(services.each_ref().map(Service::streams), [1; 3]);
    adapter.shutdown.cancel();
    wait::within("the adapter ends", adapter.running).await.unwrap().unwrap();
    wait::holds("all streams are ended", async || services.iter().all(|service| service.streams_ended() == 1)).await;
}

#[tokio::test]
async fn one_that_is_killed_costs_no_webhook() {
    let services: [Service; 2] = services().await;
    let adapter = proven_among(&services).await;
    let [killed, left] = services;
    killed.script(vec![Act::Ignore; 100]);
    let before = killed.arrivals().len();
    let took = {
        let (took, ()) = tokio::join!(burst(&adapter, "during", 40), async {
            wait::holds("it has some", async || killed.arrivals().len() > before + 5).await;
            drop(killed);
        });
        took
    };
    assert!(took < LEAVING, "{took:?}");
    assert!(adapter.readiness.is_ready(), "one is enough");
    burst(&adapter, "after", 20).await;
    assert!(left.arrivals().len() >= 60);
}

#[tokio::test]
async fn one_that_hangs_is_left_and_taken_back() {
    let services: [Service; 2] = services().await;
    let adapter = proven_among(&services).await;
    let hanging = &services[0];
    hanging.script(vec![Act::Ignore; 1000]);
    let took = burst(&adapter, "during", 40).await;
    assert!(took < LEAVING, "{took:?}");
    let given = hanging.arrivals().len();
    one_by_one(&adapter, "while", 40).await;
    assert_eq!(hanging.arrivals().len(), given, "it is avoided");
    // Its stream is opened anew: it is tried with one event.
    let tried = async {
        while hanging.arrivals().len() == given {
            let took = burst(&adapter, "again", 10).await;
            assert!(took < LEAVING, "{took:?}");
        }
    };
    wait::within("it is tried again", tried).await;
    assert_eq!((hanging.streams(), hanging.arrivals().len()), (2, given + 1));
    hanging.forget_script();
    let back = async {
        while hanging.arrivals().len() < given + 20 {
            one_by_one(&adapter, "after", 1).await;
        }
    };
    wait::within("it has its share again", back).await;
}

#[tokio::test]
async fn a_late_answer_of_one_that_was_left_takes_it_back() {
    let services: [Service; 2] = services().await;
    let adapter = proven_among(&services).await;
    let late = &services[0];
    late.script(vec![Act::Late(LEAVING + Duration::from_secs(1)); 20]);
    let took = burst(&adapter, "during", 40).await;
    assert!(took < LEAVING, "{took:?}");
    let given = late.arrivals().len();
    let back = async {
        while late.arrivals().len() < given + 5 {
            one_by_one(&adapter, "after", 1).await;
        }
    };
    wait::within("it gets events again", back).await;
    assert_eq!(late.streams(), 1);
}

#[tokio::test]
async fn what_one_refuses_another_takes() {
    let services: [Service; 2] = services().await;
    let adapter = proven_among(&services).await;
    let before = services[0].arrivals().len();
    services[0].script(vec![Act::Refuse(unavailable()); 1000]);
    burst(&adapter, "burst", 40).await;
    one_by_one(&adapter, "more", 40).await;
    let refused = services[0].arrivals().len() - before;
    assert!((1..=40).contains(&refused), "it is tried with few: {refused}");
    services[1].script([Act::Refuse(unavailable())]);
    let answer = exchange(adapter.address, webhook(&created("both"))).await;
    assert_eq!(answer.status, 503, "none is left to take it");
}

#[tokio::test]
async fn one_that_does_not_serve_is_passed_over() {
    let services: [Service; 2] = services().await;
    services[0].set_serving(false).await;
    let adapter = Adapter::among(&services, limits()).await;
    wait::holds("a stream to each", async || services.iter().all(|service| service.streams() > 0)).await;
    let settled = async {
        loop {
            let before = services[0].arrivals().len();
            one_by_one(&adapter, "some", 10).await;
            if services[0].arrivals().len() == before {
                break;
            }
        }
    };
    wait::within("it gets none", settled).await;
    assert!(adapter.readiness.is_ready());
    services[1].set_serving(false).await;
    wait::holds("none serves", async || !adapter.readiness.is_ready()).await;
    burst(&adapter, "none", 10).await;
}

#[tokio::test]
async fn one_that_comes_gets_its_share() {
    let [first, second]: [Service; 2] = services().await;
    let place = second.address;
    drop(second);
    let services = [format!("http://{}", first.address), format!("http://{place}")];
    let adapter = Adapter::start_with(settings(&services, limits())).await;
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
    burst(&adapter, "alone", 40).await;
    assert_eq!(first.arrivals().len(), 40);
    let second = Service::start_on(place).await;
    all_proven(&adapter, std::slice::from_ref(&second)).await;
    let before = second.arrivals().len();
    one_by_one(&adapter, "both", 40).await;
    assert_eq!(second.arrivals().len() - before, 20, "the half");
}

/// A name whose addresses the test says.
#[derive(Clone, Default)]
struct Name(Arc<Mutex<Answer>>);

#[derive(Default)]
struct Answer {
    addresses: Vec<SocketAddr>,
    fails: bool,
    takes: Duration,
    asked: usize,
}

impl Name {
    fn says(&self, addresses: &[SocketAddr]) {
        let mut answer = self.0.lock().unwrap();
        (answer.addresses, answer.fails) = (addresses.to_vec(), false);
    }

    fn fails(&self) {
        self.0.lock().unwrap().fails = true;
    }

    async fn asked_again(&self) {
        let asked = || self.0.lock().unwrap().asked;
        let before = asked();
        wait::holds("the name is asked for again", async || asked() > before).await;
    }

    fn resolver(&self) -> Resolver {
        let name = self.clone();
        Resolver::by(move |host, port| {
            assert_eq!((host.as_str(), port), ("bookings.internal", 50051));
            let mut answer = name.0.lock().unwrap();
            answer.asked += 1;
            let said =
                if answer.fails { Err(io::Error::other("no name server")) } else { Ok(answer.addresses.clone()) };
            let takes = answer.takes;
            async move {
                tokio::time::sleep(takes).await;
                said
            }
        })
    }

    async fn adapter(&self) -> Adapter {
        let settings = settings(&["http://bookings.internal:50051".to_owned()], limits());
        let adapter = Adapter::start_with(calbridge_adapter::Settings { resolver: self.resolver(), ..settings }).await;
        wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
        adapter
    }
}

#[tokio::test]
async fn a_name_stands_for_all_its_addresses_as_they_come_and_go() {
    let services: [Service; 3] = services().await;
    let [a, b, c] = services.each_ref().map(|service| service.address);
    let name = Name::default();
    name.says(&[a, b]);
    let adapter = name.adapter().await;
    all_proven(&adapter, &services[..2]).await;
    assert_eq!(services[0].authority().as_deref(), Some("bookings.internal:50051"), "whichever address it is");
    let first = services[0].arrivals().len();
    assert_eq!(services[2].streams(), 0);

    // One is added while one is busy, which then is taken away: it finishes what it has.
    services[0].script(vec![Act::Late(Duration::from_millis(400)); 5]);
    let mut busy = JoinSet::new();
    for at in 0..10 {
        let (address, body) = (adapter.address, created(&format!("busy-{at}")));
        busy.spawn(async move { exchange(address, webhook(&body)).await.status });
    }
    wait::holds("it is busy", async || services[0].arrivals().len() > first).await;
    name.says(&[b, c]);
    assert_eq!(busy.join_all().await, [200; 10]);
    wait::holds("the one that is gone is left", async || services[0].streams_ended() == 1).await;
    all_proven(&adapter, &services).await;
    let before = arrived(&services);
    one_by_one(&adapter, "other two", 20).await;
    let after = arrived(&services);
    assert_eq!([0, 1, 2].map(|at| after[at] - before[at]), [0, 10, 10]);
}

#[tokio::test]
async fn a_name_that_can_not_be_looked_up_keeps_its_addresses() {
    let services: [Service; 2] = services().await;
    let [a, b] = services.each_ref().map(|service| service.address);
    let name = Name::default();
    name.says(&[a]);
    let adapter = name.adapter().await;
    // A stream that breaks has the name looked up at once, not at the next turn of the clock.
    services[0].script([Act::Break]);
    name.fails();
    tokio::join!(one_by_one(&adapter, "breaking", 1), name.asked_again());
    one_by_one(&adapter, "failing", 4).await;
    services[0].script([Act::Break]);
    name.says(&[]);
    tokio::join!(one_by_one(&adapter, "breaking too", 1), name.asked_again());
    one_by_one(&adapter, "empty", 4).await;
    assert_eq!(services[1].streams(), 0);
    name.says(&[b]);
    wait::holds("the new address has a stream", async || services[1].streams() == 1).await;
    wait::holds("the old one is left", async || services[0].streams_ended() == 1).await;
    let before = services[1].arrivals().len();
    one_by_one(&adapter, "moved", 4).await;
    assert_eq!(services[1].arrivals().len(), before + 4);
}

/// As it does where the first of two name servers is dead.
#[tokio::test]
async fn an_answer_that_takes_longer_than_a_look_is_taken_when_it_comes() {
    let service = Service::start().await;
    let name = Name::default();
    name.says(&[service.address]);
    name.0.lock().unwrap().takes = Duration::from_secs(3);
    let adapter = name.adapter().await;
    one_by_one(&adapter, "late", 4).await;
    assert_eq!(service.arrivals().len(), 4);
}

#[tokio::test]
async fn an_adapter_starts_before_its_service_has_an_address() {
    let service = Service::start().await;
    let name = Name::default();
    name.fails();
    let settings = settings(
        &["http://bookings.internal:50051".to_owned()],
        Limits { forward_deadline: Duration::from_secs(20), ..limits() },
    );
    let adapter = Adapter::start_with(calbridge_adapter::Settings { resolver: name.resolver(), ..settings }).await;
    let waiting = tokio::spawn(exchange(adapter.address, webhook(&created("early"))));
    name.asked_again().await;
    name.says(&[service.address]);
    assert_eq!(waiting.await.unwrap().status, 200);
    wait::holds("the adapter is ready", async || adapter.readiness.is_ready()).await;
}
