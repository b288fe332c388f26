//! Tokens and certificates by chance, and those that are nearly right: nobody is let in by them.

use std::{net::SocketAddr, path::Path, sync::Arc};

use calbridge_e2e::{
    authority::{Authority, Identity},
    v1::{ListBookingsRequest, booking_service_client::BookingServiceClient},
};
use proptest::{
    collection::vec,
    prelude::{Strategy as _, any},
    sample::Index,
    test_runner::{Config, TestRunner},
};
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    sign::CertifiedKey,
};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::TlsConnector;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use super::{HOST, House, Who, over_tls, principals, reason, token_of};

/// Each is a call: enough to meet every branch, few enough for every run.
const CASES: u32 = 400;

async fn list(channel: Channel, values: &[MetadataValue<Ascii>]) -> Result<(), Status> {
    let mut request = Request::new(ListBookingsRequest { tenant: "acme".to_owned(), ..Default::default() });
    for value in values {
        request.metadata_mut().append("authorization", value.clone());
    }
    BookingServiceClient::new(channel).list_bookings(request).await.map(|_| ())
}

/// What a stranger might send: anything, something like a token, and the right one with one byte changed.
fn headers() -> impl proptest::strategy::Strategy<Value = Vec<Vec<u8>>> {
    let right = token_of("reader");
    let anything = vec(any::<u8>(), 0..80);
    let like_one = "(Bearer|bearer|Basic|Token)? ?(cbt_)?[A-Za-z0-9_-]{0,60}".prop_map(String::into_bytes);
    let nearly = (any::<Index>(), any::<u8>(), any::<bool>()).prop_map(move |(at, to, cut)| {
        let mut token = right.clone().into_bytes();
        let at = at.index(token.len());
        if cut || token[at] == to {
            token.remove(at);
        } else {
            token[at] = to;
        }
        [b"Bearer ".as_slice(), &token].concat()
    });
    vec(proptest::prop_oneof![anything, like_one, nearly], 0..3)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_but_the_right_one_lets_anybody_in() {
    let house = House::new(&principals(&[Who::new("reader", &["read"], &["acme"])]));
    let mut service = house.service().serve();
    let channel = super::plain(service.listening().grpc());
    let right = format!("Bearer {}", token_of("reader")).parse().unwrap();
    list(channel.clone(), &[right]).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let ran = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        runner.run(&headers(), |values| {
            let values = values.iter().filter_map(|value| MetadataValue::try_from(value.as_slice()).ok());
            let values: Vec<_> = values.collect();
            let refused = runtime.block_on(list(channel.clone(), &values)).expect_err("somebody was let in");
            let expected = if values.is_empty() { "TOKEN_MISSING" } else { "TOKEN_INVALID" };
            proptest::prop_assert_eq!(reason(&refused), format!("Unauthenticated/{expected}"));
            Ok(())
        })
    });
    ran.await.unwrap().unwrap();
    service.stop().await;
}

#[tokio::test]
async fn no_certificate_but_the_right_one_lets_anybody_in() {
    let reader = Who::new("reader", &["read"], &["acme"]).with_certificate("dns:reader.test");
    let house = House::new(&principals(&[reader]));
    let mut service = house.secured_service().serve();
    let address = service.listening().grpc();
    let ours = &house.authority;
    let ask = async |identity: Option<&Identity>| match over_tls(address, ours, identity).await {
        Ok(channel) => list(channel, &[]).await.map_err(|status| reason(&status)),
        Err(_) => Err("no connection".to_owned()),
    };
    ask(Some(&ours.certify("reader.test"))).await.unwrap();

    // Ours vouches for them, and nobody of them is configured.
    for name in ["reader.test.evil", "*.test", "reader.tes", "xreader.test", "reader", "127.0.0.1"] {
        let refused = ask(Some(&ours.certify(name))).await.expect_err(name);
        assert_eq!(refused, "Unauthenticated/TOKEN_MISSING", "{name}");
    }
    assert_eq!(ask(None).await.unwrap_err(), "Unauthenticated/TOKEN_MISSING");
    ask(Some(&ours.expired("reader.test"))).await.expect_err("its time is over");
    // The right name, and an authority that is not ours.
    let theirs = Authority::new();
    ask(Some(&theirs.certify("reader.test"))).await.expect_err("another authority");
    // The right certificate, and not its key.
    let right = ours.certify("reader.test");
    let shown = CertificateDer::from_pem_file(&right.certificate).unwrap();
    let heard = meet(address, borrowing(shown.clone(), &theirs.certify("reader.test").key, ours)).await;
    assert!(heard.as_ref().err().is_some_and(|why| why.to_string().contains("DecryptError")), "{heard:?}");
    assert_eq!(meet(address, borrowing(shown, &right.key, ours)).await.unwrap(), 1, "with its key it is let speak");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_certificate_that_was_changed_lets_anybody_in() {
    let reader = Who::new("reader", &["read"], &["acme"]).with_certificate("dns:reader.test");
    let house = House::new(&principals(&[reader]));
    let mut service = house.secured_service().serve();
    let address = service.listening().grpc();
    let right = house.authority.certify("reader.test");
    let shown = CertificateDer::from_pem_file(&right.certificate).unwrap();
    let runtime = tokio::runtime::Handle::current();
    let ran = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(Config { cases: CASES / 4, failure_persistence: None, ..Config::default() });
        runner.run(&(any::<Index>(), 0..8_u32), |(at, bit)| {
            let mut changed = shown.to_vec();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            let client = borrowing(changed.into(), &right.key, &house.authority);
            let heard = runtime.block_on(meet(address, client));
            proptest::prop_assert!(!matches!(heard, Ok(1..)), "byte {at}, bit {bit}");
            Ok(())
        })
    });
    ran.await.unwrap().unwrap();
    service.stop().await;
}

/// How many bytes the service says to a caller when they have agreed: it speaks first, to whom it let in. The client
/// has done its part before the service can tell, so a refusal is heard where the service would speak.
async fn meet(address: SocketAddr, client: ClientConfig) -> std::io::Result<usize> {
    let tcp = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(client)).connect(ServerName::try_from(HOST).unwrap(), tcp).await?;
    stream.read(&mut [0]).await
}

/// Shows a certificate and signs with the key of another, which rustls itself would refuse to do.
#[derive(Debug)]
struct Borrowing(Arc<CertifiedKey>);

impl ResolvesClientCert for Borrowing {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn borrowing(shown: CertificateDer<'static>, key: &Path, trusted: &Authority) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = provider.key_provider.load_private_key(PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
    let shown = CertifiedKey::new(vec![shown], key);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted.file()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config =
        builder.with_root_certificates(roots).with_client_cert_resolver(Arc::new(Borrowing(Arc::new(shown))));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}
