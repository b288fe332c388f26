//! Walking along the links of bookings. What a store must read for it comes in as an argument.
//!
//! Invariant: every walk is bounded, and a cycle is possible: two webhooks may each name the other's booking.

use std::collections::HashMap;

use calbridge_proto::v1::LinkEvidence;

use super::LINEAGE_MAX;

/// The link from a booking back to the one that it replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) uid: String,
    /// A `LinkEvidence`.
    pub(crate) evidence: i32,
    /// The booking before is known as a seated one.
    pub(crate) to_seated: bool,
}

impl Link {
    /// The attendees of a seated booking move one by one, so no hint says that it was replaced. Its own row knows that;
    /// the row of the booking behind it does not.
    pub(crate) fn is_void(&self) -> bool {
        let hint = [LinkEvidence::IcalUid, LinkEvidence::FromReschedule].map(i32::from).contains(&self.evidence);
        hint && self.to_seated
    }
}

/// Where a booking's lineage begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) uid: String,
    /// The booking's own link back is void.
    pub(crate) void: bool,
}

/// The origin of `uid`'s lineage, where `link` reads the link of a booking: the farthest of [`LINEAGE_MAX`] bookings,
/// itself among them.
///
/// A cycle has no booking that no other precedes; all that lead into it then answer its least uid, whichever they
/// entered it by.
pub(crate) fn origin<E>(uid: &str, mut link: impl FnMut(&str) -> Result<Option<Link>, E>) -> Result<Origin, E> {
    let mut path = vec![uid.to_owned()];
    let mut places = HashMap::from([(uid.to_owned(), 0)]);
    let mut void = false;
    loop {
        let here = path.len() - 1;
        let found = link(&path[here])?;
        void |= here == 0 && found.as_ref().is_some_and(Link::is_void);
        let Some(link) = found.filter(|link| !link.is_void()) else {
            return Ok(Origin { uid: path.swap_remove(here), void });
        };
        if let Some(entered) = places.get(&link.uid) {
            let least = path.drain(entered..).min().unwrap_or(link.uid);
            return Ok(Origin { uid: least, void });
        }
        // As many as a page of them holds: so a booking stands in its own lineage.
        if path.len() == LINEAGE_MAX {
            return Ok(Origin { uid: path.swap_remove(here), void });
        }
        places.insert(link.uid.clone(), path.len());
        path.push(link.uid);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn origin_of(links: &HashMap<String, Link>, uid: &str) -> String {
        origin(uid, |uid| Ok::<_, Infallible>(links.get(uid).cloned())).unwrap().uid
    }

    fn link(from: &str, evidence: LinkEvidence, to_seated: bool) -> Link {
        Link { uid: from.to_owned(), evidence: evidence.into(), to_seated }
    }

    fn links(pairs: &[(&str, &str)]) -> HashMap<String, Link> {
        let link = |from: &str| link(from, LinkEvidence::RescheduleUid, false);
        pairs.iter().map(|(uid, from)| ((*uid).to_owned(), link(from))).collect()
    }

    #[test]
    fn the_walk_ends_where_nothing_precedes() {
        let links = links(&[("c", "b"), ("b", "a")]);
        for (uid, expected) in [("c", "a"), ("b", "a"), ("a", "a"), ("z", "z")] {
            assert_eq!(origin_of(&links, uid), expected);
        }
    }

    #[test]
    fn every_way_into_a_cycle_names_the_same_origin() {
        let links = links(&[("d", "c"), ("c", "b"), ("b", "a"), ("a", "c"), ("e", "e")]);
        for (uid, expected) in [("a", "a"), ("b", "a"), ("c", "a"), ("d", "a"), ("e", "e")] {
            assert_eq!(origin_of(&links, uid), expected);
        }
    }

    #[test]
    fn the_walk_is_bounded() {
        let link = |n: usize| link(&format!("{}", n - 1), LinkEvidence::RescheduleUid, false);
        let links = (1..3_000).map(|n| (format!("{n}"), link(n))).collect();
        assert_eq!(origin_of(&links, "999"), "0");
        assert_eq!(origin_of(&links, "2999"), format!("{}", 3_000 - LINEAGE_MAX));
    }

    #[test]
    fn a_hint_leads_to_no_seated_booking() {
        for (evidence, to_seated, expected) in [
            (LinkEvidence::IcalUid, true, ("b", true)),
            (LinkEvidence::FromReschedule, true, ("b", true)),
            (LinkEvidence::RescheduleUid, true, ("a", false)),
            (LinkEvidence::IcalUid, false, ("a", false)),
        ] {
            let links = HashMap::from([("b".to_owned(), link("a", evidence, to_seated))]);
            let found = origin("b", |uid| Ok::<_, Infallible>(links.get(uid).cloned())).unwrap();
            assert_eq!((found.uid.as_str(), found.void), expected, "{evidence:?}");
        }
    }
}
