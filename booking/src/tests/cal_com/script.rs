//! What people do, at random: a script of steps, who listens, and which generation of Cal.com sends.

use proptest::{collection::vec, prelude::*, sample::select};

use super::rows::{EVENT_TYPES, Form, GUESTS};

/// Which of Cal.com's senders speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tests) enum Generation {
    /// December 2025: sent inline.
    Direct,
    /// 2026: built and queued; tells of new places and hosts too.
    Queue,
}

/// What a subscription gets of the timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tests) enum Timers {
    Unwanted,
    Whole,
    /// Subscribed after the booking was made: the row without attendees.
    Bare,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::tests) struct Subscription {
    /// Milliseconds by which its copy is sent later.
    pub(super) lag: i64,
    pub(super) timers: Timers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tests) enum Action {
    Book,
    Wait,
    Approve,
    ApproveUnpaid,
    Decline,
    Pay,
    AttendeeMoves,
    HostMoves,
    MoveSeated,
    AskAgain,
    Cancel,
    TakeSeat,
    LeaveSeat,
    MoveSeat,
    ApproveSeries,
    DeclineSeries,
    CancelSeries,
    Mark,
    MissGuests,
    MissHost,
    Relocate,
    Reassign,
    AddGuest,
    Join,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::tests) struct Step {
    pub(super) action: Action,
    /// Which booking, counted among those with which this may be done.
    pub(super) pick: usize,
    pub(super) who: usize,
    pub(super) hours: i64,
    /// Chooses between two ways of doing it.
    pub(super) twist: bool,
}

#[derive(Clone, Debug)]
pub(in crate::tests) struct Script {
    pub(super) generation: Generation,
    /// The event types that are offered: few, so that what happens meets.
    pub(super) kinds: Vec<usize>,
    pub(super) subscriptions: Vec<Subscription>,
    /// Timers of bookings that were cancelled or moved ring all the same.
    pub(super) timers_leak: bool,
    pub(super) steps: Vec<Step>,
}

fn action() -> impl Strategy<Value = Action> {
    use Action as A;
    prop_oneof![
        10 => Just(A::Book),
        6 => Just(A::Wait),
        5 => select(&[A::TakeSeat, A::TakeSeat, A::LeaveSeat, A::MoveSeat, A::MoveSeated][..]),
        4 => select(&[A::Approve, A::ApproveUnpaid, A::Decline, A::Pay, A::Pay][..]),
        4 => select(&[A::AttendeeMoves, A::HostMoves, A::AskAgain, A::Cancel][..]),
        3 => select(&[A::Mark, A::MissGuests, A::MissHost][..]),
        2 => select(&[A::Relocate, A::Reassign, A::AddGuest][..]),
        2 => Just(A::Join),
        2 => select(&[A::ApproveSeries, A::DeclineSeries, A::CancelSeries][..]),
    ]
}

/// What is done where people come and go one by one.
fn seat_action() -> impl Strategy<Value = Action> {
    use Action as A;
    prop_oneof![
        2 => Just(A::Book),
        3 => Just(A::Wait),
        6 => select(&[A::TakeSeat, A::TakeSeat, A::LeaveSeat, A::MoveSeat][..]),
        2 => Just(A::MoveSeated),
        2 => select(&[A::Mark, A::MissGuests, A::Approve, A::Cancel, A::Relocate][..]),
    ]
}

fn step(action: impl Strategy<Value = Action>) -> impl Strategy<Value = Step> {
    (action, 0..24_usize, 0..GUESTS.len(), 1..30_i64, any::<bool>())
        .prop_map(|(action, pick, who, hours, twist)| Step { action, pick, who, hours, twist })
}

fn subscription() -> impl Strategy<Value = Subscription> {
    let timers = select(&[Timers::Unwanted, Timers::Whole, Timers::Whole, Timers::Bare][..]);
    (0..90_i64, timers).prop_map(|(lag, timers)| Subscription { lag, timers })
}

pub(in crate::tests) fn script() -> impl Strategy<Value = Script> {
    let seated: Vec<usize> = (0..EVENT_TYPES.len()).filter(|kind| EVENT_TYPES[*kind].form == Form::Seated).collect();
    let plot = prop_oneof![
        2 => (vec(0..EVENT_TYPES.len(), 1..=3), vec(step(action()), 1..24)),
        1 => (vec(select(seated), 1..=1), vec(step(seat_action()), 1..24)),
    ];
    let generation = select(&[Generation::Direct, Generation::Queue][..]);
    (generation, plot, vec(subscription(), 1..=3), any::<bool>()).prop_map(
        |(generation, (kinds, steps), subscriptions, timers_leak)| Script {
            generation,
            kinds,
            subscriptions,
            timers_leak,
            steps,
        },
    )
}
