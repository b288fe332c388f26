use std::collections::BTreeSet;

use super::*;

#[test]
fn each_point_has_a_name_of_its_own() {
    let names: BTreeSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
    assert_eq!(names.len(), Point::ALL.len());
    let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.');
    assert!(names.iter().all(|name| is_plain(name)), "{names:?}");
}

#[cfg(debug_assertions)]
#[test]
fn a_point_kills_at_its_time_and_at_no_other() {
    let armed = armed::Armed::read("spool.write:3").unwrap();
    let passed = [Point::SpoolWrite, Point::SpoolWritten, Point::SpoolWrite, Point::SpoolWrite, Point::SpoolWrite];
    assert_eq!(passed.map(|point| armed.is_due(point)), [false, false, false, true, false]);
}

#[cfg(debug_assertions)]
#[test]
fn what_names_no_point_or_no_time_is_refused() {
    for said in ["", "spool.write", "spool.write:", "spool.write:0", "spool.write:-1", "spool:1", ":1"] {
        assert!(armed::Armed::read(said).is_none(), "{said}");
    }
}
