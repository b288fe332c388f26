//! Power cuts, many of them, in full flow. Whatever was answered with a 2xx is there when the power is back.

use calbridge_e2e::{
    chance::{self, Chance},
    disk::Disk,
    program::Start,
    system::{Plan, System},
    wait,
};

use super::{Books, flow, said};

/// Cuts in a test.
const CUTS: usize = 12;
/// Answers with a 2xx before a cut, at most.
const KEPT_MOST: usize = 80;

/// Of what a program does in its start so much is written down before a cut, at most.
const START_BYTES_MOST: u64 = 1_500_000;

/// The chances of a test, told so that they can be had again.
fn chances() -> Chance {
    let seed = chance::seed();
    println!("{}={seed}", chance::SEED);
    Chance::new(seed)
}

/// A chance that goes its own way.
fn part(chance: &mut Chance) -> Chance {
    Chance::new(chance.number())
}

/// What goes dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dark {
    Adapter,
    Service,
    Both,
}

/// Has webhooks flow for a while and cuts the power of one disk or both in the midst of it, again and again. With
/// `away` the service is away during some flows.
async fn cuts(plan: Plan, dark: &[Dark], away: bool) {
    let mut chance = chances();
    let (mut spool, mut data) = (Disk::new(part(&mut chance)), Disk::new(part(&mut chance)));
    let mut system = plan.returning().spool_on(&spool).data_on(&data).start().await;
    let mut books = Books::default();
    for cut in 0..CUTS {
        let is_away = away && chance.once_in(3);
        if is_away {
            system.service.kill();
        }
        let flow = flow(&system, &format!("cut{cut}"));
        flow.keeps(1 + chance.below(KEPT_MOST)).await;
        let dark = dark[chance.below(dark.len())];
        if dark != Dark::Adapter && !is_away {
            system.service.kill();
        }
        if dark != Dark::Service {
            system.adapter.kill();
        }
        books.enter(flow.stop().await);
        println!("cut {cut}: {dark:?}, {}", if is_away { "the service is away" } else { "the service is there" });
        if dark != Dark::Adapter {
            println!("  of the service's disk {:?}", data.cut_power());
        }
        if dark != Dark::Service {
            println!("  of the adapter's disk {:?}", spool.cut_power());
        }
        if dark != Dark::Service {
            dark_again(system.adapter_plan(), &mut spool, &mut chance).await;
        }
        come_back(&mut system, dark, is_away).await;
        books.arrive(&system.data()).await;
        books.compare(&system.data(), &format!("after cut {cut}"));
    }
    books.close(system).await;
}

/// By chance the power goes again while a program starts: it finds what the last cut left, and puts it in order.
async fn dark_again(start: &Start, disk: &mut Disk, chance: &mut Chance) {
    while chance.once_in(2) {
        let mut program = start.spawn();
        let enough = chance.number() % START_BYTES_MOST;
        let far = || {
            std::future::ready(
                (disk.recorded() >= enough || program.is_listening() || program.ended().is_some()).then_some(()),
            )
        };
        wait::until("it has begun", far).await;
        program.kill();
        said(&program);
        println!("  and in the start, {enough} bytes on: {:?}", disk.cut_power());
    }
}

async fn come_back(system: &mut System, dark: Dark, is_away: bool) {
    if dark != Dark::Adapter || is_away {
        said(&system.service);
        system.restart_service();
    }
    if dark != Dark::Service {
        let said = said(&system.adapter);
        // Of a batch that was being written the end may be there and the beginning not, head or body, which is kept to
        // be looked at.
        assert!(!said.contains("left alone"), "a power cut makes no strange files: {said}");
        system.restart_adapter();
    }
    system.ready().await;
}

#[tokio::test]
async fn a_store_keeps_what_it_promised_through_power_cuts() {
    let mut chance = chances();
    let mut disk = Disk::new(part(&mut chance));
    // Whoever is not answered is refused soon.
    let plan = Plan::new().returning().data_on(&disk).adapter("--forward-deadline", "300ms");
    let mut system = plan.start().await;
    let mut books = Books::default();
    for cut in 0..CUTS {
        let flow = flow(&system, &format!("cut{cut}"));
        flow.keeps(1 + chance.below(KEPT_MOST)).await;
        system.service.kill();
        books.enter(flow.stop().await);
        println!("cut {cut}: {:?}", disk.cut_power());
        dark_again(system.service_plan(), &mut disk, &mut chance).await;
        come_back(&mut system, Dark::Service, false).await;
        books.compare(&system.data(), &format!("after cut {cut}"));
    }
    books.close(system).await;
}

#[tokio::test]
async fn a_spool_keeps_what_it_promised_through_power_cuts() {
    cuts(Plan::new(), &[Dark::Adapter], true).await;
}

#[tokio::test]
async fn a_spool_that_has_everything_keeps_what_it_promised_through_power_cuts() {
    cuts(Plan::new().adapter("--ack", "spooled"), &[Dark::Adapter, Dark::Both], true).await;
}

#[tokio::test]
async fn spool_and_store_keep_what_they_promised_through_power_cuts_of_either_or_both() {
    cuts(Plan::new(), &[Dark::Adapter, Dark::Service, Dark::Both], true).await;
}
