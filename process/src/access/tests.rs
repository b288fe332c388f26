use std::fs;

use super::*;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn refused(options: &Options) -> String {
    resolve(options).unwrap_err().to_string()
}

#[test]
fn certificates_go_with_tls_and_in_pairs() {
    let service = |address: &str| Options { service: Some(address.to_owned()), ..Options::default() };
    let some = || Some(PathBuf::from("file.pem"));
    for (options, part) in [
        (Options { service_ca: some(), ..service("http://a:1") }, "--service-ca = file.pem: only TLS"),
        (Options { service_key: some(), ..Options::default() }, "--service-key = file.pem: only TLS"),
        (Options { service_certificate: some(), ..service("https://a:1") }, "say --service-key"),
        (Options { service_key: some(), ..service("http://a:1,https://a:2") }, "say --service-certificate"),
        (Options { service_ca: some(), ..service("https://a:1") }, "it can't be read"),
    ] {
        let why = refused(&options);
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn what_stands_before_an_address_is_not_repeated() {
    let options = Options { service: Some("http://a:1,http://me:hunter2@b:2".to_owned()), ..Options::default() };
    let why = refused(&options);
    assert!(why.starts_with("--service = …@b:2") && why.contains("--service-token-file"), "{why}");
    assert!(!why.contains("hunter2") && !why.contains("me:"), "{why}");
}

#[test]
fn a_token_travels_unheard_unless_somebody_insists() {
    let (_folder, path) = file("cbt_one");
    let said = |service: &str, insecure| Options {
        service: Some(service.to_owned()),
        service_token_file: Some(path.clone()),
        insecure,
        ..Options::default()
    };
    for service in ["https://a.example:1", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1,https://a:1"] {
        assert!(resolve(&said(service, None)).is_ok(), "{service}");
    }
    for service in ["http://a.example:1", "http://10.0.0.1:1", "https://a:1,http://b:1", "http://localhost.example:1"] {
        let why = refused(&said(service, Some(false)));
        assert!(why.contains("in the clear to http://") && why.contains("--insecure"), "{why}");
        assert!(resolve(&said(service, Some(true))).is_ok(), "{service}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_read_again_when_its_file_changes_and_marked() {
    let (_folder, path) = file("cbt_one\n");
    let options = Options { service_token_file: Some(path.clone()), ..Options::default() };
    let (_, access) = resolve(&options).unwrap();
    let credentials = access.open().unwrap();
    let shown = || credentials.authorization().unwrap();
    assert_eq!(shown(), "Bearer cbt_one");
    assert!(shown().is_sensitive() && !format!("{:?}", shown()).contains("cbt_one"));
    for (text, expected) in [("cbt_two", "Bearer cbt_two"), ("not a token", "Bearer cbt_two"), ("", "Bearer cbt_two")] {
        fs::write(&path, text).unwrap();
        tokio::time::sleep(crate::tls::RELOAD_INTERVAL * 2).await;
        assert_eq!(shown(), expected, "{text:?}");
    }
}

#[test]
fn what_is_no_token_is_refused_and_not_repeated() {
    for text in ["", "two words hunter2", "hunter2\u{e9}", &"x".repeat(1025)] {
        let (_folder, path) = file(text);
        let why = refused(&Options { service_token_file: Some(path), ..Options::default() });
        assert!(why.starts_with("--service-token-file = ") && why.contains("holds no token"), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }
}
