//! TLS that is begun and never agreed on, by hundreds, while others agree on it and send.

use std::{sync::Arc, time::Duration};

use calbridge_e2e::{
    authority::{Authority, text},
    siege::{Yardstick, attack, raise_open_files},
    system::Plan,
    wait,
    webhook::created,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{CALM, FILES, Siege, settle};

/// More than there are places.
const SOCKETS: usize = 600;
const PLACES: usize = 256;
/// Longer than the edge waits for anybody to agree.
const TIME: Duration = Duration::from_secs(7);
/// Who was sent away comes back after it.
const BACK: Duration = Duration::from_millis(500);
/// For the edge to have had enough.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn handshakes_that_never_end_shut_nobody_out() {
    raise_open_files();
    let authority = Authority::new();
    let identity = authority.certify("localhost");
    let plan = Plan::new()
        .with_spool()
        .adapter("--connections", PLACES.to_string())
        .adapter("--http-certificate", text(&identity.certificate))
        .adapter("--http-key", text(&identity.key));
    let mut system = plan.start().await;
    let (edge, files) = (system.adapter.listening().http(), system.adapter.open_files());
    let yardstick = Yardstick::begin(edge, Some(connector(&authority)), created);
    wait::until("the honest are heard", || async { (yardstick.answers() >= CALM).then_some(()) }).await;
    let calm = yardstick.so_far();
    attack(SOCKETS, TIME, |attacker| async move {
        if let Ok(mut socket) = Siege::stranger(edge).await {
            // Nothing; a record's head; half of a greeting; a greeting of another kind.
            let begun: &[u8] =
                [&b""[..], b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c", b"\x16\x03\x01"]
                    [attacker % 4];
            let _ = socket.write_all(begun).await;
            let _ = timeout(PATIENCE, socket.read(&mut [0; 64])).await;
        }
        sleep(BACK).await;
    })
    .await;
    let measured = yardstick.end();
    println!("handshakes that never end: {measured:?}; before: {calm:?}");
    assert!(measured.is_as_promised(&calm), "{measured:?}, calm: {calm:?}");
    settle(&system.adapter, files + FILES).await;
    system.stop().await;
    assert!(!system.adapter.stderr().contains("panicked"), "{}", system.adapter.stderr());
}

fn connector(trusted: &Authority) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted.file()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
