//! Which keys of a cluster share a node: one pipeline a node instead of a command a key.
//!
//! A node takes any of its own keys in one pipeline, whatever their slots. Where a node is at the moment only the
//! client knows: a group is sent by the slot of its first key. So a failover, which moves all slots of a node together,
//! leaves the groups right; slots that move one by one make them stale, which costs hints until they are read again.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use redis::{Value, cluster_routing::Slot};

use super::{failure::Failure, name};

/// How many trial keys are tried to find one for each node. One that has so few slots that none of these falls upon
/// them goes without a trial.
const TRIAL_KEYS: usize = 4096;

/// Which slots lie together, as it was read last.
#[derive(Debug)]
pub(super) struct Shards {
    owners: Mutex<Owners>,
    stale: AtomicBool,
}

/// The number of the node that has the slot.
type Owners = HashMap<Slot, usize>;

/// Keys of one node, by their places in the round. Never empty.
pub(super) type Group = Vec<usize>;

impl Shards {
    /// From the answer to `CLUSTER SLOTS`.
    pub(super) fn read(answer: &Value) -> Result<Self, Failure> {
        Ok(Self { owners: Mutex::new(owners(answer)?), stale: AtomicBool::new(false) })
    }

    /// Reads them again.
    pub(super) fn renew(&self, answer: &Value) -> Result<(), Failure> {
        *self.owners.lock().unwrap_or_else(PoisonError::into_inner) = owners(answer)?;
        Ok(())
    }

    /// They should be read again.
    pub(super) fn spoil(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// Whether they should be read again; whoever asks does it.
    pub(super) fn take_stale(&self) -> bool {
        self.stale.swap(false, Ordering::Relaxed)
    }

    /// The keys node by node. One whose slot nobody has is left out: nobody could be asked.
    pub(super) fn groups(&self, keys: &[String]) -> Vec<Group> {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut groups: Vec<Group> = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let Some(owner) = owners.get(&Slot::for_key(key)) else {
                self.spoil();
                continue;
            };
            if groups.len() <= *owner {
                groups.resize_with(owner + 1, Vec::new);
            }
            groups[*owner].push(place);
        }
        groups.retain(|group| !group.is_empty());
        groups
    }

    /// A trial key for each node.
    pub(super) fn trial_keys(&self) -> Vec<String> {
        let keys: Vec<String> = name::trials().take(TRIAL_KEYS).collect();
        self.groups(&keys).into_iter().filter_map(|group| group.first().map(|place| keys[*place].clone())).collect()
    }
}

/// Each entry is a first slot, a last one, the node that has them, and its replicas.
fn owners(answer: &Value) -> Result<Owners, Failure> {
    let Value::Array(ranges) = answer else { return Err(Failure::Nonsense) };
    let (mut owners, mut nodes) = (Owners::new(), Vec::<&Value>::new());
    for range in ranges {
        let Value::Array(range) = range else { return Err(Failure::Nonsense) };
        let [Value::Int(first), Value::Int(last), node, ..] = range.as_slice() else { return Err(Failure::Nonsense) };
        let number = nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            nodes.push(node);
            nodes.len() - 1
        });
        let (Ok(first), Ok(last)) = (u16::try_from(*first), u16::try_from(*last)) else {
            return Err(Failure::Nonsense);
        };
        owners.extend((first..=last).filter_map(Slot::new).map(|slot| (slot, number)));
    }
    if owners.is_empty() { Err(Failure::Nonsense) } else { Ok(owners) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, node: &str) -> Value {
        let node = Value::Array(vec![Value::BulkString(node.into()), Value::Int(1)]);
        let replica = Value::Array(vec![Value::BulkString("replica".into()), Value::Int(2)]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node, replica])
    }

    #[test]
    fn keys_of_one_node_are_one_group_whatever_their_slots() {
        let answer = Value::Array(vec![range(0, 8000, "a"), range(8001, 9000, "b"), range(9001, 16_383, "a")]);
        let shards = Shards::read(&answer).unwrap();
        let keys: Vec<String> = (0..300).map(|number| format!("key{number}")).collect();
        let groups = shards.groups(&keys);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), keys.len());
        let slot_of_b = |place: &usize| (8001..=9000).any(|slot| Slot::new(slot) == Some(Slot::for_key(&keys[*place])));
        assert!(groups[1].iter().all(slot_of_b) && !groups[0].iter().any(slot_of_b));
        assert!(!shards.take_stale());
        assert_eq!(shards.groups(&shards.trial_keys()).len(), 2);
    }

    #[test]
    fn a_slot_that_nobody_has_is_left_out_and_looked_for() {
        let shards = Shards::read(&Value::Array(vec![range(0, 100, "a")])).unwrap();
        let keys: Vec<String> = (0..1000).map(|number| format!("key{number}")).collect();
        let groups = shards.groups(&keys);
        assert!(groups.len() == 1 && groups[0].len() < 100);
        assert!(shards.take_stale() && !shards.take_stale());
        shards.renew(&Value::Array(vec![range(0, 16_383, "a")])).unwrap();
        assert_eq!(shards.groups(&keys)[0].len(), 1000);
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        let short = Value::Array(vec![Value::Array(vec![Value::Int(0)])]);
        let far = Value::Array(vec![range(0, 70_000, "a")]);
        for answer in [Value::Nil, Value::Array(vec![]), Value::Array(vec![Value::Int(1)]), short, far] {
            assert!(Shards::read(&answer).is_err(), "{answer:?}");
        }
    }
}
