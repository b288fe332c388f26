//! A server that is gone for a while: stopped, killed, cut off, frozen. Meanwhile 503, afterwards everything as it was.

use std::time::Instant;

use calbridge_e2e::{
    postgres::{Durability, Postgres},
    wait,
};

use super::{REFUSALS, SHAPES, in_flow, recovers, services_say};

/// How often every connection is cut.
const CUTS: usize = 25;

async fn gone_and_back(end: fn(&mut Postgres), what: &str) {
    for services in SHAPES {
        let mut postgres = Postgres::start(Durability::Synced);
        let (fleet, load) = in_flow(services, &postgres).await;
        end(&mut postgres);
        load.is_refused(REFUSALS).await;
        services_say(&fleet, 503).await;
        postgres.restart();
        let began = Instant::now();
        services_say(&fleet, 200).await;
        println!("{what}: ready {:?} after the server", began.elapsed());
        recovers(fleet, load, &postgres, what).await;
    }
}

#[tokio::test]
async fn a_server_that_is_stopped_at_once_loses_nothing_that_was_promised() {
    gone_and_back(Postgres::stop_immediately, "SIGQUIT").await;
}

#[tokio::test]
async fn a_server_that_is_killed_loses_nothing_that_was_promised() {
    gone_and_back(Postgres::kill, "SIGKILL").await;
}

#[tokio::test]
async fn connections_that_are_cut_again_and_again_are_made_anew() {
    for services in SHAPES {
        let postgres = Postgres::start(Durability::Synced);
        let (fleet, load) = in_flow(services, &postgres).await;
        for _ in 0..CUTS {
            postgres.cut_connections();
            load.flows(1).await;
        }
        recovers(fleet, load, &postgres, "connections cut").await;
    }
}

#[tokio::test]
async fn a_server_that_is_frozen_costs_the_deadline_and_no_promise() {
    for services in SHAPES {
        let postgres = Postgres::start(Durability::Synced);
        let (fleet, load) = in_flow(services, &postgres).await;
        postgres.freeze();
        services_say(&fleet, 503).await;
        load.is_refused(1).await;
        let given_up = || {
            let say = fleet.services.iter().any(|service| service.stderr().contains("a round was not committed"));
            std::future::ready(say.then_some(()))
        };
        wait::until("a round that met it is given up", given_up).await;
        postgres.thaw();
        recovers(fleet, load, &postgres, "SIGSTOP").await;
    }
}
