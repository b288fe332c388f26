//! TLS from end to end: adapters that show a certificate, a token, or both; the edge; and certificates that are renewed
//! while everything runs.

use std::{fs, net::SocketAddr, sync::Arc};

use calbridge_calcom::golden;
use calbridge_e2e::{
    authority::{Authority, Identity, text},
    program::{Program, Start},
    system::{self, SECRET, TENANT, readiness_of},
    v1::{GetBookingRequest, ListBookingsRequest, Trigger, booking_service_client::BookingServiceClient},
    wait,
    webhook::{SIGNATURE, Sender, sign},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Version, body::Bytes, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Status, transport::Channel};

use super::{HOST, House, Who, over_tls, plain, principals, token_of, with};

fn config(all: &[Who]) -> String {
    format!("{}[tenants.{TENANT}]\nsecrets = [\"{SECRET}\"]\n", principals(all))
}

fn created(uid: &str) -> Vec<u8> {
    golden::body(Trigger::BookingCreated, &super::golden(uid))
}

async fn accepts(adapter: &Program, uid: &str) {
    let answer = Sender::new(adapter.listening().http()).send(TENANT, SECRET, created(uid)).await;
    assert_eq!((answer.status.as_u16(), answer.outcome().as_str()), (200, "applied"), "{uid}");
}

fn showing(adapter: Start, Identity { certificate, key }: &Identity) -> Start {
    adapter.flag("--service-certificate", text(certificate)).flag("--service-key", text(key))
}

#[tokio::test]
async fn an_adapter_is_known_by_its_certificate_by_its_token_or_by_both() {
    let edge = Who::new("edge", &["ingest"], &["*"]).with_certificate("dns:edge.test");
    let reader = Who::new("reader", &["read"], &[TENANT]);
    let house = House::new(&config(&[edge, reader]));
    let mut service = house.secured_service().serve();
    let token = house.file("token", &format!("{}\n", token_of("edge")));
    let adapter = || house.adapter(&service, "https").flag("--service-ca", text(&house.authority.file()));
    let identity = house.authority.certify("edge.test");
    let by_token = || adapter().flag("--service-token-file", &token);
    for (uid, start) in [
        ("byCertificate", showing(adapter(), &identity)),
        ("byToken", by_token()),
        ("byBoth", showing(by_token(), &identity)),
    ] {
        let mut adapter = start.serve();
        system::ready(&adapter).await;
        accepts(&adapter, uid).await;
        let channel = over_tls(service.listening().grpc(), &house.authority, None).await.unwrap();
        let request = GetBookingRequest { tenant: TENANT.to_owned(), uid: uid.to_owned(), ..Default::default() };
        let request = with(Some(&token_of("reader")), request);
        let booking = BookingServiceClient::new(channel).get_booking(request).await.unwrap().into_inner().booking;
        assert_eq!(booking.unwrap().attendees[0].email, "[masked]", "{uid}");
        adapter.stop().await;
        assert!(!adapter.stderr().contains(&token_of("edge")), "{}", adapter.stderr());
    }
    service.stop().await;
    assert!(!service.stderr().contains(&token_of("edge")), "{}", service.stderr());
}

#[tokio::test]
async fn a_stranger_of_an_adapter_takes_nothing_in_until_its_token_is_right() {
    let house = House::new(&config(&[Who::new("edge", &["ingest"], &["*"])]));
    let mut service = house.secured_service().serve();
    let token = house.file("token", &token_of("nobody"));
    let mut adapter = house
        .adapter(&service, "https")
        .flag("--service-ca", text(&house.authority.file()))
        .flag("--service-token-file", &token)
        .serve();
    let told = async || adapter.stderr().contains("UNAUTHENTICATED").then_some(());
    wait::until("the refusal is told", told).await;
    readiness_of(&adapter, 503).await;
    let answer = Sender::new(adapter.listening().http()).send(TENANT, SECRET, created("early")).await;
    assert_eq!(answer.status.as_u16(), 503);
    assert!(!adapter.stderr().contains(&token_of("nobody")), "{}", adapter.stderr());
    fs::write(&token, token_of("edge")).unwrap();
    system::ready(&adapter).await;
    accepts(&adapter, "late").await;
    adapter.stop().await;
    service.stop().await;
}

#[tokio::test]
async fn an_adapter_hands_nothing_to_a_service_that_nobody_vouches_for() {
    let house = House::new(&config(&[Who::new("edge", &["ingest"], &["*"])]));
    let mut service = house.secured_service().serve();
    let another = Authority::new();
    let mut adapter = house
        .adapter(&service, "https")
        .flag("--service-ca", text(&another.file()))
        .flag("--service-token-file", house.file("token", &token_of("edge")))
        .serve();
    let told = async || adapter.stderr().contains("no stream to the booking service").then_some(());
    wait::until("it is told", told).await;
    readiness_of(&adapter, 503).await;
    adapter.stop().await;
    service.stop().await;
}

