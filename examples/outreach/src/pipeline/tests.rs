mod orders;

use calbridge_client::v1::BookingStatus::{self, Cancelled, Rejected, Requested, Rescheduled, Scheduled};
use rusqlite::types::Value;
use serde_json::json;

use super::*;
use crate::{
    seed::{Seed, seed},
    show,
    snapshot::Booker,
};

const TENANT: &str = "default";

fn seeded() -> Pipeline {
    let mut pipeline = Pipeline::in_memory(TENANT).unwrap();
    sow(&mut pipeline);
    pipeline
}

fn sow(pipeline: &mut Pipeline) {
    let of = |text: &str| text.to_owned();
    let tomas = Seed {
        sequence: of("s-17"),
        contact: of("c-9"),
        prospect: of("lighthouse"),
        email: of("tomas@lighthouse.example"),
        name: of("Tomas Okafor"),
    };
    seed(pipeline, &tomas).unwrap();
}

/// The nth transition of a booking; it names sequence and contact.
fn told(uid: &str, number: usize, status: BookingStatus) -> Snapshot {
    Snapshot {
        uid: uid.to_owned(),
        position: format!("{uid}{number}"),
        status,
        at: format!("2026-09-01T00:00:0{number}Z"),
        title: format!("First talk {uid}"),
        time: Some((format!("2026-10-01T1{}:00:00Z", uid.len()), format!("2026-10-01T1{}:30:00Z", uid.len()))),
        sequence: Some("s-17".to_owned()),
        contact: Some("c-9".to_owned()),
        booker: Some(Booker { email: "tomas@lighthouse.example".to_owned(), name: "Tomas".to_owned() }),
        from: None,
        to: None,
    }
}

fn stranger(told: Snapshot) -> Snapshot {
    let booker = Some(Booker { email: "ada@new.example".to_owned(), name: "Ada".to_owned() });
    Snapshot { sequence: None, contact: None, booker, ..told }
}

fn apply(pipeline: &mut Pipeline, told: &Snapshot) {
    assert_eq!(pipeline.apply(told).unwrap(), Applied::Now);
}

/// Every row of every table, but for which transitions were applied.
fn dump(pipeline: &mut Pipeline) -> Vec<String> {
    let tables = ["prospects", "contacts", "sequences", "steps", "outreach_log", "call_plans", "call_plan_sections"];
    let mut rows = Vec::new();
    for table in tables.into_iter().chain(["bookings", "claims"]) {
        let mut read = pipeline.connection().prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3")).unwrap();
        let columns = read.column_count();
        let cells = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect();
        let found: Vec<Vec<Value>> = read.query_map([], cells).unwrap().collect::<Result<_, _>>().unwrap();
        rows.extend(found.into_iter().map(|row| format!("{table} {row:?}")));
    }
    rows.sort();
    rows
}

/// The six states in a line each.
fn shown(pipeline: &mut Pipeline, uid: &str) -> [String; 6] {
    let states = show::states(pipeline, uid).unwrap().unwrap();
    let named = |value: &serde_json::Value| format!("{} {}", value["id"], value["status"]).replace('"', "");
    let each = |values: &serde_json::Value, key: &str| {
        let values: Vec<_> = values.as_array().unwrap().iter().map(|value| value[key].as_str().unwrap()).collect();
        values.join(" ")
    };
    [
        named(&states["sequence"]),
        each(&states["steps"], "status"),
        named(&states["contact"]),
        named(&states["prospect"]),
        each(&states["log"], "entry"),
        format!("{} {}", states["plan"]["status"], states["plan"]["starts"]).replace('"', ""),
    ]
}

const BOOKED: [&str; 5] = ["s-17 BOOKED", "DONE BOOKED BOOKED", "c-9 CONVERTED", "lighthouse ENGAGED", "BOOKED"];
const UNDONE: [&str; 5] = ["s-17 ACTIVE", "DONE OPEN OPEN", "c-9 CONTACTED", "lighthouse CONTACTED", "BOOKED UNDONE"];

