//! Each booking is what its webhooks say, whatever happened on their way: where all of a life's are kept it has ended
//! as was written by hand, and all that is known of any booking is what a store knows that nothing disturbed.

use std::collections::HashMap;

use crate::{
    Report,
    delivery::Kept,
    history::{Body, Fact, History},
};

pub(crate) fn judge(history: &History, kept: &Kept<'_>, report: &mut Report) {
    ends(history, kept, report);
    if let Some(calm) = &history.calm {
        states(&history.truth, calm, report);
    }
}

fn ends(history: &History, kept: &Kept<'_>, report: &mut Report) {
    let mut bookings = HashMap::new();
    for fact in &history.truth {
        if let Fact::Booking { tenant, uid, status, payment } = fact {
            bookings.insert((tenant, uid), (*status, *payment));
        }
    }
    let (mut whole, mut ends) = (0, 0);
    for life in &history.lives {
        let tenant = &life.tenant;
        let is_kept = |body: &String| kept.contains(&Body { tenant: tenant.clone(), body: body.clone() });
        if !life.bodies.iter().all(is_kept) {
            continue;
        }
        whole += 1;
        for (uid, status, payment) in &life.ends {
            ends += 1;
            let end = bookings.get(&(tenant, uid)).copied();
            if end != Some((*status, *payment)) {
                let name = &life.name;
                report.violation(format!(
                    "{tenant}/{uid} of {name} ends with status and payment {end:?}, not {:?}",
                    (status, payment)
                ));
            }
        }
    }
    let told = history.lives.len();
    report.checked(format!(
        "bookings: {ends} compared with the ends that were written for them; {whole} lives of {told} were told whole"
    ));
}

fn states(truth: &[Fact], calm: &[Fact], report: &mut Report) {
    let (truth, mut calm) = (rows(truth), rows(calm));
    for ((tenant, uid), row) in &truth {
        match calm.remove(&(*tenant, *uid)) {
            Some(expected) if expected == *row => {}
            Some(_) => report.violation(format!("{tenant}/{uid} is not what it is where nothing was disturbed")),
            None => report.violation(format!("{tenant}/{uid} is known, and is not where nothing was disturbed")),
        }
    }
    for (tenant, uid) in calm.keys() {
        report.violation(format!("{tenant}/{uid} is not known, and is where nothing was disturbed"));
    }
    report.checked(format!(
        "states: {} compared, byte for byte, with those of a store that nothing disturbed",
        truth.len()
    ));
}

fn rows(facts: &[Fact]) -> HashMap<(&String, &String), &String> {
    let mut rows = HashMap::new();
    for fact in facts {
        if let Fact::State { tenant, uid, row } = fact {
            rows.insert((tenant, uid), row);
        }
    }
    rows
}
