//! What happened to one consumer, put together from what its clients and its operator wrote down.
//!
//! Deliveries of one entry stand in the order in which they were handed out: an entry goes out again only in a turn
//! that is later than whatever gave it back, so the beginnings of its leases rise.

use std::collections::{BTreeMap, HashMap};

use crate::{
    Report,
    entry::{Micros, Position},
    history::{Asked, History, Item, Letter, Line, View, What},
    plan::Consumer,
};

/// Later than everything.
pub(crate) const NEVER: Micros = Micros::MAX;

/// All that is known of a consumer.
#[derive(Debug, Default)]
pub(crate) struct Tale {
    pub(crate) entries: BTreeMap<Position, Passage>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) lives: usize,
    /// As the consumer tells it of itself in the end.
    pub(crate) view: Option<View>,
}

/// One entry's way through a consumer.
#[derive(Debug, Default)]
pub(crate) struct Passage {
    /// In the order in which they were handed out.
    pub(crate) deliveries: Vec<Delivery>,
    /// As they were listed, each once, by when they were given up on.
    pub(crate) letters: BTreeMap<Micros, Letter>,
    /// From when it was asked to when it was answered.
    pub(crate) replays: Vec<(Micros, Micros)>,
    /// The same for a dead letter that was deleted.
    pub(crate) deleted: Option<(Micros, Micros)>,
}

/// An entry that was handed to a client.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) item: Item,
    pub(crate) session: usize,
    /// It was handed out no sooner.
    pub(crate) handed: Micros,
    /// And no later: its client wrote it down.
    pub(crate) seen: Micros,
    /// What its client said of it, written down before it was sent.
    pub(crate) said: Option<(Micros, Said)>,
    /// When its client was told that this came too late.
    pub(crate) lost: Option<Micros>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Ack,
    Skip,
    Park,
    Retry,
}

/// A client's stream.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: String,
    /// Entries out to it, at the most.
    pub(crate) most: usize,
    /// It ended no sooner.
    pub(crate) ended: Micros,
    /// The service ended it after its client had said its last: all that this said was heard.
    pub(crate) is_orderly: bool,
}

impl Delivery {
    /// When its client said that it is done with it, unless that came too late. It may not have been heard.
    pub(crate) fn settled(&self) -> Option<(Micros, Said)> {
        self.said.filter(|(_, said)| *said != Said::Retry && self.lost.is_none())
    }
}

impl Passage {
    /// How often it was replayed before a moment.
    pub(crate) fn replays_before(&self, moment: Micros) -> usize {
        self.replays.iter().filter(|(asked, _)| *asked <= moment).count()
    }

    /// The deliveries between two replays.
    pub(crate) fn round(&self, round: usize) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter().filter(move |delivery| self.replays_before(delivery.handed) == round)
    }
}

impl Tale {
    pub(crate) fn of(consumer: &Consumer, history: &History, report: &mut Report) -> Self {
        let mut tale = Self::default();
        for client in &consumer.clients {
            let lines = history.files.get(client).map_or(&[][..], Vec::as_slice);
            Reading { consumer, client, tale: &mut tale, out: HashMap::new(), orderly: false }.read(lines, report);
        }
        for passage in tale.entries.values_mut() {
            passage.deliveries.sort_by_key(|delivery| (delivery.handed, delivery.item.count));
        }
        tale.hear_operator(consumer, history, report);
        tale
    }

    fn hear_operator(&mut self, consumer: &Consumer, history: &History, report: &mut Report) {
        let ours = history
            .operator
            .iter()
            .filter(|order| order.tenant == consumer.scope.tenant && order.consumer == consumer.name);
        let mut asked: (Micros, &[Position]) = (0, &[]);
        for order in ours {
            match &order.what {
                Asked::Letters(letters) => {
                    for letter in letters {
                        self.passage(letter.position).letters.insert(letter.created, letter.clone());
                    }
                }
                Asked::Replay(positions) | Asked::Delete(positions) => asked = (order.at, positions),
                Asked::Replayed(count) | Asked::Deleted(count) => {
                    if *count != asked.1.len() {
                        let (name, all) = (&consumer.name, asked.1.len());
                        report.violation(format!("consumer {name}: of {all} dead letters it found {count}"));
                    }
                    for position in asked.1 {
                        let when = (asked.0, order.at);
                        match order.what {
                            Asked::Replayed(_) => self.passage(*position).replays.push(when),
                            _ => self.passage(*position).deleted = Some(when),
                        }
                    }
                }
                Asked::View(view) => self.view = Some(view.clone()),
            }
        }
    }