#[test]
fn a_meeting_sets_six_states_and_its_end_sets_them_back() {
    for end in [Cancelled, Rejected] {
        let mut pipeline = seeded();
        apply(&mut pipeline, &told("a", 1, Requested));
        assert_eq!(shown(&mut pipeline, "a")[4], "");
        apply(&mut pipeline, &told("a", 2, Scheduled));
        let booked = shown(&mut pipeline, "a");
        assert_eq!(booked[..5], BOOKED);
        assert_eq!(booked[5], "PLANNED 2026-10-01T11:00:00Z");
        apply(&mut pipeline, &told("a", 3, end));
        let undone = shown(&mut pipeline, "a");
        assert_eq!(undone[..5], UNDONE);
        assert_eq!(undone[5], "WITHDRAWN 2026-10-01T11:00:00Z");
    }
}

#[test]
fn a_plan_has_three_sections_that_go_with_the_meeting_and_keep_what_people_wrote() {
    let mut pipeline = seeded();
    apply(&mut pipeline, &told("a", 1, Scheduled));
    let write = "UPDATE call_plan_sections SET goal = 'ours' WHERE days = 60";
    assert_eq!(pipeline.connection().execute(write, []).unwrap(), 1);
    let time = Some(("2026-11-01T09:00:00Z".to_owned(), "2026-11-01T09:30:00Z".to_owned()));
    apply(&mut pipeline, &Snapshot { time, ..told("a", 2, Scheduled) });
    let plan = show::states(&mut pipeline, "a").unwrap().unwrap()["plan"].take();
    assert_eq!(plan["starts"], "2026-11-01T09:00:00Z");
    let days: Vec<_> = plan["sections"].as_array().unwrap().iter().map(|of| (&of["days"], &of["until"])).collect();
    let expected =
        [(json!(30), json!("2026-12-01")), (json!(60), json!("2026-12-31")), (json!(90), json!("2027-01-30"))];
    assert_eq!(days, expected.each_ref().map(|(days, until)| (days, until)));
    assert_eq!(plan["sections"][1]["goal"], "ours");
}

#[test]
fn a_reschedule_moves_the_plan_and_books_nothing_twice() {
    let mut pipeline = seeded();
    apply(&mut pipeline, &told("a", 1, Scheduled));
    apply(&mut pipeline, &Snapshot { to: Some("bb".to_owned()), ..told("a", 2, Rescheduled) });
    assert_eq!(shown(&mut pipeline, "a")[..5], BOOKED, "it is on its way");
    apply(&mut pipeline, &Snapshot { from: Some("a".to_owned()), ..told("bb", 1, Scheduled) });
    for uid in ["a", "bb"] {
        let moved = shown(&mut pipeline, uid);
        assert_eq!(moved[..5], BOOKED);
        assert_eq!(moved[5], "PLANNED 2026-10-01T12:00:00Z");
    }
    apply(&mut pipeline, &Snapshot { from: Some("a".to_owned()), ..told("bb", 2, Cancelled) });
    assert_eq!(shown(&mut pipeline, "a")[..5], UNDONE);
}

#[test]
fn a_stranger_becomes_a_contact_and_stays_one() {
    let mut pipeline = seeded();
    apply(&mut pipeline, &stranger(told("a", 1, Scheduled)));
    let [sequence, steps, contact, prospect, log, plan] = shown(&mut pipeline, "a");
    assert_eq!([sequence, steps, prospect], ["null null", "", "null null"], "there is none of them");
    assert!(contact.starts_with("c-") && contact.ends_with(" CONVERTED"), "{contact}");
    assert_eq!((log.as_str(), plan.as_str()), ("BOOKED", "PLANNED 2026-10-01T11:00:00Z"));
    apply(&mut pipeline, &stranger(told("a", 2, Cancelled)));
    assert!(shown(&mut pipeline, "a")[2].ends_with(" LEAD"));
    // By the address the one that was seeded is found, whatever its case was.
    apply(&mut pipeline, &Snapshot { sequence: None, contact: None, ..told("b", 1, Scheduled) });
    assert_eq!(shown(&mut pipeline, "b")[2..4], ["c-9 CONVERTED", "lighthouse ENGAGED"]);
}

