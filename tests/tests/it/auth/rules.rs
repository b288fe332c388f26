//! What the programs are told about callers: who may listen where, how a token is made, what is written down.

use std::{fs, os::unix::fs::PermissionsExt as _};

use calbridge_calcom::golden;
use calbridge_e2e::{
    authority::text,
    program::{Ended, Start},
    system::{self, SECRET, TENANT},
    v1::{
        GetDeliveryRequest, ListBookingsRequest, ListDeliveriesRequest, SubmitEventRequest, Trigger,
        booking_service_client::BookingServiceClient, delivery_service_client::DeliveryServiceClient,
        ingest_service_client::IngestServiceClient,
    },
    wait,
    webhook::{Sender, sha256},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{HOST, House, PRIVATE, Who, event, plain, principals, reason, token_of, with};

/// `EX_CONFIG`.
const CONFIG: Option<i32> = Some(78);

fn is_refused(ended: &Ended, parts: &[&str]) {
    assert_eq!(ended.code, CONFIG, "{parts:?}: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in: {}", ended.stderr);
    }
}

fn anywhere(house: &House) -> Start {
    Start::new("calbridge-service")
        .flag("--grpc", "0.0.0.0:0")
        .flag("--admin", format!("{HOST}:0"))
        .flag("--data-dir", house.path("data"))
        .flag("--config", house.path("calbridge.toml"))
}

