//! What a run showed: for each case under each load a sample of every round, and what its stores took.

use super::{
    disk::Disk,
    limits::Limit,
    rig::{Store, Traces},
    sample::Sample,
};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Keeps nothing. It is measured beside the paths of a store.
    Limit(Limit, Store),
    /// A plain durable handler.
    Plain(Store),
    /// The full durable path.
    Full(Store, Traces),
}

impl Case {
    /// As the report names it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Limit(limit, Store::Sqlite) => limit.name().to_owned(),
            Self::Limit(limit, Store::Postgres) => format!("{}, beside {}", limit.name(), Store::Postgres.name()),
            Self::Plain(store) => format!("a plain handler, {} + Redis", store.name()),
            Self::Full(store, traces) => format!("{} + Redis, {}", store.name(), traces.name()),
        }
    }

    /// In whose part of the run it is measured.
    fn store(self) -> Store {
        let (Self::Limit(_, store) | Self::Plain(store) | Self::Full(store, _)) = self;
        store
    }
}

/// How it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// So many connections, each with one webhook under way.
    Closed(usize),
    /// The same with one body over and over.
    Storm(usize),
    /// So many webhooks a second.
    Open(u32),
}

impl Load {
    /// As the report names it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Closed(connections) => format!("{connections} connections"),
            Self::Storm(connections) => format!("{connections} connections, one body over and over"),
            Self::Open(rate) => format!("{rate}/s"),
        }
    }
}

/// One case under one load: a sample of each round.
#[derive(Debug)]
pub struct Cell {
    /// What.
    pub case: Case,
    /// How.
    pub load: Load,
    /// In the order of the rounds.
    pub samples: Vec<Sample>,
}

/// What a case's stores took, those of all rounds together.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// Whose.
    pub case: Case,
    /// Webhooks in them.
    pub webhooks: u64,
    /// What they take.
    pub disk: Disk,
}

/// All that a run showed.
#[derive(Debug, Default)]
pub struct Results {
    /// In the order of the first round.
    pub cells: Vec<Cell>,
    /// Of the full paths under closed loops.
    pub stored: Vec<Stored>,
    /// Why nothing was measured on `PostgreSQL`, where nothing was.
    pub no_postgres: Option<String>,
}

impl Results {
    /// What was measured of a case under a load.
    #[must_use]
    pub fn cell(&self, case: Case, load: Load) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.case == case && cell.load == load)
    }

    /// Of the rate of bare hyper over as many connections, in the same round of the same store's part.
    #[must_use]
    pub fn of_bare(&self, cell: &Cell) -> Option<f64> {
        let Load::Closed(_) = cell.load else { return None };
        cell.ratio(self.cell(Case::Limit(Limit::Bare, cell.case.store()), cell.load)?)
    }

    /// Of the rate of a plain handler over as many connections and the same store, in the same round.
    #[must_use]
    pub fn of_plain(&self, cell: &Cell) -> Option<f64> {
        let (Case::Full(store, _), Load::Closed(_)) = (cell.case, cell.load) else { return None };
        cell.ratio(self.cell(Case::Plain(store), cell.load)?)
    }

    pub(super) fn add(&mut self, case: Case, load: Load, sample: Sample) {
        match self.cells.iter_mut().find(|cell| cell.case == case && cell.load == load) {
            Some(cell) => cell.samples.push(sample),
            None => self.cells.push(Cell { case, load, samples: vec![sample] }),
        }
    }

    pub(super) fn add_stored(&mut self, case: Case, webhooks: u64, disk: Disk) {
        match self.stored.iter_mut().find(|stored| stored.case == case) {
            Some(stored) => {
                stored.webhooks += webhooks;
                stored.disk.add(&disk);
            }
            None => self.stored.push(Stored { case, webhooks, disk }),
        }
    }
}

impl Cell {
    /// The median of what is read off each sample.
    #[must_use]
    pub fn median(&self, read: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(read).collect()).unwrap_or_default()
    }

    /// The median of the ratios of this one's rate to another's, round by round.
    #[must_use]
    pub fn ratio(&self, to: &Self) -> Option<f64> {
        let pairs = self.samples.iter().zip(&to.samples);
        median(pairs.map(|(sample, to)| sample.rate() / to.rate()).collect())
    }
}

/// The one in the middle, or between the two in the middle.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(values[middle - 1], upper)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(vec![9.0, 1.0, 4.0, 2.0]), Some(3.0));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut results = Results::default();
        let (bare, full) = (Case::Limit(Limit::Bare, Store::Sqlite), Case::Full(Store::Sqlite, Traces::Tenth));
        // The second round was disturbed: half as much of everything.
        for (of_bare, of_full) in [(1_000, 200), (500, 100), (1_000, 210)] {
            results.add(bare, Load::Closed(64), Sample::of(of_bare, 0));
            results.add(full, Load::Closed(64), Sample::of(of_full, 0));
        }
        let cell = results.cell(full, Load::Closed(64)).unwrap();
        assert_eq!(results.of_bare(cell), Some(0.2));
        assert!((cell.median(Sample::rate) - 100.0).abs() < f64::EPSILON);
    }

    #[test]
    fn each_store_is_compared_with_the_limit_of_its_own_part() {
        let mut results = Results::default();
        for (store, of_bare) in [(Store::Sqlite, 1_000), (Store::Postgres, 500)] {
            results.add(Case::Limit(Limit::Bare, store), Load::Closed(64), Sample::of(of_bare, 0));
            results.add(Case::Full(store, Traces::Off), Load::Closed(64), Sample::of(100, 0));
        }
        let of_bare = [Store::Sqlite, Store::Postgres].map(|store| {
            let cell = results.cell(Case::Full(store, Traces::Off), Load::Closed(64));
            results.of_bare(cell.unwrap())
        });
        assert_eq!(of_bare, [Some(0.1), Some(0.2)]);
    }
}
