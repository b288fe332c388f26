//! A server whose locks and timeouts are in the way: somebody holds what every round needs, or the operator has set
//! timeouts that no round could keep.

use std::time::{Duration, Instant};

use calbridge_e2e::{
    fleet::{Fleet, Load},
    postgres::{Durability, Postgres},
    wait,
};

use super::{REFUSALS, SHAPES, in_flow, recovers, services_say};

/// For a round that was frozen to be seen as such, well before the server ends it.
const HANGS: Duration = Duration::from_millis(800);

/// A session of somebody else.
async fn session(postgres: &Postgres) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&postgres.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn a_lock_that_somebody_holds_is_not_waited_for() {
    for services in SHAPES {
        let postgres = Postgres::start(Durability::Unsynced);
        let (fleet, load) = in_flow(services, &postgres).await;
        let holder = session(&postgres).await;
        holder.batch_execute("BEGIN; SELECT position FROM head FOR UPDATE").await.unwrap();
        load.is_refused(REFUSALS).await;
        let told = || std::future::ready(fleet.services[0].stderr().contains("can't write: not serving").then_some(()));
        wait::until("the service says that it can't write", told).await;
        holder.batch_execute("COMMIT").await.unwrap();
        let sent = recovers(fleet, load, &postgres, "head locked").await;
        assert!(sent.iter().any(|sent| sent.status == 503));
    }
}

#[tokio::test]
async fn a_round_that_the_server_cuts_short_is_refused_and_comes_again() {
    let postgres = Postgres::start(Durability::Unsynced);
    let (fleet, load) = in_flow(1, &postgres).await;
    let _ = postgres.query(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON deliveries FOR EACH STATEMENT EXECUTE FUNCTION slow()",
    );
    let cut = || async {
        let log = fleet.services[0].stderr();
        (log.contains("canceling statement due to statement timeout")).then_some(())
    };
    wait::until("the statement timeout comes", cut).await;
    load.is_refused(REFUSALS).await;
    let session = session(&postgres).await;
    // Whatever runs holds the table; the next one finds it without.
    session.batch_execute("DROP TRIGGER slow ON deliveries").await.unwrap();
    recovers(fleet, load, &postgres, "statement_timeout").await;
}

#[tokio::test]
async fn timeouts_of_the_operators_do_not_reach_calbridge() {
    for services in SHAPES {
        let postgres = Postgres::start(Durability::Unsynced);
        let (fleet, load) = in_flow(services, &postgres).await;
        postgres
            .set(&[
                ("lock_timeout", "1ms"),
                ("idle_in_transaction_session_timeout", "1ms"),
                ("statement_timeout", "1ms"),
            ])
            .await;
        load.flows(REFUSALS).await;
        // New connections hear of them first, and of ours then.
        for _ in 0..5 {
            postgres.cut_connections();
            load.flows(REFUSALS).await;
        }
        let sent = recovers(fleet, load, &postgres, "timeouts of the operator's").await;
        let refused = sent.iter().filter(|sent| sent.status != 200).count();
        assert!(refused < sent.len() / 2, "{refused} of {}", sent.len());
    }
}

#[tokio::test]
async fn a_replica_that_hangs_in_its_round_lets_go_of_the_others() {
    const HELD: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE state = 'idle in transaction' AND now() - state_change > interval '300 ms'";
    let postgres = Postgres::start(Durability::Unsynced);
    let (fleet, load) = in_flow(2, &postgres).await;
    hangs_in_its_round(&fleet, &load, &postgres, HELD).await;
    // The server ends it after two seconds, and the other one goes on.
    load.flows(REFUSALS).await;
    assert_eq!(postgres.query(HELD), "0");
    fleet.services[0].thaw();
    recovers(fleet, load, &postgres, "a hanging replica").await;
}

/// Freezes a service until it happens to hold the head.
async fn hangs_in_its_round(fleet: &Fleet, load: &Load, postgres: &Postgres, held: &str) {
    const TRIES: usize = 30;
    for number in 0..TRIES {
        fleet.services[0].freeze();
        let look = Instant::now() + HANGS;
        while Instant::now() < look {
            if postgres.query(held) == "1" {
                println!("it hangs in its round at the {number}th try");
                return;
            }
        }
        fleet.services[0].thaw();
        services_say(fleet, 200).await;
        load.flows(1).await;
    }
    panic!("it was never frozen in its round in {TRIES} tries");
}
