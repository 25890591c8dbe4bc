//! Login by SSH: drivers of network cards, addresses, and dropbear, for the keys in the loader configuration.
//!
//! The server's own key is new each time, and its fingerprint is printed on the consoles. With the node's host key
//! users would not have to compare fingerprints, but it is on the secret partition: most rescues come before that is
//! mounted, and a machine that anybody can bring into rescue should not expose the key that proves the node's identity.

use crate::boot::Boot;
use crate::clock::Uptime;
use crate::mounts;
use crate::process::{self, Ended, NOT_STARTED};
use crate::steps::modules;
use crate::sysfs;
use crate::tree::{Permissions, Tree};
use crate::uevent::Uevents;
use handoff::network::HardwareAddress;
use handoff::paths;
use handoff::rescue::RescueAccess;
use handoff::rescue_network::FixedAddress;
use nix::mount::MsFlags;
use nix::sys::wait::waitpid;
use std::ffi::CString;
use std::path::Path;
use std::time::Duration;

const SERVER: &str = "/usr/sbin/dropbear";
const KEY_MAKER: &str = "/usr/bin/dropbearkey";
const KEY: &str = "/run/psyops/rescue-host-key";
const AUTHORIZED: &str = "/root/.ssh/authorized_keys";
const LEASES: &str = "/etc/udhcpc.script";
/// How long making a key may take on a machine without entropy.
const KEY_DEADLINE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Prepares everything for the server; `false` on an error, which is logged.
pub(crate) fn prepare(boot: &mut Boot) -> bool {
    modules::load_list(boot, paths::RESCUE_MODULES);
    let keys: String = boot.rescue.ssh_keys.iter().map(|line| format!("{line}\n")).collect();
    let private = Permissions { mode: 0o600, uid: 0, gid: 0 };
    let written = Tree::open(Path::new("/"))
        .and_then(|root| root.install(Path::new(AUTHORIZED), keys.as_bytes(), private));
    if let Err(errno) = written {
        boot.log.error(&format!("no SSH: {AUTHORIZED}: {}", errno.desc()));
        return false;
    }
    let flags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);
    if !mounts::is_mounted("/dev/pts")
        && let Err(error) = mounts::mount("devpts", "/dev/pts", "devpts", flags, "mode=0620,ptmxmode=0666")
    {
        boot.log.error(&error.to_string());
    }
    make_key(boot)
}

fn make_key(boot: &mut Boot) -> bool {
    let _ = std::fs::remove_file(KEY);
    let mut lines = Vec::new();
    let work = || run_program(KEY_MAKER, &["dropbearkey", "-t", "ed25519", "-f", KEY]);
    let ended = process::run(Uptime::now().plus(KEY_DEADLINE), work, |line| lines.push(line.to_owned()));
    if ended != Ok(Ended::Exited(0)) {
        boot.log.error(&format!("no SSH: {KEY_MAKER} cannot make a host key: {}", lines.join("; ")));
        return false;
    }
    let fingerprint = lines.iter().find_map(|line| line.strip_prefix("Fingerprint: ")).unwrap_or("?");
    boot.log.marked("", &format!("  SSH: root at port 22; the server's key is {fingerprint}"));
    true
}

/// Runs the server, in a child.
pub(crate) fn serve() -> i32 {
    // In the foreground, errors on the console, no passwords, no forwarding.
    run_program(SERVER, &["dropbear", "-F", "-E", "-s", "-j", "-k", "-r", KEY, "-p", "22", "-P", ""])
}

/// Whether a user is logged in: the server has a child for each connection.
pub(crate) fn is_visited(server: nix::unistd::Pid) -> bool {
    sysfs::attribute(format!("/proc/{server}/task/{server}/children")).is_some_and(|list| !list.is_empty())
}

/// Gives every network card an address as it appears, in a child that never ends by itself.
pub(crate) fn keep_network(mut addresses: Vec<FixedAddress>, access: RescueAccess) -> i32 {
    let Ok(events) = Uevents::open() else { return NOT_STARTED };
    let mut known = Vec::new();
    loop {
        for card in cards() {
            if !known.contains(&card) {
                let mac = sysfs::attribute(format!("/sys/class/net/{card}/address")).unwrap_or_default();
                configure(&card, take_address(&mut addresses, &mac).as_ref(), access);
                known.push(card);
            }
        }
        let _ = events.wait(Uptime::now().plus(HOUR));
    }
}

/// Removes the addresses again: the next attempt finds the cards as after a start.
pub(crate) fn close() {
    for card in cards() {
        busybox(&["ip", "addr", "flush", "dev", &card]);
        busybox(&["ip", "link", "set", &card, "down"]);
    }
}

/// The network cards. Interfaces without a device (`lo`, tunnels) are not among them.
pub(super) fn cards() -> Vec<String> {
    let mut names = sysfs::names("/sys/class/net");
    names.retain(|name| Path::new("/sys/class/net").join(name).join("device").exists());
    names
}

/// The address of the card with this hardware address, or else one for any card; each is used once.
fn take_address(addresses: &mut Vec<FixedAddress>, mac: &str) -> Option<FixedAddress> {
    let mac = mac.trim_end().parse::<HardwareAddress>().ok();
    let own = mac.and_then(|mac| addresses.iter().position(|entry| entry.mac == Some(mac)));
    let at = own.or_else(|| addresses.iter().position(|entry| entry.mac.is_none()))?;
    Some(addresses.remove(at))
}

fn configure(card: &str, fixed: Option<&FixedAddress>, access: RescueAccess) {
    busybox(&["ip", "link", "set", card, "up"]);
    if let Some(FixedAddress { address, gateway, .. }) = fixed {
        busybox(&["ip", "addr", "replace", &address.to_string(), "dev", card]);
        if let Some(gateway) = gateway {
            busybox(&["ip", "route", "replace", "default", "via", &gateway.to_string(), "dev", card]);
        }
    } else {
        let script = if access == RescueAccess::Commands { paths::LEASE_READER } else { LEASES };
        // In the background, with a new attempt every ten seconds.
        busybox(&["udhcpc", "-b", "-A", "10", "-t", "3", "-T", "2", "-i", card, "-s", script]);
    }
}

pub(super) fn busybox(words: &[&str]) {
    if let Ok(child) = process::fork(|| run_program(paths::INITRAMFS_BUSYBOX, words)) {
        let _ = waitpid(child, None);
    }
}

/// Replaces this process by a program; returns only if that fails.
fn run_program(program: &str, words: &[&str]) -> i32 {
    let text = |word: &str| CString::new(word).unwrap_or_default();
    let arguments: Vec<CString> = words.iter().map(|word| text(word)).collect();
    let _ = process::execute(&text(program), &arguments, &process::environment(&[]));
    NOT_STARTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_card_takes_its_own_address_or_one_for_any_card() {
        let text = "* 192.0.2.1/24 -\n52:54:00:00:00:01 2001:db8::1/64 fe80::1\n";
        let mut addresses: Vec<_> = FixedAddress::decode_all(text).collect::<Result<_, _>>().unwrap();
        let own = take_address(&mut addresses, "52:54:00:00:00:01\n").unwrap();
        assert_eq!(own.to_string(), "52:54:00:00:00:01 2001:db8::1/64 fe80::1");
        let any = take_address(&mut addresses, "52:54:00:00:00:02\n").unwrap();
        assert_eq!(any.to_string(), "* 192.0.2.1/24 -");
        assert_eq!(take_address(&mut addresses, "52:54:00:00:00:03\n"), None);
    }
}