#[test]
fn what_comes_again_changes_nothing() {
    let mut pipeline = seeded();
    let story = [told("a", 1, Scheduled), told("a", 2, Cancelled)];
    for told in &story {
        apply(&mut pipeline, told);
    }
    let before = dump(&mut pipeline);
    for told in &story {
        assert_eq!(pipeline.apply(told).unwrap(), Applied::Before);
    }
    assert_eq!(dump(&mut pipeline), before);
}

#[test]
fn two_meetings_of_one_contact_undo_in_any_order() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let mut pipeline = seeded();
        let before = dump(&mut pipeline);
        apply(&mut pipeline, &told("a", 1, Scheduled));
        apply(&mut pipeline, &told("b", 1, Scheduled));
        apply(&mut pipeline, &told(first, 2, Cancelled));
        assert_eq!(shown(&mut pipeline, second)[..5], BOOKED, "the other one stands");
        apply(&mut pipeline, &told(second, 2, Cancelled));
        let states = |rows: Vec<String>| {
            let of_people =
                |row: &String| ["prospects", "contacts", "sequences", "steps"].iter().any(|of| row.starts_with(of));
            rows.into_iter().filter(of_people).collect::<Vec<_>>()
        };
        assert_eq!(states(dump(&mut pipeline)), states(before));
    }
}

#[test]
fn what_somebody_changed_meanwhile_stays() {
    let mut pipeline = seeded();
    apply(&mut pipeline, &told("a", 1, Scheduled));
    pipeline.connection().execute("UPDATE contacts SET status = 'LOST'", []).unwrap();
    pipeline.connection().execute("INSERT INTO steps VALUES ('s-17', 4, 'call', 'OPEN')", []).unwrap();
    apply(&mut pipeline, &Snapshot { title: "Another".to_owned(), ..told("a", 2, Scheduled) });
    assert_eq!(shown(&mut pipeline, "a")[1], "DONE BOOKED BOOKED OPEN");
    apply(&mut pipeline, &told("a", 3, Cancelled));
    let [_, steps, contact, ..] = shown(&mut pipeline, "a");
    assert_eq!((steps.as_str(), contact.as_str()), ("DONE OPEN OPEN OPEN", "c-9 LOST"));
}

#[test]
fn whom_nobody_knows_is_no_reason_to_write_half() {
    let mut pipeline = Pipeline::in_memory(TENANT).unwrap();
    let before = dump(&mut pipeline);
    for named in
        [Snapshot { contact: None, ..told("a", 1, Scheduled) }, Snapshot { sequence: None, ..told("a", 1, Scheduled) }]
    {
        let Err(PipelineError::Refused(Refusal::Poison(why))) = pipeline.apply(&named) else {
            unreachable!("it was taken")
        };
        assert!(!why.contains("s-17") && !why.contains("c-9"), "{why}");
        assert_eq!(dump(&mut pipeline), before);
    }
    sow(&mut pipeline);
    apply(&mut pipeline, &told("a", 1, Scheduled));
    assert_eq!(shown(&mut pipeline, "a")[..5], BOOKED);
}

#[test]
fn a_file_is_of_one_program_and_one_tenant() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("outreach.db");
    drop(Pipeline::open(&path, TENANT).unwrap());
    drop(Pipeline::open(&path, TENANT).unwrap());
    assert!(matches!(Pipeline::open(&path, "acme"), Err(PipelineError::Tenant(owner)) if owner == TENANT));
    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(Pipeline::open(&other, TENANT), Err(PipelineError::Foreign)));
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(Pipeline::open(&path, TENANT), Err(PipelineError::Newer(2))));
}