async fn list(channel: &Channel) -> Result<(), Status> {
    let request = ListBookingsRequest { tenant: TENANT.to_owned(), ..Default::default() };
    let request = with(Some(&token_of("reader")), request);
    BookingServiceClient::new(channel.clone()).list_bookings(request).await.map(|_| ())
}

#[tokio::test]
async fn a_certificate_is_renewed_while_the_service_runs() {
    let house = House::new(&principals(&[Who::new("reader", &["read"], &["*"])]));
    let (old, new) = (&house.authority, Authority::new());
    let (certificate, key) = (house.path("cert.pem"), house.path("key.pem"));
    let put = |identity: &Identity| {
        fs::copy(&identity.certificate, &certificate).unwrap();
        fs::copy(&identity.key, &key).unwrap();
    };
    put(&old.certify(HOST));
    let in_use = Identity { certificate: certificate.clone(), key: key.clone() };
    let mut service = super::secured(house.service(), &in_use, old).serve();
    let address = service.listening().grpc();
    let before = over_tls(address, old, None).await.unwrap();
    list(&before).await.unwrap();
    assert!(over_tls(address, &new, None).await.is_err(), "the new authority is not there yet");

    put(&new.certify(HOST));
    let after = wait::until("the new certificate is in use", async || over_tls(address, &new, None).await.ok()).await;
    list(&after).await.unwrap();
    assert!(over_tls(address, old, None).await.is_err(), "the old certificate is gone");
    list(&before).await.expect("who is connected stays so");

    fs::write(&certificate, "no certificate").unwrap();
    let told =
        async || service.stderr().contains("can't be used any more; what was in use before stays so").then_some(());
    wait::until("the broken file is told", told).await;
    list(&over_tls(address, &new, None).await.unwrap()).await.unwrap();
    service.stop().await;
}

/// TLS with a listener, by rustls itself.
async fn agree(to: SocketAddr, trusted: &Authority, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted.file()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let tcp = TcpStream::connect(to).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(HOST).unwrap(), tcp).await
}

fn webhook(version: Version, uid: &str) -> Request<Full<Bytes>> {
    let body = created(uid);
    let path = format!("/webhooks/calcom/{TENANT}");
    let uri = if version == Version::HTTP_2 { format!("https://{HOST}{path}") } else { path };
    let request = Request::post(uri).version(version).header("host", HOST).header(SIGNATURE, sign(SECRET, &body));
    request.body(Full::new(body.into())).unwrap()
}

#[tokio::test]
async fn the_edge_speaks_tls_in_both_versions_of_http_and_nothing_else() {
    let house = House::new(&config(&[]));
    let mut service = house.service().serve();
    let identity = house.authority.certify(HOST);
    let mut adapter = house
        .adapter(&service, "http")
        .flag("--http-certificate", text(&identity.certificate))
        .flag("--http-key", text(&identity.key))
        .serve();
    system::ready(&adapter).await;
    let edge = adapter.listening().http();

    let stream = agree(edge, &house.authority, b"http/1.1").await.unwrap();
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = sender.send_request(webhook(Version::HTTP_11, "overOne")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.into_body().collect().await.unwrap().to_bytes().starts_with(b"{\"status\":\"processed\""));

    let stream = agree(edge, &house.authority, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(sender.send_request(webhook(Version::HTTP_2, "overTwo")).await.unwrap().status(), 200);

    Sender::new(edge).try_send(TENANT, SECRET, created("inTheClear")).await.expect_err("without TLS");
    assert!(agree(edge, &Authority::new(), b"h2").await.is_err(), "an authority that nobody knows");
    let stored = plain(service.listening().grpc());
    let request = ListBookingsRequest { tenant: TENANT.to_owned(), ..Default::default() };
    let listed = BookingServiceClient::new(stored).list_bookings(request).await.unwrap().into_inner().bookings;
    assert_eq!(listed.len(), 2);
    adapter.stop().await;
    service.stop().await;
}

#[tokio::test]
async fn whoever_keeps_silent_holds_nobody_up() {
    let house = House::new(&principals(&[Who::new("reader", &["read"], &["*"])]));
    let mut service = house.secured_service().serve();
    let address = service.listening().grpc();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    list(&over_tls(address, &house.authority, None).await.unwrap()).await.unwrap();
    for mut stream in silent {
        let end = wait::within("the silent one is given up", stream.read(&mut [0])).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    service.stop().await;
}
