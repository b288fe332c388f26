//! Every webhook that was answered with a 2xx is kept, once, and nothing is kept that was not sent.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Report,
    history::{Body, Fact, History},
};

/// The bodies that are kept.
pub(crate) type Kept<'h> = BTreeSet<&'h Body>;

pub(crate) fn judge<'h>(history: &'h History, report: &mut Report) -> Kept<'h> {
    let mut kept: BTreeMap<&Body, Vec<&str>> = BTreeMap::new();
    for fact in &history.truth {
        if let Fact::Delivery { body, delivery } = fact {
            kept.entry(body).or_default().push(delivery);
        }
    }
    let sent: BTreeSet<_> = history.sent.iter().collect();
    for (Body { tenant, body }, deliveries) in &kept {
        if deliveries.len() > 1 {
            report.violation(format!(
                "{tenant}'s {body} is kept {} times: {}",
                deliveries.len(),
                deliveries.join(", ")
            ));
        }
    }
    for Body { tenant, body } in kept.keys().filter(|body| !sent.contains(*body)) {
        report.violation(format!("{tenant}'s {body} is kept, and nobody sent it"));
    }
    let mut committed = 0;
    for answer in &history.answers {
        let Body { tenant, body } = &answer.body;
        let told = &answer.delivery;
        committed += usize::from(!told.is_empty());
        match kept.get(&answer.body) {
            None => report.violation(format!("{tenant}'s {body} was answered with a 2xx, and is not kept")),
            Some(deliveries) if !told.is_empty() && !deliveries.contains(&told.as_str()) => {
                report.violation(format!("{tenant}'s {body} is kept as {}, and not as {told}", deliveries.join(", ")));
            }
            Some(_) => {}
        }
    }
    report.checked(format!(
        "deliveries: {} of {} bodies are kept, once; {} answers promised it, {committed} of them with the commit",
        kept.len(),
        sent.len(),
        history.answers.len(),
    ));
    kept.into_keys().collect()
}
