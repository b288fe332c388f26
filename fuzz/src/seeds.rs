//! What the hunts begin with: golden events, of bookings and people that we made up.

use calbridge_calcom::golden::{self, Golden, Path, lives};
use calbridge_proto::v1::Trigger;

/// Longer ones cost an execution more than they show.
const BYTES_MOST: usize = 4096;

/// A body of each trigger on each path, and those of the whole lives that are other than these.
pub(crate) fn bodies() -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for path in [Path::Direct, Path::Confirm, Path::Payment, Path::Queue] {
        let golden = Golden { path, ..Golden::new("u1", 7, lives::minute(0), lives::minute(60)) };
        let triggers = (0..).map_while(|number| Trigger::try_from(number).ok());
        bodies.extend(triggers.map(|trigger| golden::body(trigger, &golden)));
    }
    bodies.extend(lives().into_iter().flatten());
    bodies.sort();
    bodies.dedup();
    bodies.retain(|body| body.len() <= BYTES_MOST);
    bodies
}

/// The bodies of each life, in the order in which they were sent.
pub(crate) fn lives() -> Vec<Vec<Vec<u8>>> {
    let told = |life: &lives::Life| life.steps.iter().map(|(trigger, golden)| golden::body(*trigger, golden)).collect();
    lives::all().iter().map(told).collect()
}
