use secrecy::ExposeSecret as _;

use super::*;

const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn entry() -> PrincipalOptions {
    PrincipalOptions {
        name: "outreach".to_owned(),
        token_sha256: vec![HASH.to_owned()],
        certificate: Vec::new(),
        scopes: vec!["read".to_owned(), "read.pii".to_owned()],
        tenants: vec!["acme".to_owned()],
    }
}

fn refused(entries: &[PrincipalOptions]) -> String {
    let why = resolve(entries, true).unwrap_err().to_string();
    assert!(!why.contains(HASH), "{why}");
    why
}

#[test]
fn a_principal_is_a_name_what_it_is_known_by_and_what_it_may() {
    let text = format!(
        "[[principal]]\nname = 'outreach'\ntoken_sha256 = '{HASH}'\nscopes = ['read', 'consume']\ntenants = '*'\n\
         [[principal]]\nname = 'edge'\nscopes = ['ingest']\ntenants = ['acme', 'beta']\n\
         certificate = ['dns:Edge.Test', 'uri:spiffe://x/edge', 'sha256:{HASH}']\n"
    );
    let options: crate::Options = toml::from_str(&text).unwrap();
    let [outreach, edge] = &resolve(&options.principal, true).unwrap()[..] else { panic!("two") };
    assert_eq!(outreach.token_sha256, [token_sha256(b"test")]);
    assert!(outreach.scopes.has(Scope::Read) && outreach.scopes.has(Scope::Consume));
    assert!(![Scope::Ingest, Scope::ReadPii, Scope::Admin].into_iter().any(|scope| outreach.scopes.has(scope)));
    assert!(outreach.tenants.has("whatever comes"));
    assert!(edge.tenants.has("beta") && !edge.tenants.has("gamma"));
    assert_eq!(edge.certificates[0], CertificateName::Dns("edge.test".to_owned()));
    assert_eq!(edge.certificates[1], CertificateName::Uri("spiffe://x/edge".to_owned()));
    assert_eq!(edge.certificates[2], CertificateName::Sha256(token_sha256(b"test")));
}

#[test]
fn what_can_not_be_used_is_refused_with_its_mend() {
    let other = || PrincipalOptions { name: "other".to_owned(), token_sha256: vec!["00".repeat(32)], ..entry() };
    let shares = |certificate: &str| PrincipalOptions { certificate: vec![certificate.to_owned()], ..entry() };
    for (entries, part) in [
        (vec![PrincipalOptions { name: "Some One".to_owned(), ..entry() }], "principal number 1: a name is"),
        (vec![PrincipalOptions { token_sha256: vec![], ..entry() }], "token_sha256 or certificate"),
        (vec![PrincipalOptions { token_sha256: vec!["cbt_itself".to_owned()], ..entry() }], "token_sha256 1 is not"),
        (vec![PrincipalOptions { token_sha256: vec![HASH.to_owned(); 17], ..entry() }], "more than 16"),
        (vec![PrincipalOptions { scopes: vec![], ..entry() }], "ingest, read, read.pii, consume, admin"),
        (vec![PrincipalOptions { scopes: vec!["write".to_owned()], ..entry() }], "no scope \"write\""),
        (vec![PrincipalOptions { tenants: vec![], ..entry() }], "[\"*\"] for all"),
        (vec![PrincipalOptions { tenants: vec!["*".to_owned(), "acme".to_owned()], ..entry() }], "\"*\" alone"),
        (vec![shares("acme.test")], "dns:NAME"),
        (vec![shares("sha256:12")], "64 hex digits"),
        (vec![entry(), entry()], "two of this name"),
        (vec![entry(), PrincipalOptions { name: "other".to_owned(), ..entry() }], "shares a token with outreach"),
        (
            vec![shares("dns:a.test"), PrincipalOptions { certificate: vec!["dns:A.test".to_owned()], ..other() }],
            "shares a certificate with outreach",
        ),
        (vec![entry(); MAX_PRINCIPALS + 1], "at most 256"),
    ] {
        let why = refused(&entries);
        assert!(why.contains(part), "{part:?} is not in {why}");
        assert!(!why.contains("cbt_itself"), "{why}");
    }
    let why = resolve(&[shares("dns:a.test")], false).unwrap_err().to_string();
    assert!(why.contains("--grpc-client-ca"), "{why}");
}

#[test]
fn every_token_is_new_and_long() {
    let tokens: BTreeSet<String> = (0..100).map(|_| new_token().unwrap().expose_secret().to_owned()).collect();
    assert_eq!(tokens.len(), 100);
    assert!(tokens.iter().all(|token| token.len() == 47 && token.starts_with("cbt_")));
}
