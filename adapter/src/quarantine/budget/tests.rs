use proptest::prelude::*;

use super::*;

const BYTES: u64 = 64_000;
const RATE: u32 = 2;

fn source(number: u8) -> Source {
    Source::of(IpAddr::from([192, 0, 2, number]))
}

/// One that comes: after so many milliseconds, for whom, from where, of how many bytes; and whether one goes instead.
type Step = (u64, u8, u8, u64, bool);

/// One that is kept: whose, from where, of how many bytes.
type Held = (Arc<str>, Source, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..400_u64, 0..3_u8, 0..4_u8, 1..6_000_u64, prop::bool::weighted(0.2)), 0..400)
}

/// The most that came in any stretch of time, over what may come at once.
fn excess(times: &[Duration], rate: u32) -> usize {
    let burst = usize::try_from(rate * BURST_SECONDS).unwrap();
    let in_time = |from: usize, to: usize| {
        let stretch = times[to].saturating_sub(times[from]).as_millis();
        let allowed = burst + usize::try_from(stretch * u128::from(rate) / 1_000).unwrap();
        (to - from + 1).saturating_sub(allowed)
    };
    (0..times.len())
        .flat_map(|from| (from..times.len()).map(move |to| (from, to)))
        .map(|(a, b)| in_time(a, b))
        .max()
        .unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes and goes: nobody has more than his share, nor comes faster than he may.
    #[test]
    fn never_more_than_is_allowed(steps in steps()) {
        let mut budget = Budget::new(BYTES, RATE);
        let mut now = Duration::ZERO;
        let mut held: Vec<Held> = Vec::new();
        let mut admitted: HashMap<(Arc<str>, Option<Source>), Vec<Duration>> = HashMap::new();
        for (wait, tenant, from, bytes, goes) in steps {
            now += Duration::from_millis(wait);
            if goes && !held.is_empty() {
                let (tenant, source, bytes) = held.swap_remove(usize::from(from) % held.len());
                budget.release(&tenant, source, bytes);
                continue;
            }
            let (tenant, source): (Arc<str>, _) = (format!("t{tenant}").into(), source(from));
            let in_all = held.iter().map(|(_, _, bytes)| bytes).sum();
            if budget.admit(&tenant, source, bytes, (held.len(), in_all), now) {
                budget.hold(&tenant, source, bytes);
                admitted.entry((Arc::clone(&tenant), Some(source))).or_default().push(now);
                admitted.entry((Arc::clone(&tenant), None)).or_default().push(now);
                held.push((tenant, source, bytes));
            }
            let sum = |of: &dyn Fn(&Held) -> bool| -> u64 {
                held.iter().filter(|record| of(record)).map(|(_, _, bytes)| bytes).sum()
            };
            prop_assert!(sum(&|_| true) <= BYTES);
            for (tenant, source, _) in &held {
                prop_assert!(sum(&|record| record.0 == *tenant) <= BYTES / TENANT_SHARE);
                prop_assert!(sum(&|record| record.0 == *tenant && record.1 == *source) <= BYTES / SOURCE_SHARE);
            }
        }
        for ((_, source), times) in admitted {
            let rate = if source.is_some() { RATE } else { RATE * TENANT_RATE };
            prop_assert_eq!(excess(&times, rate), 0);
        }
    }

    /// However many addresses there are: what is known of them is bounded, and their tenant's share is not exceeded.
    #[test]
    fn many_addresses_have_no_more_than_their_tenant(seed: u32, bytes in 2..200_u64) {
        let mut budget = Budget::new(BYTES, 1_000);
        let tenant: Arc<str> = "acme".into();
        let (mut records, mut held) = (0, 0);
        for number in 0..12_000_u32 {
            let source = Source::of(IpAddr::from(seed.wrapping_add(number).to_be_bytes()));
            if budget.admit(&tenant, source, bytes, (records, held), Duration::from_millis(u64::from(number))) {
                budget.hold(&tenant, source, bytes);
                (records, held) = (records + 1, held + bytes);
            }
        }
        prop_assert!(budget.sources.len() <= SOURCES_MOST.get());
        prop_assert!(held <= BYTES / TENANT_SHARE && held + bytes > BYTES / TENANT_SHARE);
    }
}

#[test]
fn a_burst_is_kept_and_then_the_rate() {
    let mut budget = Budget::new(BYTES, RATE);
    let (acme, other): (Arc<str>, Arc<str>) = ("acme".into(), "other".into());
    let mut kept = |tenant: &Arc<str>, from, seconds| {
        let now = Duration::from_secs(seconds);
        (0..100).filter(|_| budget.admit(tenant, source(from), 1, (0, 0), now)).count()
    };
    assert_eq!(kept(&acme, 1, 0), 40);
    assert_eq!(kept(&acme, 1, 0), 0);
    assert_eq!(kept(&acme, 1, 3), 6);
    assert_eq!(kept(&acme, 2, 3), 40, "another address has its own");
    assert_eq!(kept(&other, 1, 3), 40, "and so has the same one to another tenant");
    assert_eq!(kept(&acme, 1, 1_000), 40, "who waits for long has a burst and no more");
}

#[test]
fn what_is_full_takes_nothing_until_something_goes() {
    let mut budget = Budget::new(BYTES, 1_000);
    let tenant: Arc<str> = "acme".into();
    let (share, now) = (BYTES / SOURCE_SHARE, Duration::ZERO);
    assert!(!budget.admit(&tenant, source(1), share + 1, (0, 0), now));
    assert!(budget.admit(&tenant, source(1), share, (0, 0), now));
    budget.hold(&tenant, source(1), share);
    assert!(!budget.admit(&tenant, source(1), 1, (1, share), now));
    budget.release(&tenant, source(1), 1);
    assert!(budget.admit(&tenant, source(1), 1, (1, share), now));
    assert!(!budget.admit(&tenant, source(2), 1, (1, BYTES), now), "all of it is in use");
    assert!(!budget.admit(&tenant, source(2), 1, (RECORDS_MOST, 1), now), "there are too many");
}

#[test]
fn addresses_of_one_network_are_one_source() {
    let of = |address: &str| Source::of(address.parse().unwrap());
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
    assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
}
