use std::{collections::BTreeMap, fs::File, path::Path};

use proptest::prelude::*;
use rusqlite::TransactionBehavior;

use super::{settler::Pace, *};
use crate::store::sqlite::{Options, Synchronous, schema};

const TENANTS: [&str; 3] = ["a", "b", "c"];

/// So few that what goes into the trees has done so, in part and wholly, within some tens of steps.
const PACE: Pace = Pace { gathered: 4, least: 1 };

/// What is kept, by tenant and uid.
type Model = BTreeMap<(&'static str, String), (Number, Option<End>)>;

/// A tenant's place, what its uid is made of, its end.
type Told = (usize, u8, Option<(bool, u8)>);

#[derive(Clone, Debug)]
enum Step {
    /// A round: bookings with their ends, new or known; committed or not.
    Round(Vec<Told>, bool),
    /// One without an end is removed, if there is one at this place.
    Remove(usize),
    /// The process ends and starts again.
    Restart,
    /// The thread reads so many names.
    Read(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let booking = (0..TENANTS.len(), 0..40_u8, proptest::option::of((any::<bool>(), 0..6_u8)));
    let round = (proptest::collection::vec(booking, 0..6), prop::bool::weighted(0.9));
    let step = prop_oneof![
        8 => round.prop_map(|(bookings, commits)| Step::Round(bookings, commits)),
        1 => (0..40_usize).prop_map(Step::Remove),
        1 => Just(Step::Restart),
        3 => (1..9_usize).prop_map(Step::Read),
    ];
    proptest::collection::vec(step, 1..60)
}

struct World {
    path: std::path::PathBuf,
    connection: Connection,
    young: Arc<Young>,
    settler: Settler,
    /// How far the thread has read.
    place: known::Place,
    model: Model,
}

impl World {
    fn new(folder: &Path) -> Self {
        let path = folder.join("calbridge.db");
        File::create(&path).unwrap();
        let connection = schema::open(&path, Options { synchronous: Synchronous::Off, ..Options::default() }).unwrap();
        let young = Arc::<Young>::default();
        let settler = load(&connection, &young);
        Self { path, connection, young, settler, place: known::Place::default(), model: Model::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Round(bookings, commits) => self.round(&bookings, commits),
            Step::Remove(place) => self.remove(place),
            Step::Restart => self.restart(),
            Step::Read(names) => self.read(names),
        }
    }

    fn round(&mut self, bookings: &[Told], commits: bool) {
        const ROW: &str = "INSERT INTO bookings (id, tenant, uid, state, visible, status, start_time, update_time,
            position, clock_told, clock_end) VALUES (?1, ?2, ?3, x'00', 1, 0, 0, 0, 0, ?4, ?5)
            ON CONFLICT (id) DO UPDATE SET clock_told = ?4, clock_end = ?5";
        let mut model = self.model.clone();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        for (tenant, uid, end) in bookings {
            let (tenant, uid) = (TENANTS[*tenant], format!("u{uid}"));
            let key: Arc<str> = Arc::from(tenant);
            let end = end.map(|(told, at)| End { told, at: i64::from(at) });
            let known = self.settler.number(&transaction, tenant, &uid).unwrap();
            let number = known.unwrap_or_else(|| self.settler.add(&key, &uid));
            let before = model.insert((tenant, uid.clone()), (number, end));
            assert_eq!(before.map(|(number, _)| number), known);
            let values = params![number, tenant, uid, end.is_some_and(|end| end.told), end.map(|end| end.at)];
            transaction.execute(ROW, values).unwrap();
            self.settler.end(&transaction, (&key, number), before.and_then(|(_, end)| end), end).unwrap();
        }
        self.settler.settle(&transaction).unwrap();
        let reader = schema::reader(&self.path).unwrap();
        numbers_are_found(&self.young, &reader, &self.model);
        if commits {
            transaction.commit().unwrap();
            self.settler.committed();
            self.model = model;
        } else {
            drop(transaction);
            self.settler = load(&self.connection, &self.young);
        }
    }

    fn remove(&mut self, place: usize) {
        let Some((key, (number, None))) = self.model.iter().nth(place).map(|(key, of)| (key.clone(), *of)) else {
            return;
        };
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        transaction.execute("DELETE FROM bookings WHERE id = ?1", [number]).unwrap();
        self.settler.forget(&transaction, key.0, &key.1).unwrap();
        transaction.commit().unwrap();
        self.model.remove(&key);
    }

    fn read(&mut self, names: usize) {
        let reader = schema::reader(&self.path).unwrap();
        // What was removed meanwhile ends it.
        let _ = self.young.known.read(&reader, &mut self.place, names);
    }

    fn restart(&mut self) {
        self.young = Arc::default();
        self.place = known::Place::default();
        self.settler = load(&self.connection, &self.young);
    }

    /// What a reader sees is what is kept, however its page is cut.
    fn check(&self, limit: usize) {
        let reader = schema::reader(&self.path).unwrap();
        let snapshot = reader.unchecked_transaction().unwrap();
        let begin = || Ok(snapshot.query_row("SELECT position FROM head", [], |row| row.get::<_, i64>(0))?);
        let (_, view) = self.young.at(begin).unwrap();
        let kept: Vec<_> =
            self.model.iter().map(|((tenant, uid), (number, _))| (*tenant, uid.clone(), *number)).collect();
        for (tenant, uid, number) in &kept {
            assert_eq!(view.number(&reader, tenant, uid).unwrap(), Some(*number), "{tenant} {uid}");
        }
        assert_eq!(all_names(&view, &reader, None, limit), kept);
        for tenant in TENANTS {
            let of: Vec<_> = kept.iter().filter(|(of, ..)| *of == tenant).cloned().collect();
            assert_eq!(all_names(&view, &reader, Some(tenant), limit), of);
            for told in [false, true] {
                let mut ends: Vec<_> = (self.model.iter())
                    .filter_map(|((of, _), (number, end))| end.filter(|_| *of == tenant).map(|end| (end, *number)))
                    .filter(|(end, _)| end.told == told && (1..=4).contains(&end.at))
                    .collect();
                ends.sort_unstable();
                ends.truncate(limit);
                assert_eq!(view.ends(&reader, tenant, (told, 1..=4), limit).unwrap(), ends);
            }
        }
        let behind = |tenant: &str, has: fn(&Option<End>) -> bool| {
            let mut of = self.model.iter().filter(|((of, _), (_, end))| *of > tenant && has(end));
            of.next().map(|((of, _), _)| (*of).to_owned())
        };
        for tenant in ["", "a", "b", "c"] {
            assert_eq!(view.next_tenant(&reader, tenant).unwrap(), behind(tenant, |_| true));
            assert_eq!(view.next_with_ends(&reader, tenant).unwrap(), behind(tenant, Option::is_some));
        }
    }
}

/// In the state that a reader begins to read now.
fn numbers_are_found(young: &Young, reader: &Connection, model: &Model) {
    let snapshot = reader.unchecked_transaction().unwrap();
    let begin = || Ok(snapshot.query_row("SELECT position FROM head", [], |row| row.get::<_, i64>(0))?);
    let (_, view) = young.at(begin).unwrap();
    for ((tenant, uid), (number, _)) in model {
        assert_eq!(view.number(&snapshot, tenant, uid).unwrap(), Some(*number), "{tenant} {uid}");
    }
}

fn load(connection: &Connection, young: &Arc<Young>) -> Settler {
    let mut settler = Settler::load(connection, Arc::clone(young)).unwrap();
    settler.pace = PACE;
    settler
}

fn all_names(
    view: &View,
    connection: &Connection,
    of: Option<&str>,
    limit: usize,
) -> Vec<(&'static str, String, Number)> {
    let (mut all, mut behind) = (Vec::new(), (String::new(), String::new()));
    loop {
        let names = view.names(connection, of, (&behind.0, &behind.1), limit).unwrap();
        let Some(last) = names.last() else { return all };
        behind = (last.tenant.as_ref().to_owned(), last.uid.clone());
        for Name { tenant, uid, number } in names {
            let tenant = TENANTS.into_iter().find(|of| *of == tenant.as_ref()).unwrap();
            all.push((tenant, uid, number));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn readers_find_every_booking_and_end_and_no_other(steps in steps(), limit in 1..5_usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(folder.path());
        for step in steps {
            world.take(step);
            world.check(limit);
        }
    }

    /// What has gone into the trees since is not in a state that was begun before.
    #[test]
    fn a_state_that_is_read_keeps_its_young(before in steps(), behind in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(folder.path());
        for step in before {
            world.take(step);
        }
        let reader = schema::reader(&world.path).unwrap();
        let snapshot = reader.unchecked_transaction().unwrap();
        let begin = || Ok(snapshot.query_row("SELECT position FROM head", [], |row| row.get::<_, i64>(0))?);
        let (_, view) = world.young.at(begin).unwrap();
        let kept = world.model.clone();
        // What is removed is gone from older states as well.
        for step in behind.into_iter().filter(|step| !matches!(step, Step::Remove(_))) {
            world.take(step);
        }
        for ((tenant, uid), (number, _)) in kept {
            prop_assert_eq!(view.number(&snapshot, tenant, &uid).unwrap(), Some(number));
        }
    }
}

/// However often something fails meanwhile: what has gathered again must not grow without end.
#[test]
fn what_goes_into_the_trees_gets_there_though_every_second_round_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path());
    for uid in 0..120 {
        world.round(&[(0, uid, Some((false, 1)))], true);
        world.round(&[(1, uid, None)], false);
    }
    let young = world.settler.view().generations().map(|young| young.names(("", ""), true, usize::MAX).len());
    assert!(young.sum::<usize>() < 3 * PACE.gathered);
    world.check(1);
}

/// None walks a tree or sorts.
#[test]
fn what_is_settled_is_found_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    for (select, expected) in [
        (NUMBER, "(tenant=? AND uid=?)"),
        (NAMES_OF, "(tenant=? AND uid>?)"),
        (NAMES, "((tenant,uid)>(?,?))"),
        (ENDS, "(tenant=? AND told=? AND time>? AND time<?)"),
        (NEXT_TENANT, "(tenant>?)"),
        (NEXT_WITH_ENDS, "(tenant>?)"),
    ] {
        let mut explain = world.connection.prepare(&format!("EXPLAIN QUERY PLAN {select}")).unwrap();
        let empty = vec![rusqlite::types::Null; explain.parameter_count()];
        let steps = explain.query_map(rusqlite::params_from_iter(empty), |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = steps.map(Result::unwrap).collect();
        assert!(plan.len() == 1 && plan[0].starts_with("SEARCH") && plan[0].contains(expected), "{select}: {plan:?}");
    }
}

#[test]
fn names_of_rows_that_cannot_be_read_are_read_off_the_index_alone() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let mut explain = world.connection.prepare(&format!("EXPLAIN QUERY PLAN {}", rows::NAMES)).unwrap();
    let steps = explain.query_map([0, 9], |row| row.get::<_, String>(3)).unwrap();
    let plan: Vec<String> = steps.map(Result::unwrap).collect();
    assert_eq!(plan, ["SCAN bookings USING COVERING INDEX bookings_by_update"]);
}

