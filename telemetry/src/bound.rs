//! Instruments that have found their attributes already. An instrument looks its attributes up by hash at every
//! measurement; on the way of each webhook that adds up, and the sets that come there are few and always the same.

use std::sync::OnceLock;

use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, BoundHistogram, BoundUpDownCounter, Counter, Histogram, UpDownCounter},
};

/// An instrument that can be bound to a set of attributes.
pub trait Bind {
    /// What it measures.
    type Value;
    /// It, with its attributes.
    type Handle;

    /// Binds it.
    fn bind(&self, attributes: &[KeyValue]) -> Self::Handle;
    /// Measures without.
    fn measure(&self, value: Self::Value, attributes: &[KeyValue]);
    /// Measures with a handle.
    fn measure_bound(handle: &Self::Handle, value: Self::Value);
}

/// An instrument, and its handles for the first `PLACES` sets of attributes that came, each found by a `K` of which the
/// attributes are made. Whatever comes when all places are taken is measured as well, only slower: a key that a
/// stranger can choose does not belong here.
#[derive(Debug, Clone)]
pub struct Bound<I: Bind, K, const PLACES: usize> {
    instrument: I,
    places: [OnceLock<(K, I::Handle)>; PLACES],
}

impl<I: Bind, K: Clone + PartialEq, const PLACES: usize> Bound<I, K, PLACES> {
    /// The instrument with all its places free.
    pub const fn new(instrument: I) -> Self {
        Self { instrument, places: [const { OnceLock::new() }; PLACES] }
    }

    /// Measures; `attributes` is asked when a handle is made, or where there is no place for one.
    pub fn measure(&self, value: I::Value, key: &K, attributes: impl Fn() -> Vec<KeyValue>) {
        for place in &self.places {
            let (taken, handle) = place.get_or_init(|| (key.clone(), self.instrument.bind(&attributes())));
            if taken == key {
                return I::measure_bound(handle, value);
            }
        }
        self.instrument.measure(value, &attributes());
    }

    /// Measures under attributes that are not worth a place.
    pub fn measure_unbound(&self, value: I::Value, attributes: &[KeyValue]) {
        self.instrument.measure(value, attributes);
    }
}

/// The three kinds differ in what their methods are called.
macro_rules! bind {
    ($instrument:ident, $handle:ident, $measure:ident) => {
        impl<T> Bind for $instrument<T> {
            type Value = T;
            type Handle = $handle<T>;

            fn bind(&self, attributes: &[KeyValue]) -> $handle<T> {
                $instrument::bind(self, attributes)
            }

            fn measure(&self, value: T, attributes: &[KeyValue]) {
                self.$measure(value, attributes);
            }

            fn measure_bound(handle: &$handle<T>, value: T) {
                handle.$measure(value);
            }
        }
    };
}

bind!(Counter, BoundCounter, add);
bind!(UpDownCounter, BoundUpDownCounter, add);
bind!(Histogram, BoundHistogram, record);

#[cfg(test)]
mod tests {
    use std::thread;

    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::SdkMeterProvider;

    use crate::MetricsPage;

    use super::*;

    fn attributes(key: &'static str) -> Vec<KeyValue> {
        vec![KeyValue::new("key", key)]
    }

    #[test]
    fn what_has_no_place_is_counted_all_the_same() {
        let page = MetricsPage::default();
        let provider = SdkMeterProvider::builder().with_reader(page.reader().unwrap()).build();
        let counter: Bound<_, _, 2> = Bound::new(provider.meter("test").u64_counter("seen").build());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for key in ["a", "b", "c", "a"] {
                        counter.measure(1, &key, || attributes(key));
                    }
                    counter.measure_unbound(1, &attributes("b"));
                });
            }
        });
        let shown = page.render();
        for (key, count) in [("a", 8), ("b", 8), ("c", 4)] {
            assert!(shown.contains(&format!("seen_total{{key=\"{key}\"}} {count}\n")), "{shown}");
        }
    }

    #[test]
    fn attributes_are_made_once() {
        let meter = SdkMeterProvider::builder().build().meter("test");
        let counter: Bound<_, _, 1> = Bound::new(meter.i64_up_down_counter("open").build());
        let made = std::cell::Cell::new(0);
        for key in ["a", "a", "b", "a", "b"] {
            counter.measure(1, &key, || {
                made.set(made.get() + 1);
                attributes(key)
            });
        }
        assert_eq!(made.get(), 3, "once for the one that has a place, each time for the other");
    }
}
