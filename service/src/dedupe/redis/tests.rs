use uuid::Uuid;

use super::*;

fn key(identity: Identity) -> DeliveryKey {
    DeliveryKey { tenant: Arc::from("acme"), time: 5, identity }
}

#[test]
fn a_key_is_named_by_tenant_and_identity_alone() {
    let body = name(&key(Identity::Body([0xff; 32])));
    assert_eq!(body, format!("calbridge:acme:b:{}8", "_".repeat(42)));
    let request = name(&key(Identity::Request(Uuid::from_u128(1))));
    assert_eq!(request, format!("calbridge:acme:r:{}1", "0".repeat(31)));
    let later = DeliveryKey { time: 6, ..key(Identity::Request(Uuid::from_u128(1))) };
    assert_eq!(name(&later), request);
}

#[test]
fn an_address_that_is_none_is_refused_by_its_place_and_never_repeated() {
    for (urls, place) in [
        (vec!["redis://:hunter2@:port:/"], 1),
        (vec!["redis://127.0.0.1:6379", "http://:hunter2@127.0.0.1"], 2),
        (vec![], 1),
    ] {
        let Err(error) = Client::open(&urls) else { panic!("{urls:?}") };
        let RedisError::Url(found) = &error;
        assert_eq!(*found, place);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn a_place_shows_no_password() {
    let client = Client::open(&["rediss://user:hunter2@cache.example:6380/3"]).unwrap();
    let place = client.place();
    assert_eq!((place.host.as_str(), place.port, place.database.as_str()), ("cache.example", 6380, "3"));
    assert!(!format!("{place:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_failure_like_any_other() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://{}", listener.local_addr().unwrap());
    let client = Client::open(&[&url]).unwrap();
    let (refused, accepted) = tokio::join!(client.connect(), async { listener.accept().await.map(drop) });
    accepted.unwrap();
    assert!(matches!(refused, Err(Failure::Connection | Failure::Nonsense)), "{refused:?}");
}

#[test]
fn a_failure_is_told_by_its_kind_alone() {
    let timeout = redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    assert_eq!(Failure::from(timeout).name(), "timeout");
    let broken = redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
    assert_eq!(Failure::from(broken).name(), "connection");
    let nonsense = redis::RedisError::from((redis::ErrorKind::UnexpectedReturnType, "odd"));
    assert_eq!(Failure::from(nonsense).name(), "unexpected_answer");
}
