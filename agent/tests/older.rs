//! What the agent records on a `data` partition from boot to boot, with its real program and a real mount.
//!
//! The test runs itself again in its own mount namespace (`unshare`), so it needs no privileges. Each "boot" is a
//! configuration run in a root whose boot report the test writes in place of the loader.
#![expect(clippy::unwrap_used, reason = "a test says by panicking what went wrong")]

use handoff::fault::Policy;
use handoff::highest_seen::HighestSeen;
use handoff::least_generation::LeastGeneration;
use handoff::loader_config::LoaderConfig;
use handoff::older::OlderKind;
use handoff::report::{BootReport, Configure, FaultReport, Outcome};
use handoff::rescue::RescuePolicy;
use handoff::verity::OnCorruption;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = "PSYOPS_TEST_ROOT";
const NAME: &str = "an_older_seal_or_release_than_the_node_has_seen_makes_it_degraded";

/// The root of a node, with a data partition.
struct Node(PathBuf);

impl Node {
    fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A boot with a seal of this generation and a system of this security epoch: the final report, and the output.
    fn boot(&self, generation: u64, security_epoch: u32) -> (BootReport, String) {
        let trust = LoaderConfig {
            site: "lab".parse().unwrap(),
            release: "1".parse().unwrap(),
            security_epoch,
            least_generation: LeastGeneration::default(),
            build_time: 0,
            signing_keys: vec!["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".into()],
            overlay_size: "50%".into(),
            root_corruption: OnCorruption::default(),
            identity_deadline: 30,
            policy: Policy::default(),
            rescue: RescuePolicy::default(),
        };
        self.write(handoff::paths::RUNNING_TRUST, &trust.encode());
        self.write(handoff::paths::NODE, "format = 1\nsite = 'lab'\nnode = 'node-1'\nbase = 'micro'\n");
        let report =
            BootReport { node: Some("node-1".into()), generation: Some(generation), ..BootReport::default() };
        self.write(handoff::paths::BOOT_REPORT, &report.to_json());
        let identity = "{\"format\":1,\"stages\":[{\"stage\":\"identity\",\"result\":\"ok\",\"started_unix\":0,\
                        \"start_ms\":0,\"took_ms\":0,\"roles\":[]}],\"confirmation\":null}";
        self.write(handoff::paths::STATUS, identity);
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_psyops-agent"))
            .args(["configure", "--root"])
            .arg(&self.0)
            .output()
            .unwrap();
        let printed = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        assert!(status.success(), "the run itself went well: {printed}");
        let report = fs::read_to_string(self.at(handoff::paths::BOOT_REPORT)).unwrap();
        (serde_json::from_str(&report).unwrap(), printed)
    }

    fn record(&self) -> PathBuf {
        self.at(handoff::paths::DATA).join(handoff::paths::ON_DATA).join(handoff::paths::HIGHEST_SEEN)
    }

    fn remembers(&self) -> (u64, u32) {
        let seen = HighestSeen::decode(&fs::read(self.record()).unwrap()).unwrap();
        assert_eq!((seen.site.as_str(), seen.node.as_str()), ("lab", "node-1"));
        (seen.generation, seen.security_epoch)
    }
}

/// Runs the test again in a mount namespace and returns `None`, or, inside, the node.
fn enter() -> Option<Node> {
    if let Some(root) = std::env::var_os(ROOT) {
        return Some(Node(root.into()));
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let status = unshare
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg(format!("mount -t tmpfs -o mode=0755 none \"${ROOT}/data\" && exec \"$@\""))
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(ROOT, folder.path())
        .status()
        .expect("unshare is needed for this test (package util-linux)");
    assert!(status.success(), "{status}");
    None
}

fn fault(message: &str) -> FaultReport {
    FaultReport { fault: "older".into(), message: message.into() }
}

#[test]
fn an_older_seal_or_release_than_the_node_has_seen_makes_it_degraded() {
    let Some(node) = enter() else { return };
    let (first, printed) = node.boot(4, 1);
    assert_eq!(
        (first.outcome, first.configure, &first.older),
        (Outcome::Ok, Configure::Ok, &vec![]),
        "{printed}"
    );
    assert_eq!(node.remembers(), (4, 1));
    assert_eq!(fs::symlink_metadata(node.record()).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(node.boot(9, 2).0.outcome, Outcome::Ok);
    assert_eq!(node.remembers(), (9, 2));

    // The former seal is put back, and then the former release: the boot goes on, and reports it each time.
    let message = "seal generation 4 runs, but this node has seen 9: write the node's current seal (psyops-agent seal \
                   install, or flash the stick again); to go back to the older configuration, make a new seal of it: \
                   psyops seal --node node-1 --above 9";
    for _ in 0..2 {
        let (older, printed) = node.boot(4, 2);
        assert_eq!((older.outcome, older.configure), (Outcome::Degraded, Configure::Ok), "{printed}");
        assert_eq!(older.faults, [fault(message)]);
        let facts: Vec<_> = older.older.iter().map(|one| (one.what, one.lower, one.higher)).collect();
        assert_eq!(facts, [(OlderKind::Generation, 4, 9)]);
        assert!(printed.lines().any(|line| line == message), "{printed}");
        assert_eq!(node.remembers(), (9, 2), "it does not sink");
    }
    let (older, _) = node.boot(9, 1);
    let message =
        "release 1 of security epoch 1 runs, but this node has seen 2: update it, or flash the stick again";
    assert_eq!((older.outcome, older.faults), (Outcome::Degraded, vec![fault(message)]));

    // A seal above what was seen is accepted.
    assert_eq!(node.boot(10, 2).0.outcome, Outcome::Ok);
    assert_eq!(node.remembers(), (10, 2));

    // A damaged record does not keep a node from starting: it is reported once and replaced.
    fs::write(node.record(), "garbage").unwrap();
    let (damaged, printed) = node.boot(10, 2);
    let message = format!(
        "the highest generation that this node has seen is not known: {} is damaged: it does not begin with \
         \"psyops-highest-seen 1\"; what runs now is remembered",
        node.record().display()
    );
    assert_eq!((damaged.outcome, damaged.configure), (Outcome::Degraded, Configure::Ok), "{printed}");
    assert_eq!(damaged.faults, [fault(&message)]);
    assert_eq!(node.boot(10, 2).0.outcome, Outcome::Ok);
    assert_eq!(node.remembers(), (10, 2));

    // If others can write to the partition's top folder, it is not used.
    fs::remove_dir_all(node.record().parent().unwrap()).unwrap();
    chmod(&node.at("/data"), "777");
    assert_eq!(node.boot(3, 1).0.outcome, Outcome::Ok);
    assert!(!node.record().exists());
}

fn chmod(path: &Path, mode: &str) {
    assert!(Command::new("chmod").arg(mode).arg(path).status().unwrap().success());
}
