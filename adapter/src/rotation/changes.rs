//! What a reload changed, as names of tenants and ids of secrets.

use std::collections::{BTreeMap, BTreeSet};

use calbridge_process::{Secret, Tenant};
use secrecy::ExposeSecret as _;

/// One tenant that is not what it was. All ids are removed where the tenant is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) tenant: &'a str,
    /// Ids of secrets.
    pub(super) added: Vec<&'a str>,
    pub(super) removed: Vec<&'a str>,
    /// Another value under the same id, or another time.
    pub(super) changed: Vec<&'a str>,
}

/// Every tenant that differs, in the order of their names.
pub(super) fn changes<'a>(
    before: &'a BTreeMap<String, Tenant>,
    after: &'a BTreeMap<String, Tenant>,
) -> Vec<Change<'a>> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |name: &'a String| {
        let (old, new) = (before.get(name), after.get(name));
        let same_kind = old.map(|tenant| tenant.allow_unsigned) == new.map(|tenant| tenant.allow_unsigned);
        let (old, new) = (secrets(old), secrets(new));
        let only = |these: &BTreeMap<&'a str, _>, others: &BTreeMap<&'a str, _>| {
            these.keys().filter(|id| !others.contains_key(*id)).copied().collect::<Vec<&'a str>>()
        };
        let differs = |(id, secret): (&&'a str, &&Secret)| {
            old.get(id).is_some_and(|other| !is_same(other, secret)).then_some(*id)
        };
        let changed: Vec<_> = new.iter().filter_map(differs).collect();
        let change = Change { tenant: name, added: only(&new, &old), removed: only(&old, &new), changed };
        let nothing = change.added.is_empty() && change.removed.is_empty() && change.changed.is_empty();
        (!same_kind || !nothing).then_some(change)
    };
    names.into_iter().filter_map(of).collect()
}

fn secrets(tenant: Option<&Tenant>) -> BTreeMap<&str, &Secret> {
    tenant.into_iter().flat_map(|tenant| &tenant.secrets).map(|secret| (secret.id.as_str(), secret)).collect()
}

fn is_same(one: &Secret, other: &Secret) -> bool {
    one.value.expose_secret() == other.value.expose_secret()
        && one.not_before == other.not_before
        && one.expires == other.expires
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(secrets: &[(&str, &str)]) -> Tenant {
        let secrets = secrets.iter().map(|(id, value)| Secret::always(*id, *value)).collect();
        Tenant { secrets, allow_unsigned: false }
    }

    #[test]
    fn names_what_came_what_went_and_what_is_another() {
        let before = BTreeMap::from([
            ("gone".to_owned(), tenant(&[("a", "1")])),
            ("kept".to_owned(), tenant(&[("a", "1")])),
            ("opened".to_owned(), tenant(&[])),
            ("rotated".to_owned(), tenant(&[("stays", "1"), ("old", "2"), ("file", "3")])),
        ]);
        let mut after = before.clone();
        after.remove("gone");
        after.insert("new".to_owned(), tenant(&[("b", "2")]));
        after.insert("opened".to_owned(), Tenant { secrets: Vec::new(), allow_unsigned: true });
        after.insert("rotated".to_owned(), tenant(&[("stays", "1"), ("file", "4"), ("next", "5")]));
        after.get_mut("rotated").unwrap().secrets[0].expires = Some(jiff::Timestamp::UNIX_EPOCH);
        let change = |tenant, added, removed, changed| Change { tenant, added, removed, changed };
        let expected = [
            change("gone", vec![], vec!["a"], vec![]),
            change("new", vec!["b"], vec![], vec![]),
            change("opened", vec![], vec![], vec![]),
            change("rotated", vec!["next"], vec!["old"], vec!["file", "stays"]),
        ];
        assert_eq!(changes(&before, &after), expected);
        assert_eq!(changes(&after, &after), []);
    }
}