#[tokio::test]
async fn beyond_this_machine_callers_are_known_and_unheard() {
    let (open, known) = (House::new(""), House::new(&principals(&[Who::new("reader", &["read"], &["*"])])));
    let identity = known.authority.certify(HOST);
    let secured = |start: Start| {
        start.flag("--grpc-certificate", text(&identity.certificate)).flag("--grpc-key", text(&identity.key))
    };
    is_refused(&anywhere(&open).run().await, &["--grpc = 0.0.0.0", "[[principal]]", "--insecure"]);
    is_refused(&secured(anywhere(&open)).run().await, &["--grpc = 0.0.0.0", "[[principal]]", "--insecure"]);
    is_refused(&anywhere(&known).run().await, &["in the clear", "--grpc-certificate", "--insecure"]);

    let mut service = secured(anywhere(&known)).serve();
    service.stop().await;
    // Insisting takes TLS away, never the principals.
    let mut service = anywhere(&known).arg("--insecure").serve();
    let port = service.listening().grpc().port();
    let channel = plain(([127, 0, 0, 1], port).into());
    let request = || ListBookingsRequest { tenant: TENANT.to_owned(), ..Default::default() };
    let mut bookings = BookingServiceClient::new(channel);
    let refused = bookings.list_bookings(with(None, request())).await.unwrap_err();
    assert_eq!(reason(&refused), "Unauthenticated/TOKEN_MISSING");
    bookings.list_bookings(with(Some(&token_of("reader")), request())).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn what_can_not_be_used_ends_the_start() {
    let house = House::new("[[principal]]\nname = \"x\"\ntoken_sha256 = \"cbt_itself\"\nscopes = [\"read\"]\n");
    let ended = house.service().run().await;
    is_refused(&ended, &["principal x", "calbridge token"]);
    assert!(!ended.stderr.contains("cbt_itself"), "{}", ended.stderr);
    let house = House::new("");
    let identity = house.authority.certify(HOST);
    let alone = house.service().flag("--grpc-certificate", text(&identity.certificate));
    is_refused(&alone.run().await, &["--grpc-certificate = ", "say --grpc-key"]);
    let torn = house
        .service()
        .flag("--grpc-certificate", text(&identity.certificate))
        .flag("--grpc-key", house.file("key", "hunter2"));
    let ended = torn.run().await;
    is_refused(&ended, &["--grpc-key = ", "no private key in PEM form"]);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
}

#[tokio::test]
async fn health_needs_nothing_and_an_unknown_method_is_none() {
    let house = House::new(&principals(&[Who::new("reader", &["read"], &["*"])]));
    let mut service = house.service().serve();
    let channel = plain(service.listening().grpc());
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let mut anything = tonic::client::Grpc::new(channel);
    anything.ready().await.unwrap();
    let path = "/calbridge.v1.BookingService/Everything".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<ListBookingsRequest, ListBookingsRequest>::default();
    let refused = anything.unary(with(None, ListBookingsRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    service.stop().await;
}

#[tokio::test]
async fn a_token_is_made_kept_as_a_hash_and_used() {
    let house = House::new("");
    let file = house.path("token");
    let ended = Start::new("calbridge").arg("token").flag("--file", &file).run().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let token = fs::read_to_string(&file).unwrap().trim().to_owned();
    let hash = hex::encode(sha256(token.as_bytes()));
    assert_eq!(ended.stdout.trim(), format!("token_sha256 = \"{hash}\""));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let again = Start::new("calbridge").arg("token").flag("--file", &file).run().await;
    assert!(again.code == Some(1) && again.stderr.contains("not there yet"), "{}", again.stderr);
    let shown = Start::new("calbridge").arg("token").run().await.stdout;
    assert!(shown.contains("token = \"cbt_") && shown.contains("token_sha256 = \""), "{shown}");

    let principal = format!("[[principal]]\nname = \"me\"\n{}scopes = [\"read\"]\ntenants = \"*\"\n", ended.stdout);
    house.file("calbridge.toml", &principal);
    let mut service = house.secured_service().serve();
    let list_by = |scheme: &str| {
        let address = format!("{scheme}://{}", service.listening().grpc());
        Start::new("calbridge").arg("list").env("CALBRIDGE_SERVICE", address)
    };
    let list = || list_by("https").env("CALBRIDGE_SERVICE_CA", text(&house.authority.file()));
    let listed = list().env("CALBRIDGE_SERVICE_TOKEN_FILE", text(&file)).run().await;
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    let refused = list().run().await;
    assert!(refused.code == Some(1) && refused.stderr.contains("TOKEN_MISSING"), "{}", refused.stderr);
    let doubted = list_by("https").run().await;
    assert!(doubted.code == Some(1) && doubted.stderr.contains("certificate"), "{}", doubted.stderr);
    let in_the_clear = list_by("http").run().await;
    assert!(in_the_clear.code == Some(1) && in_the_clear.stderr.contains("https://"), "{}", in_the_clear.stderr);
    service.stop().await;
}

#[tokio::test]
async fn whoever_reads_a_raw_body_is_written_down() {
    let auditor = Who::new("auditor", &["ingest", "read", "admin"], &["acme"]);
    let house = House::new(&principals(&[auditor, Who::new("reader", &["read"], &["acme"])]));
    let mut service = house.service().flag("--log-format", "json").flag("--log", "error").serve();
    let channel = plain(service.listening().grpc());
    let [auditor, reader] = ["auditor", "reader"].map(token_of);
    let submitted = SubmitEventRequest { event: Some(event("acme", "auditUid")) };
    let submitted = IngestServiceClient::new(channel.clone()).submit_event(with(Some(&auditor), submitted)).await;
    let delivery_id = submitted.unwrap().into_inner().delivery_id;
    let mut deliveries = DeliveryServiceClient::new(channel);
    let request = |include_raw_body| GetDeliveryRequest {
        tenant: "acme".to_owned(),
        delivery_id: delivery_id.clone(),
        include_raw_body,
    };
    deliveries.get_delivery(with(Some(&reader), request(false))).await.unwrap();
    let refused = deliveries.get_delivery(with(Some(&reader), request(true))).await.unwrap_err();
    assert_eq!(reason(&refused), "PermissionDenied/SCOPE_MISSING");
    let found = deliveries.get_delivery(with(Some(&auditor), request(true))).await.unwrap().into_inner();
    assert!(!found.delivery.unwrap().raw_body.is_empty());
    let written = async || service.stderr().contains("audit:").then_some(());
    wait::until("it is written down", written).await;
    service.stop().await;
    let log = service.stderr();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("audit:")).collect();
    let [line] = lines[..] else { panic!("one line, for the one who may: {lines:?}") };
    for part in ["auditor", "acme", &delivery_id] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    for secret in [auditor.as_str(), reader.as_str()].into_iter().chain(PRIVATE) {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

#[tokio::test]
async fn up_is_one_of_its_own_callers() {
    let who = principals(&[Who::new("reader", &["read"], &["*"])]);
    let house = House::new(&format!("{who}[tenants.{TENANT}]\nsecrets = [\"{SECRET}\"]\n"));
    let identity = house.authority.certify("bookings.example");
    for secured in [false, true] {
        let data = house.path(&format!("data-{secured}"));
        let mut start = system::up(&data).arg("--demo").flag("--config", house.path("calbridge.toml"));
        if secured {
            start =
                start.flag("--grpc-certificate", text(&identity.certificate)).flag("--grpc-key", text(&identity.key));
        }
        let mut up = start.serve();
        wait::until("the demo has been played", async || up.stdout().contains("Ctrl-C").then_some(())).await;
        let body = golden::body(Trigger::BookingCreated, &super::golden("upUid"));
        let answer = Sender::new(up.listening().http()).send(TENANT, SECRET, body).await;
        assert_eq!(answer.outcome(), "applied");
        if !secured {
            let request = ListDeliveriesRequest { tenant: TENANT.to_owned(), ..Default::default() };
            let mut deliveries = DeliveryServiceClient::new(plain(up.listening().grpc()));
            let refused = deliveries.list_deliveries(request).await.unwrap_err();
            assert_eq!(reason(&refused), "Unauthenticated/TOKEN_MISSING", "loopback is no name");
        }
        up.stop().await;
    }
}

#[tokio::test]
async fn keys_that_everybody_may_read_are_warned_about() {
    let house = House::new(&principals(&[Who::new("reader", &["read"], &["*"])]));
    let identity = house.authority.certify(HOST);
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(&identity.key, fs::Permissions::from_mode(mode)).unwrap();
        let start = house
            .service()
            .flag("--grpc-certificate", text(&identity.certificate))
            .flag("--grpc-key", text(&identity.key));
        let mut service = start.serve();
        service.stop().await;
        assert_eq!(service.stderr().contains("every user of this machine may read"), warned, "{mode:o}");
    }
}
