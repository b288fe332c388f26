use std::slice;

use secrecy::SecretString;

use super::*;

fn settings(urls: &[&str]) -> RedisSettings {
    let urls = urls.iter().map(|url| SecretString::from(*url)).collect();
    RedisSettings { urls, ttl: Duration::from_mins(1), tls: None }
}

#[test]
fn an_address_that_is_none_is_refused_by_its_place_and_never_repeated() {
    for (urls, place) in [
        (vec!["redis://:hunter2@:port:/"], 1),
        (vec!["redis://127.0.0.1:6379", "http://:hunter2@127.0.0.1"], 2),
        (vec![], 1),
    ] {
        let Err(error) = Client::open(&settings(&urls)) else { panic!("{urls:?}") };
        assert!(matches!(error, RedisError::Url(found) if found == place), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn nodes_that_are_no_cluster_together_are_refused() {
    for other in ["rediss://:hunter2@b:1", "redis://:hunter3@b:1", "redis://me:hunter2@b:1", "redis://:hunter2@b:1/4"] {
        let Err(error) = Client::open(&settings(&["redis://:hunter2@a:1", other])) else { panic!("{other}") };
        assert!(matches!(error, RedisError::Unlike), "{other}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter"));
    }
}

#[test]
fn a_place_shows_no_password() {
    let client = Client::open(&settings(&["rediss://user:hunter2@cache.example:6380/3"])).unwrap();
    let place = client.place();
    assert_eq!((place.host.as_str(), place.port, place.database.as_str()), ("cache.example", 6380, "3"));
    assert!(!format!("{place:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_failure_like_any_other() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://{}", listener.local_addr().unwrap());
    let client = Client::open(&settings(slice::from_ref(&url.as_str()))).unwrap();
    let (refused, accepted) = tokio::join!(client.connect(), async { listener.accept().await.map(drop) });
    accepted.unwrap();
    assert!(matches!(refused, Err(Failure::Connection(_) | Failure::Nonsense)), "{refused:?}");
}
