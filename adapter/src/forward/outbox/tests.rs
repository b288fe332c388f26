use futures_util::{FutureExt as _, StreamExt as _};
use proptest::prelude::*;

use super::*;

fn event(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn sent(outgoing: &mut Outgoing) -> Vec<(u64, String)> {
    std::iter::from_fn(|| outgoing.next().now_or_never().flatten())
        .map(|frame| (frame.sequence, String::from_utf8(frame.event.to_vec()).unwrap()))
        .collect()
}

fn committed(sequence: u64) -> SubmitEventsResponse {
    let outcome = SubmitOutcome::Applied.into();
    SubmitEventsResponse { sequence, outcome, delivery_id: format!("d{sequence}"), ..Default::default() }
}

fn settled(ticket: Ticket) -> Option<Result<Accepted, Refused>> {
    ticket.answer().now_or_never()
}

#[test]
fn an_event_is_sent_once_and_answered_once() {
    let outbox = Arc::new(Outbox::new(10));
    let one = outbox.submit(event("one")).unwrap();
    let mut outgoing = outbox.open();
    let two = outbox.submit(event("two")).unwrap();
    assert_eq!(sent(&mut outgoing), [(1, "one".to_owned()), (2, "two".to_owned())]);
    outbox.answer(committed(2));
    outbox.answer(committed(2));
    assert_eq!(settled(two).unwrap().unwrap().delivery_id, "d2");
    assert_eq!(settled(one), None, "not answered yet");
    outbox.answer(committed(1));
    assert_eq!(sent(&mut outgoing), []);
}

#[test]
fn a_new_stream_sends_what_is_unanswered_and_the_old_one_nothing() {
    let outbox = Arc::new(Outbox::new(10));
    let mut old = outbox.open();
    let tickets: Vec<Ticket> = ["a", "b", "c"].map(|text| outbox.submit(event(text)).unwrap()).into();
    assert_eq!(sent(&mut old).len(), 3);
    outbox.answer(committed(2));
    let mut new = outbox.open();
    let late = outbox.submit(event("d")).unwrap();
    assert_eq!(old.next().now_or_never(), Some(None), "the old one is over");
    let again = [(1, "a".to_owned()), (3, "c".to_owned()), (4, "d".to_owned())];
    assert_eq!(sent(&mut new), again);
    drop((tickets, late));
}

#[test]
fn what_is_given_up_is_neither_sent_nor_kept() {
    let outbox = Arc::new(Outbox::new(1));
    let mut outgoing = outbox.open();
    drop(outbox.submit(event("given up")).unwrap());
    assert_eq!(sent(&mut outgoing), []);
    let kept = outbox.submit(event("kept")).unwrap();
    assert_eq!(outbox.submit(event("one too many")).err().unwrap().reason, "overloaded");
    assert_eq!(sent(&mut outgoing).len(), 1);
    drop(kept);
    assert!(outbox.lock().waiting.is_empty());
    outbox.answer(committed(2));
}

#[test]
fn a_stream_that_is_not_read_gathers_no_numbers_of_what_is_given_up() {
    let outbox = Arc::new(Outbox::new(4));
    let mut outgoing = outbox.open();
    let kept = outbox.submit(event("first")).unwrap();
    for _ in 0..1000 {
        drop(outbox.submit(event("given up")).unwrap());
        assert!(outbox.lock().unsent.len() <= 8);
    }
    let last = outbox.submit(event("last")).unwrap();
    assert_eq!(sent(&mut outgoing), [(1, "first".to_owned()), (1002, "last".to_owned())], "in the order they came");
    drop((kept, last));
}

#[test]
fn an_event_is_sent_so_often_and_no_oftener() {
    let outbox = Arc::new(Outbox::new(10));
    let ticket = outbox.submit(event("poison")).unwrap();
    for _ in 0..SENDS_MOST {
        assert_eq!(sent(&mut outbox.open()).len(), 1);
    }
    assert_eq!(sent(&mut outbox.open()), []);
    assert_eq!(settled(ticket).unwrap().unwrap_err().reason, "unanswered");
}

#[test]
fn the_phases_take_in_or_refuse() {
    let outbox = Arc::new(Outbox::new(10));
    let reason = |outbox: &Arc<Outbox>| outbox.submit(event("x")).err().map(|refused| refused.reason);
    assert_eq!(reason(&outbox), None);
    outbox.set_away(true);
    assert_eq!(reason(&outbox), Some("service_away"));
    outbox.set_away(false);
    let waiting = outbox.submit(event("last")).unwrap();
    let mut outgoing = outbox.open();
    outbox.end();
    outbox.set_away(false);
    assert_eq!(reason(&outbox), Some("shutting_down"));
    assert_eq!(outgoing.next().now_or_never().unwrap().unwrap().event, event("last"), "what was taken in is sent");
    assert_eq!(outgoing.next().now_or_never(), Some(None));
    drop(waiting);
}

#[tokio::test]
async fn a_stream_that_waits_is_woken() {
    let outbox = Arc::new(Outbox::new(10));
    let mut outgoing = outbox.open();
    let next = tokio::spawn(async move { (outgoing.next().await.unwrap().sequence, outgoing.next().await) });
    tokio::task::yield_now().await;
    let _ticket = outbox.submit(event("x")).unwrap();
    tokio::task::yield_now().await;
    let _replacing = outbox.open();
    assert_eq!(next.await.unwrap(), (1, None));
}

#[test]
fn only_what_says_so_is_committed() {
    let id = || "id".to_owned();
    let error = |reason: &str| Some(SubmitError { reason: reason.to_owned(), ..SubmitError::default() });
    assert_eq!(judge(SubmitOutcome::Applied.into(), id(), error("OVERLOADED")).unwrap_err().reason, "overloaded");
    assert_eq!(judge(0, id(), error("")).unwrap_err().reason, "_OTHER");
    assert_eq!(judge(0, id(), None).unwrap_err().reason, "no_outcome");
    assert_eq!(judge(SubmitOutcome::Unparsed.into(), id(), None).unwrap().outcome, SubmitOutcome::Unparsed);
    assert_eq!(judge(99, id(), None).unwrap().outcome, SubmitOutcome::Recorded);
}

proptest! {
    /// Whatever happens in whatever order: nobody gets another's answer, and nothing is left when all is settled.
    #[test]
    fn every_ticket_gets_its_own_answer(
        steps in proptest::collection::vec((0_u8..4, any::<prop::sample::Index>()), 1..60)
    ) {
        let outbox = Arc::new(Outbox::new(8));
        let mut outgoing = outbox.open();
        let mut tickets: Vec<Ticket> = Vec::new();
        for (step, pick) in steps {
            match step {
                0 => if let Ok(ticket) = outbox.submit(event("x")) { tickets.push(ticket) },
                1 if !tickets.is_empty() => drop(tickets.swap_remove(pick.index(tickets.len()))),
                2 if !tickets.is_empty() => {
                    let ticket = tickets.swap_remove(pick.index(tickets.len()));
                    let sequence = ticket.sequence;
                    outbox.answer(committed(sequence));
                    match settled(ticket) {
                        Some(Ok(accepted)) => prop_assert_eq!(accepted.delivery_id, format!("d{sequence}")),
                        Some(Err(refused)) => prop_assert_eq!(refused.reason, "unanswered"),
                        None => prop_assert!(false, "an answer was lost"),
                    }
                }
                3 => outgoing = outbox.open(),
                _ => { sent(&mut outgoing); }
            }
            prop_assert!(outbox.lock().waiting.len() <= tickets.len().min(8));
        }
        tickets.clear();
        prop_assert!(outbox.lock().waiting.is_empty());
        prop_assert_eq!(sent(&mut outgoing), []);
    }
}