    fn passage(&mut self, position: Position) -> &mut Passage {
        self.entries.entry(position).or_default()
    }
}

/// One client's file, line by line.
struct Reading<'a> {
    consumer: &'a Consumer,
    client: &'a str,
    tale: &'a mut Tale,
    /// What was handed out on the stream that is open: where it stands in the tale.
    out: HashMap<String, (Position, usize)>,
    /// Its client has said its last.
    orderly: bool,
}

impl Reading<'_> {
    fn read(mut self, lines: &[Line], report: &mut Report) {
        let mut is_open = false;
        let mut last = 0;
        for line in lines {
            match &line.what {
                // Killed: it lived when it wrote its last line.
                What::Life(()) => {
                    self.lived_until(is_open, last);
                    (is_open, self.tale.lives) = (false, self.tale.lives + 1);
                }
                What::Open(most) => {
                    self.open(*most, line.at);
                    is_open = true;
                }
                What::Item(item) => self.item(item, line.at, report),
                What::Ack(ids) => ids.iter().for_each(|id| self.say(id, line.at, Said::Ack, report)),
                What::Retry(id) => self.say(id, line.at, Said::Retry, report),
                What::Park(id) => self.say(id, line.at, Said::Park, report),
                What::Skip(id) => self.say(id, line.at, Said::Skip, report),
                What::Lost(ids) => ids.iter().for_each(|id| self.lose(id, line.at, report)),
                What::HalfCloses(()) => {
                    self.lived_until(is_open, line.at);
                    (is_open, self.orderly) = (false, true);
                }
                What::HangsUp(()) => {
                    self.lived_until(is_open, line.at);
                    is_open = false;
                }
                What::Ended(why) if self.orderly => {
                    if let Some(session) = self.tale.sessions.last_mut() {
                        session.is_orderly = why == "OK";
                    }
                    self.orderly = false;
                }
                // When the service let go of it is not known: no sooner than when it handed out the last.
                What::Ended(_) => is_open = false,
                What::Extend(ids) => {
                    for id in ids {
                        self.known(id, report);
                    }
                }
                What::Saw(_) | What::Heartbeat(_) => {}
            }
            last = line.at;
        }
        self.lived_until(is_open, last);
    }

    fn open(&mut self, most: usize, at: Micros) {
        self.out.clear();
        self.orderly = false;
        self.tale.sessions.push(Session {
            client: self.client.to_owned(),
            most: most.min(self.consumer.max_in_flight),
            ended: at,
            is_orderly: false,
        });
    }

    fn lived_until(&mut self, is_open: bool, moment: Micros) {
        if let (true, Some(session)) = (is_open, self.tale.sessions.last_mut()) {
            session.ended = session.ended.max(moment);
        }
    }

    fn item(&mut self, item: &Item, at: Micros, report: &mut Report) {
        let handed = item.expires - self.consumer.ack_wait;
        if handed > at {
            report.violation(format!("{}: {} was handed out after it was seen", self.client, item.entry));
        }
        let Some(session) = self.tale.sessions.len().checked_sub(1) else { return };
        self.lived_until(true, handed);
        let deliveries = &mut self.tale.passage(item.entry.position).deliveries;
        let place = (item.entry.position, deliveries.len());
        deliveries.push(Delivery { item: item.clone(), session, handed, seen: at, said: None, lost: None });
        if self.out.insert(item.id.clone(), place).is_some() {
            report.violation(format!("{}: the id {} was given twice", self.client, item.id));
        }
    }

    fn say(&mut self, id: &str, at: Micros, said: Said, report: &mut Report) {
        match self.known(id, report) {
            Some(delivery) if delivery.said.is_none() => delivery.said = Some((at, said)),
            Some(_) => report.violation(format!("{}: the history says two things of {id}", self.client)),
            None => {}
        }
    }

    fn lose(&mut self, id: &str, at: Micros, report: &mut Report) {
        let client = self.client;
        let Some(delivery) = self.known(id, report) else { return };
        delivery.lost.get_or_insert(at);
        if delivery.item.expires > at {
            let (entry, early) = (&delivery.item.entry, delivery.item.expires - at);
            report.violation(format!("{client}: the lease of {entry} was lost {early} µs before its end"));
        }
    }

    fn known(&mut self, id: &str, report: &mut Report) -> Option<&mut Delivery> {
        let Some(place) = self.out.get(id).copied() else {
            report.violation(format!("{}: {id} is of no delivery of this stream", self.client));
            return None;
        };
        self.tale.passage(place.0).deliveries.get_mut(place.1)
    }
}
