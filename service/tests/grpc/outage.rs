//! What an operator sees at the start.

use std::time::Duration;

use calbridge_process::{Database, RedisSettings};
use calbridge_service::{Error, Service, Settings};

use crate::harness::{Harness, settings};

#[tokio::test]
async fn a_second_service_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { database: Database::Sqlite(folder.path().join("calbridge.db")), ..settings() };
    let first = Service::open(settings.clone()).await.unwrap();
    let second = Service::open(settings.clone()).await.unwrap_err();
    assert!(matches!(second, Error::Sqlite(_)), "{second}");
    drop(first);
    Service::open(settings).await.unwrap();
}

#[tokio::test]
async fn an_address_of_redis_that_is_none_ends_the_start_and_is_not_repeated() {
    let urls = vec!["redis://:hunter2@:port:/".into()];
    let redis = Some(RedisSettings { urls, ttl: Duration::from_mins(1), tls: None });
    let settings = Settings { redis, ..settings() };
    let at_once = Service::open(settings.clone()).await.unwrap_err().to_string();
    let later = Harness::with(settings).await.ended().await.unwrap_err().to_string();
    for error in [at_once, later] {
        assert!(error.contains("--redis-url") && !error.contains("hunter2"), "{error}");
    }
}
