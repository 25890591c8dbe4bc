//! The user ids on this machine that own the sandbox's files: ids that nothing else uses.
//!
//! A root builder takes ids that systemd keeps unused (1879048192 to 2147483647, systemd's UIDS-GIDS document). An
//! ordinary user has ids in `/etc/subuid` and `/etc/subgid` (subuid(5)).

use super::SandboxError;
use std::path::Path;

/// The number of ids that a Debian system may use: up to `nogroup`, 65534, and one more.
const COUNT: u32 = 65_536;
const FREE: u32 = 1_879_048_192;

/// The ids of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ids {
    /// If the builder is root: `uid_map` of the sandbox, and the id of its root.
    OfRoot { map: String, root: u32 },
    /// For an ordinary user: the first ids of this user's ranges.
    OfUser { uid: u32, gid: u32, first_uid: u32, first_gid: u32 },
}

impl Ids {
    pub(super) fn of_this_user() -> Result<Self, SandboxError> {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        if uid.is_root() {
            let own = read(Path::new("/proc/self/uid_map"))?;
            return Ok(Self::of_root(&own));
        }
        let user = nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(String::new, |user| user.name);
        let first = |file: &str| {
            let text = read(Path::new(file))?;
            first_of_range(&text, &user, uid.as_raw()).ok_or_else(|| SandboxError::NoIds {
                user: if user.is_empty() { uid.to_string() } else { user.clone() },
                file: file.to_owned(),
            })
        };
        Ok(Self::OfUser {
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            first_uid: first("/etc/subuid")?,
            first_gid: first("/etc/subgid")?,
        })
    }

    /// `own` is the map of the user namespace that the builder is in.
    fn of_root(own: &str) -> Self {
        let has_all = own.lines().any(|line| {
            let numbers: Vec<u64> =
                line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
            matches!(numbers.as_slice(), [first, _, count]
                if *first <= u64::from(FREE) && first + count >= u64::from(FREE) + u64::from(COUNT))
        });
        if has_all {
            return Self::OfRoot { map: format!("0 {FREE} {COUNT}\\n"), root: FREE };
        }
        // In a container with few ids, the sandbox uses these, but not the id of the container's root.
        Self::OfRoot { map: "0 1 65534\\n65534 65535 1\\n".to_owned(), root: 1 }
    }
}

fn read(path: &Path) -> Result<String, SandboxError> {
    std::fs::read_to_string(path)
        .map_err(|source| SandboxError::Host { what: format!("cannot read {}: {source}", path.display()) })
}

/// The start of the user's first range in subuid(5) that is large enough.
fn first_of_range(text: &str, user: &str, uid: u32) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (first, count): (u32, u32) =
            (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        let own = (!user.is_empty() && owner == user) || owner == uid.to_string();
        (own && count >= COUNT && first > 0 && first.checked_add(count).is_some()).then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_takes_ids_that_nothing_has_and_fewer_in_a_small_container() {
        let whole = Ids::of_root("         0          0 4294967295\n");
        assert_eq!(whole, Ids::OfRoot { map: "0 1879048192 65536\\n".into(), root: 1_879_048_192 });
        let small = Ids::of_root("         0       1000          1\n         1     100000      65536\n");
        assert_eq!(small, Ids::OfRoot { map: "0 1 65534\\n65534 65535 1\\n".into(), root: 1 });
    }

    #[test]
    fn a_range_is_the_users_own_and_large_enough() {
        let text = "# none\nanna:100000:65536\nbert:165536:1000\n1002:300000:65536\nbert:400000:65536\nx:4294967000:65536\n";
        assert_eq!(first_of_range(text, "anna", 1000), Some(100_000));
        assert_eq!(first_of_range(text, "bert", 1001), Some(400_000));
        assert_eq!(first_of_range(text, "carl", 1002), Some(300_000));
        assert_eq!(first_of_range(text, "dora", 1003), None);
        assert_eq!(first_of_range(text, "x", 1004), None);
        assert_eq!(first_of_range("::65536\n:7:65536\n", "", 1005), None);
    }
}
