//! The history as it was written down: a folder with the plan, a file for each reader, one of the operator, one of the
//! senders, and the truth as plain SQL tells it. Lines of JSON, each written whole before its writer acted on it.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    entry::{Entry, Micros, Position},
    plan::Plan,
};

/// What only some histories have.
const CALM: &str = "calm.jsonl";

/// Everything that is known.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) plan: Plan,
    /// By the reader's name.
    pub(crate) files: BTreeMap<String, Vec<Line>>,
    pub(crate) operator: Vec<Order>,
    pub(crate) answers: Vec<Answer>,
    /// Every body that was sent, once.
    pub(crate) sent: Vec<Body>,
    pub(crate) lives: Vec<Life>,
    pub(crate) truth: Vec<Fact>,
    /// The states of the same bookings in a store that nothing ever disturbed, where there was one.
    pub(crate) calm: Option<Vec<Fact>>,
}

/// What a reader wrote down, and when.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Line {
    pub(crate) at: Micros,
    #[serde(flatten)]
    pub(crate) what: What,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// Its process began; the one before it is dead.
    Life(()),
    /// A watcher saw an entry.
    Saw(Entry),
    /// Nothing up to there is still to come.
    Heartbeat(Position),
    /// A client of a consumer asks for so many entries at a time.
    Open(usize),
    /// It was handed one.
    Item(Item),
    /// It is about to say of some that they are dealt with.
    Ack(Vec<String>),
    /// That one is to come again.
    Retry(String),
    /// That one is a dead letter.
    Park(String),
    /// That one counts as dealt with.
    Skip(String),
    /// That it needs longer.
    Extend(Vec<String>),
    /// It was told that what it said of these came too late.
    Lost(Vec<String>),
    /// It is about to go away without a word.
    HangsUp(()),
    /// It is about to say nothing more, and to hear the rest.
    HalfCloses(()),
    /// Its stream has ended: `OK`, or why not.
    Ended(String),
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) count: i32,
    pub(crate) expires: Micros,
    pub(crate) entry: Entry,
}

/// What the operator asked of a consumer, and was answered.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Order {
    pub(crate) at: Micros,
    pub(crate) tenant: String,
    pub(crate) consumer: String,
    #[serde(flatten)]
    pub(crate) what: Asked,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asked {
    /// These dead letters were listed.
    Letters(Vec<Letter>),
    /// These are about to be replayed.
    Replay(Vec<Position>),
    /// So many were, by what was asked last.
    Replayed(usize),
    /// These are about to be deleted.
    Delete(Vec<Position>),
    /// So many were.
    Deleted(usize),
    /// How the consumer says it is doing, in the end.
    View(View),
}

/// A dead letter as its consumer shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Letter {
    pub(crate) position: Position,
    pub(crate) count: i32,
    /// When it was given up on.
    pub(crate) created: Micros,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct View {
    pub(crate) cursor: Position,
    pub(crate) in_flight: usize,
    pub(crate) waiting: usize,
    pub(crate) dead_letters: usize,
}

/// What the edge answered a sender with a 2xx.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Answer {
    #[serde(flatten)]
    pub(crate) body: Body,
    /// Both are empty where it was kept and not yet committed.
    pub(crate) delivery: String,
    pub(crate) outcome: String,
}

/// The SHA-256 of a webhook's body, and whose webhook it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Body {
    pub(crate) tenant: String,
    pub(crate) body: String,
}

/// The life of some bookings, as it is told by webhooks.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Life {
    pub(crate) name: String,
    pub(crate) tenant: String,
    pub(crate) bodies: Vec<String>,
    /// Where each booking ends, by uid, when all bodies are known: its status and its payment's.
    pub(crate) ends: Vec<(String, i32, i32)>,
}

/// A row of the store in the end.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fact {
    /// Of the log, in its order, with the delivery that caused it.
    Log {
        #[serde(flatten)]
        entry: Entry,
        delivery: String,
    },
    /// A dead letter that is kept.
    Letter { tenant: String, consumer: String, position: Position },
    /// An entry that a consumer has not settled.
    Unsettled { tenant: String, consumer: String, position: Position },
    /// A webhook that is kept.
    Delivery {
        #[serde(flatten)]
        body: Body,
        delivery: String,
    },
    /// A booking as the service shows it.
    Booking { tenant: String, uid: String, status: i32, payment: i32 },
    /// All that the store knows of a booking, as a hash.
    State { tenant: String, uid: String, row: String },
}

impl History {
    /// # Errors
    /// Which file can't be read, and why.
    pub(crate) fn read(folder: &Path) -> Result<Self, String> {
        let text = |name: &str| fs::read_to_string(folder.join(name)).map_err(|why| format!("{name}: {why}"));
        let plan: Plan = serde_json::from_str(&text("plan.json")?).map_err(|why| format!("plan.json: {why}"))?;
        let watchers = plan.watchers.iter().map(|watcher| &watcher.name);
        let clients = plan.consumers.iter().flat_map(|consumer| &consumer.clients);
        let mut files = BTreeMap::new();
        for name in watchers.chain(clients) {
            let file = format!("{name}.jsonl");
            files.insert(name.clone(), lines(&file, &text(&file)?)?);
        }
        Ok(Self {
            plan,
            files,
            operator: lines("operator.jsonl", &text("operator.jsonl")?)?,
            answers: lines("senders.jsonl", &text("senders.jsonl")?)?,
            sent: lines("sent.jsonl", &text("sent.jsonl")?)?,
            lives: lines("lives.jsonl", &text("lives.jsonl")?)?,
            calm: text(CALM).ok().map(|text| lines(CALM, &text)).transpose()?,
            truth: lines("truth.jsonl", &text("truth.jsonl")?)?,
        })
    }
}

/// All whole lines: of the last, its writer may have been killed before its end.
pub(crate) fn lines<T: DeserializeOwned>(name: &str, text: &str) -> Result<Vec<T>, String> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let read = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|why| format!("{name}, line {}: {why}: {line}", number + 1))
    };
    whole.lines().enumerate().map(read).collect()
}