#[test]
fn a_name_that_is_not_there_is_known_at_a_look_once_all_have_been_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path());
    let booking = |uid| (0, uid, Some((false, 1)));
    // More than gather: some are in the trees.
    world.round(&(0..20).map(booking).collect::<Vec<_>>(), true);
    world.round(&[booking(20)], true);
    let lacks = |world: &World, uid: &str| world.young.known.lacks("a", uid);
    assert!(!lacks(&world, "none"));

    world.restart();
    world.read(5);
    assert!(!lacks(&world, "none"), "not all have been read");
    world.read(40);
    assert!(lacks(&world, "none"));
    for uid in 0..=20 {
        assert!(!lacks(&world, &format!("u{uid}")), "{uid}");
    }

    world.round(&[booking(21)], false);
    world.round(&[booking(22)], true);
    assert!(!lacks(&world, "u22"));
}

#[test]
fn whoever_reads_the_names_does_not_go_on_behind_one_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new(folder.path());
    world.round(&(0..20).map(|uid| (0, uid, None)).collect::<Vec<_>>(), true);
    world.restart();
    world.read(3);
    let known::Place(Some((_, last))) = &world.place else { panic!("nothing was read") };
    let place = world.model.keys().position(|(_, uid)| uid == last).unwrap();
    world.remove(place);
    world.read(40);
    assert!(!world.young.known.lacks("a", "none"));
}
