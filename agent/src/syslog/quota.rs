//! How much of the spool each user may fill, and the count of datagrams dropped because a share was full.
//!
//! The total is divided into reserves, so that no group of users can take another's: root has one half, system users (1
//! to 999) a quarter, all others a quarter. A single user other than root gets an eighth. A user with a range of
//! subordinate uids can fill the quarter of the others, and nothing more.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The first uid of ordinary users; lower ones are the system's own users.
const FIRST_USER: u32 = 1000;
/// Users that are counted one by one; all others are counted together.
const USERS_COUNTED: usize = 256;

/// Users that share a reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Root,
    System,
    Others,
}

impl Group {
    fn of(uid: u32) -> Self {
        match uid {
            0 => Self::Root,
            1..FIRST_USER => Self::System,
            _ => Self::Others,
        }
    }
}

/// How many bytes each user and group has in the spool.
#[derive(Debug)]
pub(super) struct Quota {
    total: u64,
    groups: BTreeMap<Group, u64>,
    /// Users without datagrams have no entry, so there are never more entries than datagrams.
    users: BTreeMap<u32, u64>,
}

impl Quota {
    /// An empty quota of `total` bytes.
    pub(super) fn new(total: u64) -> Self {
        Self { total, groups: BTreeMap::new(), users: BTreeMap::new() }
    }

    /// Reserves `bytes` for `uid`, if its shares have room.
    pub(super) fn take(&mut self, uid: u32, bytes: u64) -> bool {
        let group = Group::of(uid);
        let reserve = if group == Group::Root { self.total / 2 } else { self.total / 4 };
        let share = if group == Group::Root { reserve } else { self.total / 8 };
        let in_group = self.groups.get(&group).copied().unwrap_or(0).saturating_add(bytes);
        let in_user = self.users.get(&uid).copied().unwrap_or(0).saturating_add(bytes);
        let fits = in_group <= reserve && in_user <= share;
        if fits {
            self.groups.insert(group, in_group);
            self.users.insert(uid, in_user);
        }
        fits
    }

    /// Counts `bytes` for `uid` that are in the spool already, even beyond its shares.
    pub(super) fn add_present(&mut self, uid: u32, bytes: u64) {
        *self.groups.entry(Group::of(uid)).or_default() += bytes;
        *self.users.entry(uid).or_default() += bytes;
    }

    /// Releases `bytes` of `uid`.
    pub(super) fn free(&mut self, uid: u32, bytes: u64) {
        if let Some(used) = self.groups.get_mut(&Group::of(uid)) {
            *used = used.saturating_sub(bytes);
        }
        if let Some(used) = self.users.get_mut(&uid) {
            *used = used.saturating_sub(bytes);
            if *used == 0 {
                self.users.remove(&uid);
            }
        }
    }
}

/// The dropped datagrams of one user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The number of datagrams.
    pub messages: u64,
    /// Their total length in bytes.
    pub bytes: u64,
}

impl Dropped {
    fn add(&mut self, bytes: u64) {
        self.messages = self.messages.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// All dropped datagrams, by user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// By user id.
    pub users: BTreeMap<u32, Dropped>,
    /// The dropped datagrams of users beyond the 256 that are counted one by one.
    pub further_users: Dropped,
}

impl Drops {
    /// Counts a dropped datagram of `uid`.
    pub(super) fn add(&mut self, uid: u32, bytes: u64) {
        if self.users.len() < USERS_COUNTED || self.users.contains_key(&uid) {
            self.users.entry(uid).or_default().add(bytes);
        } else {
            self.further_users.add(bytes);
        }
    }

    /// How many datagrams were dropped in all.
    #[must_use]
    pub fn messages(&self) -> u64 {
        let users = self.users.values().map(|dropped| dropped.messages);
        users.fold(self.further_users.messages, u64::saturating_add)
    }

    /// Lines for a log: one for each of the users that lost most, and one for the rest; none if nothing was dropped.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        const LINES: usize = 16;
        let mut users: Vec<(u32, Dropped)> =
            self.users.iter().map(|(uid, dropped)| (*uid, *dropped)).collect();
        users.sort_by_key(|(uid, dropped)| (std::cmp::Reverse(dropped.messages), *uid));
        let rest = users.split_off(users.len().min(LINES));
        let line = |whose: &str, dropped: Dropped| {
            let Dropped { messages, bytes } = dropped;
            format!("dropped {messages} messages ({bytes} bytes): {whose} of the spool was full")
        };
        let mut lines: Vec<String> =
            users.iter().map(|(uid, dropped)| line(&format!("the share of uid {uid}"), *dropped)).collect();
        let further = rest.iter().fold(self.further_users, |sum, (_, dropped)| Dropped {
            messages: sum.messages.saturating_add(dropped.messages),
            bytes: sum.bytes.saturating_add(dropped.bytes),
        });
        if further.messages > 0 {
            lines.push(line("the share of other users", further));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one byte at a time until the share is full.
    fn fill(quota: &mut Quota, uid: u32) -> u64 {
        let mut taken = 0;
        while quota.take(uid, 1) {
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_thousand_users_take_no_more_than_their_quarter() {
        let mut quota = Quota::new(1600);
        let taken: u64 = (100_000..101_000).map(|uid| fill(&mut quota, uid)).sum();
        assert_eq!(taken, 400);
        assert_eq!(fill(&mut quota, 100), 200, "a system user still has its eighth");
        assert_eq!(fill(&mut quota, 101), 200);
        assert_eq!(fill(&mut quota, 102), 0);
        assert_eq!(fill(&mut quota, 0), 800, "root still has its half");
    }

    #[test]
    fn freed_space_can_be_used_again() {
        let mut quota = Quota::new(1600);
        assert!(quota.take(1000, 200));
        assert!(!quota.take(1000, 1));
        quota.free(1000, 50);
        assert!(quota.take(1000, 50) && !quota.take(1000, 1));
        quota.free(1000, 200);
        assert!(quota.users.is_empty(), "users that have nothing take no memory");
    }

    #[test]
    fn drops_are_counted_by_user_within_bounds() {
        let mut drops = Drops::default();
        for uid in 0..300 {
            drops.add(uid, 10);
        }
        drops.add(7, 5);
        assert_eq!(drops.users.len(), 256);
        assert_eq!(drops.users[&7], Dropped { messages: 2, bytes: 15 });
        assert_eq!(drops.further_users, Dropped { messages: 44, bytes: 440 });
        assert_eq!(drops.messages(), 301);
        let lines = drops.lines();
        assert_eq!(lines.len(), 17);
        assert_eq!(lines[0], "dropped 2 messages (15 bytes): the share of uid 7 of the spool was full");
        // The 240 counted users without their own line, and the 44 that are not counted one by one.
        assert_eq!(
            lines[16],
            "dropped 284 messages (2840 bytes): the share of other users of the spool was full"
        );
    }
}
