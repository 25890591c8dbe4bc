//! root's password in `/etc/shadow`: the node's hash if consoles ask for one, locked otherwise.

use super::Changes;
use crate::file::{FileError, failing};
use handoff::login::CryptHash;
use handoff::node_settings::NodeSettings;
use std::os::unix::fs::chown;

const SHADOW: &str = "/etc/shadow";
/// No password matches, but keys still work (`!` instead would lock the account for sshd as well).
const LOCKED: &str = "*";

pub(super) fn apply(changes: &mut Changes<'_>, node: &NodeSettings) -> Result<(), FileError> {
    let hash = node.login.hash().map_or(LOCKED, CryptHash::as_str);
    let place = changes.root.at(SHADOW);
    let group = group_of_shadow(&changes.read("/etc/group")?);
    let text = with_root_password(&changes.read(SHADOW)?, hash);
    // On Debian the group `shadow` can read it; without such a group only root can.
    changes.write(SHADOW, &text, if group == 0 { 0o600 } else { 0o640 })?;
    if group == 0 { Ok(()) } else { failing("set the group of", &place, chown(&place, None, Some(group))) }
}

/// The id of the group `shadow` in group(5); 0 if there is none.
fn group_of_shadow(groups: &str) -> u32 {
    let line = groups.lines().find_map(|line| line.strip_prefix("shadow:"));
    line.and_then(|rest| rest.split(':').nth(1)?.parse().ok()).unwrap_or(0)
}

fn with_root_password(shadow: &str, hash: &str) -> String {
    let mut out = String::new();
    let mut found = false;
    for line in shadow.lines() {
        match line.strip_prefix("root:").and_then(|rest| rest.split_once(':')) {
            Some((_, rest)) => {
                found = true;
                out.push_str(&format!("root:{hash}:{rest}\n"));
            }
            None => out.push_str(&format!("{line}\n")),
        }
    }
    if found { out } else { format!("root:{hash}:19700:0:99999:7:::\n{out}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_that_of_the_system() {
        assert_eq!(group_of_shadow("root:x:0:\nshadow:x:42:\n"), 42);
        assert_eq!((group_of_shadow("shadowy:x:7:\n"), group_of_shadow("shadow:x")), (0, 0));
    }

    #[test]
    fn only_the_field_of_root_changes() {
        let shadow = "bin:*:1:0:9:7:::\nroot:$6$old:5:0:9:7:::\n";
        assert_eq!(with_root_password(shadow, "*"), "bin:*:1:0:9:7:::\nroot:*:5:0:9:7:::\n");
        assert_eq!(with_root_password("", "$6$x"), "root:$6$x:19700:0:99999:7:::\n");
    }
}
