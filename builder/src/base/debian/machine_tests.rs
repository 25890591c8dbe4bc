//! Tests on machines that refuse namespaces: this test program runs itself in a user namespace in which the kernel
//! allows no further ones (`/proc/sys/user/max_*_namespaces`, namespaces(7)), as root or as an ordinary user.

use super::tests::Fixture;
use crate::base;
use crate::error::{Class, Error};
use crate::secrets::credentials::Locations;
use crate::tools::{self, DPKG_DEB, UNSHARE, missing_isolation};
use std::path::PathBuf;
use std::process::Command;

/// The error of a build of the debian base on a machine without a sandbox.
const NO_SANDBOX: &str = "cannot create the sandbox for the maintainer scripts of packages: ";
const ALLOW: &str = "the debian base needs user namespaces: allow them (sysctl user.max_user_namespaces, \
    kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), in a container start it with \
    --privileged, or build on another machine; the micro base needs none";

/// Runs one of the ignored tests below, after `script` prepared the namespace as root. A test program that does not
/// find the test would succeed too, so the number of tests that ran is checked.
fn within(script: &str, test: &str) {
    let mut command = Command::new(UNSHARE.find().unwrap());
    command.args(["--user", "--map-root-user", "--mount", "--", "sh", "-euc", script, "sh"]);
    runs(&mut command, test);
}

/// The same with all ids mapped, which only root can do.
fn within_all_ids(script: &str, test: &str) {
    let mapped = "while [ -z \"$(cat /proc/self/uid_map)\" ]; do sleep 0.02; done; exec sh -euc \"$@\"";
    let map = "unshare --user --mount -- sh -euc \"$@\" & pid=$!; \
        while [ \"$(readlink /proc/$pid/ns/user)\" = \"$(readlink /proc/self/ns/user)\" ]; do sleep 0.02; done; \
        echo 0 0 65536 >/proc/$pid/uid_map; echo 0 0 65536 >/proc/$pid/gid_map; wait $pid";
    runs(Command::new("sh").args(["-euc", map, "sh", mapped, "sh", script, "sh"]), test);
}

fn runs(command: &mut Command, test: &str) {
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("base::debian::machine_tests::{test}"), "--ignored", "--nocapture"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// Builds a site with the debian base and expects that the build is refused before anything is fetched or made.
fn refused() -> String {
    let place = Fixture::new();
    place.lock();
    let keys = Locations::default();
    let build =
        base::prepare(&place.site, &place.site.packages.extra, &place.store, &keys, &|line| panic!("{line}"));
    let error = Error::from(build.unwrap_err());
    assert_eq!((error.class(), error.exit_code()), (Class::Unavailable, 69));
    for made in ["derived", "apt", "tmp"] {
        assert_eq!(place.store.entries(made).unwrap(), Vec::<PathBuf>::new());
    }
    error.report()
}

/// As in a container whose user is root and may do everything but make user namespaces.
#[test]
fn root_without_user_namespaces_is_told_what_the_debian_base_needs() {
    // An ordinary user cannot be root of a namespace with more than one id: the next test covers that.
    if nix::unistd::geteuid().is_root() {
        let script = "echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"";
        within_all_ids(script, "as_root_without_user_namespaces");
    }
}

#[test]
#[ignore = "runs inside the namespace that another test makes"]
fn as_root_without_user_namespaces() {
    assert_eq!(refused(), format!("{NO_SANDBOX}unshare: unshare failed: No space left on device\n  {ALLOW}"));
    // Programs that read packages need no user namespace where the builder is root.
    assert_eq!(missing_isolation(), None);
}

#[test]
fn root_of_a_container_with_one_id_is_told_what_the_debian_base_needs() {
    within("exec \"$@\"", "as_root_with_one_id");
}

#[test]
#[ignore = "runs inside the namespace that another test makes"]
fn as_root_with_one_id() {
    let said = refused();
    let (problem, advice) = said.split_once("\n  ").unwrap();
    assert!(problem.starts_with(&format!("{NO_SANDBOX}chown: changing ownership of '")), "{said}");
    assert!(problem.ends_with(": Invalid argument"), "{said}");
    assert_eq!(advice, ALLOW);
}

#[test]
fn a_user_without_further_ids_is_told_how_to_get_some() {
    within("exec unshare --user --map-user=4711 --map-group=4711 -- \"$@\"", "as_a_user_without_ids");
}

#[test]
#[ignore = "runs inside the namespace that another test makes"]
fn as_a_user_without_ids() {
    assert_eq!(
        refused(),
        format!(
            "{NO_SANDBOX}/etc/subuid does not have 65536 ids for 4711\n  \
             as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 4711"
        )
    );
}

/// The only allowed namespace is used to become this user; no further one can be made.
#[test]
fn a_user_without_user_namespaces_is_told_what_the_debian_base_needs() {
    within(
        "for file in subuid subgid; do echo 4711:100000:65536 >/tmp/$$; mount -t tmpfs none /mnt; \
         cp /tmp/$$ /mnt/$file; rm /tmp/$$; mount --bind /mnt/$file /etc/$file; umount -l /mnt; done; \
         echo 1 >/proc/sys/user/max_user_namespaces; exec unshare --user --map-user=4711 --map-group=4711 -- \"$@\"",
        "as_a_user_without_user_namespaces",
    );
}

#[test]
#[ignore = "runs inside the namespace that another test makes"]
fn as_a_user_without_user_namespaces() {
    let failed = "unshare: unshare failed: No space left on device";
    assert_eq!(refused(), format!("{NO_SANDBOX}{failed}\n  {ALLOW}"));
    only_the_network_is_missing(failed);
}

#[test]
fn programs_run_without_network_namespaces_and_the_reason_is_kept() {
    within("echo 0 >/proc/sys/user/max_net_namespaces; exec \"$@\"", "as_root_without_network_namespaces");
}

#[test]
#[ignore = "runs inside the namespace that another test makes"]
fn as_root_without_network_namespaces() {
    only_the_network_is_missing("unshare: unshare failed: No space left on device");
}

/// The other limits on programs still hold, and the end of the command prints the reason (`cli/finish.rs`).
fn only_the_network_is_missing(reason: &str) {
    let shell = tools::Tool { name: "sh", package: "dash", ..DPKG_DEB };
    let script = "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status; ulimit -c; ulimit -t; env | cut -d= -f1 | sort | tr '\\n' ' '";
    let output = tools::run(shell.command().unwrap().args(["-c", script])).unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "CapEff:\t0000000000000000\nNoNewPrivs:\t1\n0\n7200\nLC_ALL PATH PWD TZ "
    );
    assert_eq!(missing_isolation(), Some(reason));
}
