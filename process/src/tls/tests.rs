use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower::{Service as _, ServiceExt as _};

use super::*;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self, name: &str) -> NamedFile {
        NamedFile { option: "--file", path: self.folder.path().join(name), secret: false }
    }

    fn certify(&self, name: &str) -> (NamedFile, NamedFile) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        fs::write(self.folder.path().join(format!("{name}.cert")), certificate.pem()).unwrap();
        fs::write(self.folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        (self.file(&format!("{name}.cert")), self.file(&format!("{name}.key")))
    }

    fn server(&self, name: &str, client_ca: Option<&Self>) -> ServerFiles {
        let (certificate, key) = self.certify(name);
        let client_ca = client_ca.map(|authority| authority.file("ca"));
        ServerFiles { certificate, key, client_ca, protocols: GRPC_PROTOCOLS }
    }
}

/// What a client reads of a server that writes one word, and whether the server saw a certificate; or that they could
/// not agree.
async fn meet(server: &ServerTls, client: &ClientFiles, host: &str) -> Result<(String, bool), io::Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = server.clone();
    let serving = tokio::spawn(async move {
        let mut socket = server.accept(listener.accept().await?.0).await?;
        let known = socket.peer_certificate().is_some();
        socket.write_all(b"hello").await?;
        socket.shutdown().await?;
        Ok::<_, io::Error>(known)
    });
    let mut connector = ClientTls::open(client).unwrap().connector(host).unwrap();
    let uri = format!("http://{address}/").parse().unwrap();
    let mut socket = connector.ready().await?.call(uri).await?.into_inner();
    let mut read = String::new();
    socket.read_to_string(&mut read).await?;
    Ok((read, serving.await.unwrap()?))
}

#[tokio::test]
async fn they_agree_where_each_believes_the_other() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let plain = ServerTls::open(&ours.server("service.test", None)).unwrap();
    let asking = ServerTls::open(&ours.server("asking.test", Some(&theirs))).unwrap();
    let trust = || Trust::Authority(ours.file("ca"));
    let anonymous = ClientFiles { trust: trust(), identity: None };
    let known = ClientFiles { trust: trust(), identity: Some(theirs.certify("caller.test")) };
    let stranger = ClientFiles { trust: trust(), identity: Some(ours.certify("stranger.test")) };
    let hello = |known| ("hello".to_owned(), known);

    assert_eq!(meet(&plain, &anonymous, "service.test").await.unwrap(), hello(false));
    assert_eq!(meet(&plain, &known, "service.test").await.unwrap(), hello(false), "nobody asked");
    assert_eq!(meet(&asking, &known, "asking.test").await.unwrap(), hello(true));
    assert_eq!(meet(&asking, &anonymous, "asking.test").await.unwrap(), hello(false));
    meet(&asking, &stranger, "asking.test").await.expect_err("no authority vouches for the caller");
    meet(&plain, &anonymous, "another.test").await.expect_err("another name");
    meet(&plain, &ClientFiles::default(), "service.test").await.expect_err("no public authority vouches for it");

    let exactly = |name: &str| ClientFiles { trust: Trust::Exactly(ours.file(name)), identity: None };
    assert_eq!(meet(&plain, &exactly("service.test.cert"), "127.0.0.1").await.unwrap(), hello(false));
    meet(&plain, &exactly("asking.test.cert"), "service.test").await.expect_err("another certificate");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_while_it_is_in_use() {
    let (old, new) = (Authority::new(), Authority::new());
    let files = old.server("service.test", None);
    let server = ServerTls::open(&files).unwrap();
    let trusting =
        |authority: &Authority| ClientFiles { trust: Trust::Authority(authority.file("ca")), identity: None };
    let (by_old, by_new) = (trusting(&old), trusting(&new));
    meet(&server, &by_old, "service.test").await.unwrap();

    // The new certificate is there, its key is not yet: the two in use stay so.
    let renewed = new.server("service.test", None);
    let put = |from: &Path, to: &Path| fs::copy(from, to).map(|_| ()).unwrap();
    put(&renewed.certificate.path, &files.certificate.path);
    tokio::time::sleep(RELOAD_INTERVAL * 2).await;
    meet(&server, &by_old, "service.test").await.unwrap();
    put(&renewed.key.path, &files.key.path);
    tokio::time::sleep(RELOAD_INTERVAL * 2).await;
    meet(&server, &by_new, "service.test").await.unwrap();
    meet(&server, &by_old, "service.test").await.expect_err("the old authority does not know the new certificate");
}

#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_is_given_up() {
    let server = ServerTls::open(&Authority::new().server("service.test", None)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let tcp = listener.accept().await.unwrap().0;
    let began = tokio::time::Instant::now();
    assert_eq!(server.accept(tcp).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), HANDSHAKE_TIMEOUT);
}

#[test]
fn files_that_can_not_be_used_are_named_and_never_repeated() {
    let authority = Authority::new();
    let (good, other) = (authority.server("a.test", None), authority.server("b.test", None));
    let bad = authority.file("bad");
    fs::write(&bad.path, "-----BEGIN hunter2").unwrap();
    let file = |option, file: &NamedFile| NamedFile { option, ..file.clone() };
    for (certificate, key, client_ca, option, part) in [
        (&bad, &good.key, None, "--certificate", "no certificate in PEM form"),
        (&good.certificate, &bad, None, "--key", "no private key in PEM form"),
        (&good.certificate, &other.key, None, "--key", "belongs to another certificate"),
        (&good.certificate, &good.key, Some(&bad), "--client-ca", "no certificate in PEM form"),
        (&good.certificate, &good.key, Some(&good.key), "--client-ca", "no certificate in PEM form"),
    ] {
        let files = ServerFiles {
            certificate: file("--certificate", certificate),
            key: file("--key", key),
            client_ca: client_ca.map(|path| file("--client-ca", path)),
            protocols: HTTP_PROTOCOLS,
        };
        let why = files.check().unwrap_err().to_string();
        assert!(why.starts_with(&format!("{option} = ")) && why.contains(part), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }
    let client = ClientFiles { trust: Trust::Authority(bad), identity: None };
    assert!(client.check().unwrap_err().to_string().contains("no certificate in PEM form"));
    let torn = ClientFiles { trust: Trust::Public, identity: Some((good.certificate, other.key)) };
    assert!(torn.check().unwrap_err().to_string().contains("belongs to another certificate"));
}
