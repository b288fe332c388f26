//! The sequences that were recorded from Cal.com's own sender, in every order with every duplicate. They are not part
//! of this repository: `CALBRIDGE_CORPUS` names their folder.

use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use calbridge_proto::v1::BookingEvent;

use super::{histories::converge, world::Told};

struct Recorded {
    name: String,
    sequence: Option<String>,
    step: i64,
    told: Told,
}

#[test]
fn recorded_sequences_end_the_same_in_every_order() {
    let Some(recorded) = recorded() else { return };
    let mut sequences: BTreeMap<String, Vec<&Recorded>> = BTreeMap::new();
    for one in &recorded {
        sequences.entry(one.sequence.clone().unwrap_or_else(|| one.name.clone())).or_default().push(one);
    }
    let mut histories = 0;
    for (name, mut steps) in sequences {
        steps.sort_by_key(|one| one.step);
        let told: Vec<Told> = steps.iter().map(|one| one.told.clone()).collect();
        let (world, count) = converge(&told);
        histories += count;
        let ends: Vec<_> = world
            .rows
            .keys()
            .map(|uid| world.find(uid).map(|derived| (derived.rule.as_str(), derived.booking.attendees.len())))
            .collect();
        println!("{name}: {} events, {count} histories, {ends:?}", told.len());
    }
    println!("{} events, {histories} histories", recorded.len());
}

/// `None`, with a line that says so, where no corpus is at hand.
fn recorded() -> Option<Vec<Recorded>> {
    #[expect(clippy::disallowed_methods, reason = "which corpus to read is the test run's business")]
    let Ok(folder) = std::env::var("CALBRIDGE_CORPUS") else {
        println!("skipped: CALBRIDGE_CORPUS names no folder of recorded webhooks");
        return None;
    };
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let recorded: Vec<_> = files.iter().map(|file| read(file)).collect();
    assert!(!recorded.is_empty(), "{folder} is empty");
    Some(recorded)
}

fn read(file: &Path) -> Recorded {
    let record: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let body = STANDARD.decode(record["body_base64"].as_str().unwrap()).unwrap();
    let mut hash = [0; 32];
    let digest = record["body_sha256"].as_str().unwrap();
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digest[2 * place..2 * place + 2], 16).unwrap();
    }
    let mut event = BookingEvent::default();
    calbridge_calcom::type_body(&body).into_event(&mut event);
    Recorded {
        name: record["name"].as_str().unwrap().to_owned(),
        sequence: record["sequence"].as_str().map(str::to_owned),
        step: record["step"].as_i64().unwrap_or_default(),
        told: Told { event, hash },
    }
}
