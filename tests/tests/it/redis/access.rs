//! Who may use Redis: a password, a user with few rights, and what becomes of a wrong word.

use calbridge_e2e::{
    collector::Collector,
    redis_server::{RedisServer, Setup},
    system::{Plan, System},
};

use super::{all_are, is_applied_once, is_asked, uids};

const PASSWORD: &str = "redispass-7f3c1d";
/// All that calbridge needs of one server, as the README says it.
const RIGHTS: [&str; 5] = ["resetchannels", "~calbridge:*", "-@all", "+mget", "+set"];

/// A system that is as talkative as it can be. The address is no argument: those are for all to see.
async fn start(collector: &Collector, url: String) -> System {
    let plan = Plan::new().export(collector.grpc()).env([("CALBRIDGE_LOG", "trace")]);
    plan.env([("CALBRIDGE_REDIS_URL", url)]).start().await
}

/// Whatever becomes of Redis, the answers and the rows are these.
async fn works(system: &System) {
    let known = uids("access", 10);
    all_are(&system.sender(), &known, "applied").await;
    all_are(&system.sender(), &known, "duplicate").await;
    is_applied_once(system, &known).await;
}

/// Ends the system and looks through all that came out of it.
async fn says_no(mut system: System, collector: &Collector, words: &[&str]) {
    system.stop().await;
    let seen = format!("{:?}", collector.seen());
    assert!(seen.contains("PIPELINE SET") || seen.contains("ingest round"), "the collector heard nothing");
    for program in [&system.adapter, &system.service] {
        for text in [&program.stdout(), &program.stderr(), &seen] {
            for word in words {
                assert!(!text.contains(word), "{word} came out");
            }
        }
    }
}

/// The lines that say why Redis is not used.
fn complaints(system: &System) -> Vec<String> {
    system.service.stderr().lines().filter(|line| line.contains("Redis is away")).map(str::to_owned).collect()
}

/// Redis is away for this reason, which is said once however often it is tried.
async fn is_away(system: &System, redis: &RedisServer, reason: &str) {
    redis.is_tried(3).await;
    works(system).await;
    let complaints = complaints(system);
    assert!(complaints.len() == 1 && complaints[0].contains(reason), "{reason}: {complaints:#?}");
}

/// The user `calbridge`, with these rights and no others.
fn give_user(redis: &RedisServer, rights: &[&str]) {
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("calbridge").arg("reset").arg("on").arg(format!(">{PASSWORD}")).arg(rights);
    command.exec(&mut redis.connection()).unwrap();
}

#[tokio::test]
async fn a_password_lets_in_and_is_never_said() {
    let collector = Collector::start();
    let redis = RedisServer::with(Setup::default().password(PASSWORD));
    let system = start(&collector, format!("redis://:{PASSWORD}@127.0.0.1:{}", redis.port())).await;
    is_asked(&system).await;
    works(&system).await;
    says_no(system, &collector, &[PASSWORD]).await;
}

#[tokio::test]
async fn a_wrong_password_is_an_outage_of_one_line() {
    let collector = Collector::start();
    let redis = RedisServer::with(Setup::default().password(PASSWORD));
    let wrong = "redispass-wrong";
    let system = start(&collector, format!("redis://:{wrong}@127.0.0.1:{}", redis.port())).await;
    is_away(&system, &redis, "the user or the password in --redis-url is wrong").await;
    says_no(system, &collector, &[PASSWORD, wrong]).await;
}

#[tokio::test]
async fn an_absent_password_is_an_outage_of_one_line() {
    let collector = Collector::start();
    let redis = RedisServer::with(Setup::default().password(PASSWORD));
    let system = start(&collector, redis.url()).await;
    is_away(&system, &redis, "NOAUTH: --redis-url needs a password").await;
    says_no(system, &collector, &[PASSWORD]).await;
}

#[tokio::test]
async fn a_database_that_is_not_there_or_not_allowed_is_an_outage_of_one_line() {
    let collector = Collector::start();
    let redis = RedisServer::start();
    let user = |rights: &[&str]| give_user(&redis, rights);
    user(&RIGHTS);
    let reason = "it has no such database as --redis-url names, or the user there lacks the right to SELECT it";
    let others = format!("redis://calbridge:{PASSWORD}@127.0.0.1:{}/1", redis.port());
    for url in [format!("{}/99", redis.url()), others.clone()] {
        let system = start(&collector, url).await;
        is_away(&system, &redis, reason).await;
        says_no(system, &collector, &[PASSWORD]).await;
    }
    user(&[&RIGHTS[..], &["+select"]].concat());
    let system = start(&collector, others).await;
    is_asked(&system).await;
    says_no(system, &collector, &[PASSWORD]).await;
}

#[tokio::test]
async fn a_user_needs_two_commands_and_its_keys() {
    let collector = Collector::start();
    let redis = RedisServer::start();
    let user = |rights: &[&str]| give_user(&redis, rights);
    let url = format!("redis://calbridge:{PASSWORD}@127.0.0.1:{}", redis.port());
    // Each right that is left out is one too few.
    for left_out in ["~calbridge:*", "+mget", "+set"] {
        user(&RIGHTS.into_iter().filter(|right| *right != left_out).collect::<Vec<_>>());
        let system = start(&collector, url.clone()).await;
        is_away(&system, &redis, "NOPERM: the user in --redis-url lacks a right").await;
        says_no(system, &collector, &[PASSWORD]).await;
    }
    user(&RIGHTS);
    let system = start(&collector, url).await;
    is_asked(&system).await;
    works(&system).await;
    // A right that is taken away while it works.
    user(&["~calbridge:*", "+set"]);
    all_are(&system.sender(), &uids("later", 10), "applied").await;
    all_are(&system.sender(), &uids("later", 10), "duplicate").await;
    user(&RIGHTS);
    is_asked(&system).await;
    says_no(system, &collector, &[PASSWORD]).await;
}
