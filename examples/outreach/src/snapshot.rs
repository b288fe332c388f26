//! What a transition tells the pipeline: the booking as it is after it, with whatever a stranger wrote into it checked.

use calbridge_client::v1::{Attendee, Booking, BookingStatus, Transition};
use jiff::{Timestamp, Unit};

/// Of metadata and of nothing longer a key of the pipeline is made.
const ID_CHARACTERS_MAX: usize = 64;
/// The longest address of RFC 5321.
const EMAIL_BYTES_MAX: usize = 320;
/// A title longer than this is cut: it heads a plan that people read.
const TITLE_CHARACTERS_MAX: usize = 200;
/// What stands for every personal field where the token lacks the scope `read.pii`.
const MASKED: &str = "[masked]";

/// A booking after a transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Cal.com's uid.
    pub uid: String,
    /// Of the transition: opaque, and never that of another one.
    pub position: String,
    /// Where it stands.
    pub status: BookingStatus,
    /// When that was said.
    pub at: String,
    /// For people.
    pub title: String,
    /// Start and end.
    pub time: Option<(String, String)>,
    /// `metadata.outreachSequenceId`.
    pub sequence: Option<String>,
    /// `metadata.contactId`.
    pub contact: Option<String>,
    /// Who booked.
    pub booker: Option<Booker>,
    /// The booking that this one replaced.
    pub from: Option<String>,
    /// The booking that replaced this one.
    pub to: Option<String>,
}

/// The first attendee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booker {
    /// In lower case.
    pub email: String,
    /// May be empty.
    pub name: String,
}

/// Why a transition can't be applied. None of these texts repeats what somebody wrote into a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No other try would do better until somebody mends the data.
    Poison(&'static str),
    /// A setting of this program must be changed.
    Masked,
}

impl Refusal {
    /// For operators.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Poison(reason) => reason,
            Self::Masked => "the booking is masked: give the token of this service the scope read.pii",
        }
    }
}

/// Reads a transition.
///
/// # Errors
///
/// What of it no pipeline can use.
pub fn read(made: &Transition) -> Result<Snapshot, Refusal> {
    let missing = Booking::default();
    let booking = made.booking.as_ref().unwrap_or(&missing);
    let at = made.event_time.as_ref().or(made.commit_time.as_ref()).and_then(time);
    Ok(Snapshot {
        uid: made.uid.clone(),
        position: made.position.clone(),
        status: booking.status(),
        at: at.ok_or(Refusal::Poison("the transition has no time"))?,
        title: booking.title.chars().filter(|character| !character.is_control()).take(TITLE_CHARACTERS_MAX).collect(),
        time: booking.start_time.as_ref().and_then(time).zip(booking.end_time.as_ref().and_then(time)),
        sequence: id(
            booking.metadata.get("outreachSequenceId"),
            "metadata.outreachSequenceId is no id: 1 to 64 letters, digits, -, _, . or :",
        )?,
        contact: id(
            booking.metadata.get("contactId"),
            "metadata.contactId is no id: 1 to 64 letters, digits, -, _, . or :",
        )?,
        booker: booking.attendees.first().map(booker).transpose()?.flatten(),
        from: uid(&booking.rescheduled_from_uid),
        to: uid(&booking.rescheduled_to_uid),
    })
}

/// In whole seconds and UTC: as texts, times are then in the order of time.
fn time(time: &prost_types::Timestamp) -> Option<String> {
    let time = Timestamp::new(time.seconds, time.nanos).ok()?;
    time.round(Unit::Second).ok().map(|time| time.to_string())
}

/// Metadata comes as text, whatever Cal.com was given: `7` may have been a number. Empty is as good as absent.
fn id(said: Option<&String>, why: &'static str) -> Result<Option<String>, Refusal> {
    let Some(said) = said.map(|said| said.trim()).filter(|said| !said.is_empty()) else { return Ok(None) };
    if said == MASKED {
        return Err(Refusal::Masked);
    }
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_.:".contains(character);
    if said.len() > ID_CHARACTERS_MAX || !said.chars().all(fits) {
        return Err(Refusal::Poison(why));
    }
    Ok(Some(said.to_owned()))
}

/// Nobody where there is no address: a person without one can't be told from any other.
fn booker(attendee: &Attendee) -> Result<Option<Booker>, Refusal> {
    if attendee.email == MASKED {
        return Err(Refusal::Masked);
    }
    let email = attendee.email.trim().to_lowercase();
    let fits = email.contains('@') && email.len() <= EMAIL_BYTES_MAX && !email.chars().any(char::is_control);
    let name = attendee.name.chars().filter(|character| !character.is_control()).take(TITLE_CHARACTERS_MAX).collect();
    Ok(fits.then_some(Booker { email, name }))
}

fn uid(said: &str) -> Option<String> {
    (!said.is_empty()).then(|| said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> Transition {
        let metadata = [(key.to_owned(), value.to_owned())].into();
        let attendees = vec![Attendee { email: " Jo@Example.org ".to_owned(), ..Attendee::default() }];
        Transition {
            uid: "u".to_owned(),
            booking: Some(Booking { metadata, attendees, ..Booking::default() }),
            commit_time: Some(prost_types::Timestamp { seconds: 61, nanos: 600_000_000 }),
            ..Transition::default()
        }
    }

    #[test]
    fn what_metadata_names_is_checked() {
        assert_eq!(read(&with("outreachSequenceId", " s-17 ")).unwrap().sequence.as_deref(), Some("s-17"));
        assert_eq!(read(&with("contactId", "7")).unwrap().contact.as_deref(), Some("7"));
        assert_eq!(read(&with("contactId", " ")).unwrap().contact, None);
        for bad in ["jo@example.org", "two words", &"x".repeat(65)] {
            let Err(Refusal::Poison(reason)) = read(&with("contactId", bad)) else { unreachable!("{bad} was taken") };
            assert!(!reason.contains(bad), "{reason}");
        }
    }

    #[test]
    fn a_time_is_a_whole_second_and_an_address_has_no_case() {
        let read = read(&with("x", "y")).unwrap();
        assert_eq!(read.at, "1970-01-01T00:01:02Z");
        assert_eq!(read.booker.unwrap().email, "jo@example.org");
    }

    #[test]
    fn nobody_becomes_a_contact_by_the_name_of_a_mask() {
        let mut made = with("x", "y");
        made.booking.as_mut().unwrap().attendees[0].email = MASKED.to_owned();
        assert_eq!(read(&made), Err(Refusal::Masked));
        made.booking.as_mut().unwrap().attendees[0].email = "no address".to_owned();
        assert_eq!(read(&made).unwrap().booker, None);
        assert_eq!(read(&with("contactId", MASKED)), Err(Refusal::Masked));
    }
}
