//! Comparing and repairing a real folder: every kind of difference, planted links, and files that must not be changed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod content;
#[path = "../support/mod.rs"]
mod support;
mod unknown;

use keys::reconcile::{Action, Comparison, What, compare, repair};
use keys::seal::OpenedSeal;
use nix::unistd::geteuid;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use support::{Fixture, file, path};
use tempfile::TempDir;

const FILES: &[(&str, &[u8])] =
    &[("etc/ssh/key", b"a key"), ("etc/wifi", b"a network"), ("hostname", b"demo\n")];

struct Store {
    outer: TempDir,
    seal: OpenedSeal,
}

impl Store {
    fn new() -> Self {
        Self::with(false)
    }

    /// A store that matches its seal, with the files that every store has.
    fn with(remove_unknown: bool) -> Self {
        let site = Fixture::new();
        let mut sealed =
            keys::issue::seal_builder::SealBuilder::new(handoff::fault::Policy::default(), remove_unknown);
        for (name, content) in FILES {
            sealed.add(path(name), file(0o600), content.to_vec().into()).unwrap();
        }
        let seal = site.open(&site.seal(&sealed, 1));
        let store = Self { outer: TempDir::new().unwrap(), seal };
        fs::create_dir(store.folder()).unwrap();
        fs::create_dir(store.at("lost+found")).unwrap();
        fs::write(store.at("age.key"), "the one file that nothing heals").unwrap();
        store.repaired();
        store
    }

    fn folder(&self) -> PathBuf {
        self.outer.path().join("store")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder().join(path)
    }

    fn compare(&self) -> Comparison {
        compare(&self.folder(), self.seal.manifest()).unwrap()
    }

    /// The path and kinds of the only difference.
    fn difference(&self) -> (String, Vec<What>) {
        let comparison = self.compare();
        assert_eq!(comparison.differing.len(), 1, "{comparison:?}");
        let difference = comparison.differing.into_iter().next().unwrap();
        (difference.subject.to_string(), difference.what)
    }

    /// Repairs, and checks that everything is right afterwards and that a second repair has nothing to do.
    fn repaired(&self) -> Vec<(String, Action)> {
        let done = repair(&self.folder(), &self.seal, &self.compare()).unwrap();
        let after = self.compare();
        assert!(!after.needs_repair(self.seal.manifest()), "{after:?}");
        assert_eq!(after.same.len(), FILES.len());
        assert_eq!(repair(&self.folder(), &self.seal, &after), Ok(Vec::new()));
        for (name, content) in FILES {
            assert_eq!(fs::read(self.at(name)).unwrap(), *content);
        }
        assert_eq!(fs::read(self.at("age.key")).unwrap(), b"the one file that nothing heals");
        done.into_iter().map(|one| (one.path.display().to_string(), one.action)).collect()
    }
}

fn rewritten(path: &str) -> Vec<(String, Action)> {
    vec![(path.to_owned(), Action::Rewritten)]
}

/// Whether this process is root, as whom only a file's owner can be changed. If not, it runs the test again as root of
/// its own user namespace.
fn as_root(test: &str) -> bool {
    geteuid().is_root() || {
        run_again(test, Command::new("unshare").args(["--user", "--map-root-user", "--map-auto"]));
        false
    }
}

/// Whether the permissions of files hold for this process. For root, they hold in a process without the capabilities:
/// then it runs the test again there.
fn without_rights(test: &str) -> bool {
    let is_again = std::env::var_os(AGAIN).is_some();
    !geteuid().is_root() || is_again || {
        run_again(test, Command::new("setpriv").arg("--bounding-set=-dac_override,-dac_read_search"));
        false
    }
}

const AGAIN: &str = "PSYOPS_TEST_AGAIN";

fn run_again(test: &str, command: &mut Command) {
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(AGAIN, "1");
    let output = command.output().expect("unshare and setpriv are needed (package util-linux)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{test}: {output:?}");
}
