//! A site from the template is read back, and each way to break one of its files has its own error.

use super::*;
use crate::error::{Class, Classified as _};
use handoff::fault::{Fault, FaultAction};
use handoff::hardening::{Hardening, Modules, Trace, Who};
use handoff::login::ConsoleLogin;
use handoff::manifest::Required;
use handoff::rescue::{ConsoleAccess, RescueAccess};
use handoff::role_settings::{RoleAction, Stage};
use std::fs;
use std::num::NonZeroU32;
use tempfile::TempDir;

const ADMIN: &str = "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";

fn options() -> InitOptions {
    InitOptions { build_time: 1_793_491_200, open_consoles: false }
}

fn keys() -> GeneratedKeys {
    GeneratedKeys { admin_recipient: ADMIN[..62].into(), signing_public: format!("RW{}", "Q".repeat(54)) }
}

struct Sample(TempDir);

impl Sample {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (id, node) = ("lab".parse().unwrap(), "alpha".parse().unwrap());
        init_site(folder.path(), &id, &node, &keys(), &options()).unwrap();
        Self(folder)
    }

    fn load(&self) -> Result<Site, SiteError> {
        Site::load(self.0.path())
    }

    /// Replaces `from` by `to` in a file, which must have it.
    fn edit(&self, file: &str, from: &str, to: &str) -> &Self {
        let path = self.0.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(&path, text.replace(from, to)).unwrap();
        self
    }

    fn append(&self, file: &str, more: &str) -> &Self {
        let path = self.0.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + more).unwrap();
        self
    }

    fn error(&self) -> SiteError {
        self.load().unwrap_err()
    }
}

const NODE: &str = "nodes/alpha.toml";

#[test]
fn the_template_is_a_site() {
    let site = Sample::new().load().unwrap();
    assert_eq!((site.id.as_str(), site.release.as_str(), site.build_time), ("lab", "1", 1_793_491_200));
    assert_eq!((site.base.clone(), site.console.login.clone()), (Base::Micro, ConsoleLogin::Off));
    assert_eq!(site.console.devices, ["tty0", "ttyS0"]);
    assert_eq!(site.sizes, Sizes::default());
    assert_eq!(site.admin_recipients, [keys().admin_recipient]);
    assert_eq!(site.signing_keys[0].as_str(), keys().signing_public);
    assert_eq!(site.overlays.iter().map(|overlay| overlay.name.as_str()).collect::<Vec<_>>(), ["common"]);
    let hello = &site.roles[&"hello".parse().unwrap()];
    assert_eq!((&hello.action, hello.stage), (&RoleAction::Overlay, Stage::Configure));
    let example = &site.roles[&"example".parse().unwrap()];
    assert_eq!(
        example.action,
        RoleAction::Command { argv: vec!["./run.sh".into()], deadline: NonZeroU32::new(60) }
    );
    let node = site.node("alpha").unwrap();
    assert_eq!(node.roles.iter().map(Name::as_str).collect::<Vec<_>>(), ["hello", "example"]);
    assert_eq!(node.variables["greeting"].as_str(), Some("Welcome."));
    assert!(node.network[0].dhcp && node.recipient.is_none() && node.files.is_empty());
}

/// apt has methods that log in by SSH, or read files that another program prepared.
#[test]
fn an_archive_is_reached_only_by_ways_that_fetch_bytes() {
    let load = |key: &str, address: &str| {
        let sample = Sample::new();
        sample.append("site.toml", &format!("\n[packages]\n{key} = \"{address}\"\n")).load()
    };
    for good in ["http://a/debian", "https://a/debian", "file:/srv/debian", "tor+https://a/debian"] {
        assert_eq!(load("mirror", good).unwrap().packages.mirror, good);
        assert_eq!(load("security-mirror", good).unwrap().packages.security_mirror, good);
    }
    assert_eq!(load("security-mirror", "").unwrap().packages.security_mirror, "");
    for bad in ["ssh://a/debian", "rsh://a/debian", "mirror+file:/srv/list", "cdrom:x", "/srv/debian", ""] {
        let error = load("mirror", bad).unwrap_err().to_string();
        let problem = "the address of an archive must begin with one of: http, https, ftp, file, copy, tor+http, tor+https";
        assert!(error.contains("site.toml:") && error.ends_with(problem), "{error}");
    }
}

#[test]
fn the_readme_lists_exactly_the_existing_keys() {
    let sample = Sample::new();
    let readme = fs::read_to_string(sample.0.path().join("README.md")).unwrap();
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [site_keys, node_keys] = blocks.as_slice() else { panic!("{}", blocks.len()) };
    // The template already has `[console]`.
    let console = "[console]\ndevices = [\"tty0\", \"ttyS0\"]     # the last one is /dev/console\n";
    assert!(site_keys.contains(console));
    let (top, tables) =
        site_keys.replace(console, "").split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    sample.edit("site.toml", "base = \"micro\"", &format!("base = \"micro\"\n{top}"));
    // The same for `[rescue]`.
    sample.edit("site.toml", "[rescue]\n", "");
    sample.edit("site.toml", "console = \"off\"\n", "");
    sample.append("site.toml", &format!("\n{tables}"));
    sample.append(NODE, node_keys);
    let site = sample.load().unwrap();
    assert_eq!(site.sizes, Sizes { data: Some(Bytes::mib(1024)), ..Sizes::default() });
    assert_eq!(site.boot.faults, handoff::fault::Policy::default());
    assert_eq!(site.rescue, handoff::rescue::RescuePolicy::default());
    let node = site.node("alpha").unwrap();
    assert_eq!(node.network[1].addresses, ["192.0.2.10/24".parse().unwrap()]);
    assert_eq!(node.files[0].source, FileSource::Secret("wifi".parse().unwrap()));
    assert_eq!(node.files[0].attributes.mode, 0o600);
}

/// The agent would refuse such a variable, and the node would have no configuration at all.
#[test]
fn a_variable_that_hides_a_predefined_name_is_refused_with_its_place() {
    for name in ["node", "site", "base", "hostname"] {
        let sample = Sample::new();
        sample.edit(NODE, "greeting = ", &format!("{name} = "));
        let error = sample.error().to_string();
        assert!(error.contains(&format!("nodes/alpha.toml:6:1: variables = \"{name}\": ")), "{error}");
        assert!(error.contains("node, site, base, hostname"), "{error}");
    }
}

#[test]
fn a_node_is_added() {
    let sample = Sample::new();
    add_node(&sample.load().unwrap(), &"beta".parse().unwrap(), Some(&ADMIN[..62])).unwrap();
    let site = sample.load().unwrap();
    assert_eq!(site.nodes().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["alpha", "beta"]);
    assert_eq!(site.node("beta").unwrap().recipient.as_deref(), Some(&ADMIN[..62]));
    let error = add_node(&site, &"beta".parse().unwrap(), None).unwrap_err();
    assert!(matches!(error, InitError::NodeExists { .. }), "{error}");
    fs::remove_dir_all(sample.0.path().join("roles/example")).unwrap();
    sample.edit(NODE, ", \"example\"", "").edit("nodes/beta.toml", ", \"example\"", "");
    add_node(&sample.load().unwrap(), &"gamma".parse().unwrap(), None).unwrap();
    let site = sample.load().unwrap();
    assert_eq!(site.node("gamma").unwrap().roles.len(), 1);
}

#[test]
fn a_recipient_is_written_and_replaced() {
    let sample = Sample::new();
    let other = format!("age1{}", "p".repeat(58));
    let name: Name = "alpha".parse().unwrap();
    let before = fs::read_to_string(sample.0.path().join(NODE)).unwrap();
    let (mut site, mut edits) = (sample.load().unwrap(), SiteEdits::default());
    edits.set_recipient(&mut site, &name, &ADMIN[..62]).unwrap();
    edits.set_recipient(&mut site, &name, &other).unwrap();
    edits.write(&site).unwrap();
    assert_eq!(site, sample.load().unwrap());
    assert_eq!(site.node("alpha").unwrap().recipient, Some(other.clone()));
    let after = fs::read_to_string(sample.0.path().join(NODE)).unwrap();
    assert_eq!(after.replace(&format!("recipient = \"{other}\"\n"), ""), before);
}

#[test]
fn an_unknown_node_is_named_with_its_neighbour() {
    let site = Sample::new().load().unwrap();
    let error = site.node("alpa").unwrap_err();
    assert_eq!(error.to_string(), "the site lab has no node \"alpa\"; did you mean \"alpha\"?");
    assert_eq!(error.class(), Class::MissingInput);
    assert_eq!(site.node("Ω").unwrap_err().to_string(), "the site lab has no node \"Ω\"; known: alpha");
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let sample = Sample::new();
    let path = sample.0.path().join("site.toml");
    let line = fs::read_to_string(&path).unwrap().lines().count() + 2;
    sample.append("site.toml", "[boot]\n  trys = 3\n");
    let expected = format!("{}:{line}:3: unknown key \"trys\"; did you mean \"tries\"?", path.display());
    assert_eq!(sample.error().to_string(), expected);
    assert!(matches!(sample.error(), SiteError::UnknownKey { key, .. } if key == "trys"));
    let sample = Sample::new();
    sample.append(NODE, "colour = 1\n");
    assert!(matches!(sample.error(), SiteError::UnknownKey { key, .. } if key == "colour"));
}

#[test]
fn a_folder_without_a_site_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = Site::load(folder.path()).unwrap_err();
    assert!(matches!(error, SiteError::NotASite { .. }), "{error}");
    assert_eq!(error.class(), Class::MissingInput);
}

#[test]
fn each_wrong_value_of_the_site_is_refused() {
    for (from, to, key) in [
        ("id = \"lab\"", "id = \"La b\"", "id"),
        ("release = \"1\"", "release = \"\"", "release"),
        ("2026-11-01T00:00:00Z", "2026-11-01", "build-time"),
        ("2026-11-01T00:00:00Z", "1969-11-01T00:00:00Z", "build-time"),
        ("recipients = [\"age1", "recipients = [\"age2", "recipient"),
        ("keys = [\"RW", "keys = [\"RX", "keys"),
        ("ssh-keys = []", "ssh-keys = [\"justone\"]", "ssh-keys"),
    ] {
        let sample = Sample::new();
        sample.edit("site.toml", from, to);
        let error = sample.error();
        assert!(matches!(&error, SiteError::WrongValue { key: found, .. } if *found == key), "{to}: {error}");
        assert_eq!(error.class(), Class::BadContent);
    }
    for (more, key) in [
        ("[boot]\ntries = 0\n", "tries"),
        ("[boot]\nidentity-deadline = 0\n", "identity-deadline"),
        ("[boot]\noverlay-size = \"lots\"\n", "overlay-size"),
        ("[boot]\narguments = [\"\"]\n", "arguments"),
        ("[sizes]\nesp = \"64MB\"\n", "esp"),
        ("[sizes]\nroot = \"most\"\n", "root"),
        ("[packages]\nsuite = \"book worm\"\n", "suite"),
        ("[packages]\nextra = [\"a;b\"]\n", "extra"),
        ("[configure]\ndeadline = 0\n", "deadline"),
    ] {
        let sample = Sample::new();
        sample.append("site.toml", more);
        let error = sample.error();
        assert!(
            matches!(&error, SiteError::WrongValue { key: found, .. } if *found == key),
            "{more}: {error}"
        );
    }
}

#[test]
fn each_unknown_word_is_named_with_its_neighbour() {
    for (from, to, nearest) in [
        ("base = \"micro\"", "base = \"mirco\"", "micro"),
        ("login = \"off\"", "login = \"shel\"", "shell"),
        ("[console]", "[boot.faults]\nseel = \"rescue\"\n[console]", "seal"),
        ("[console]", "[boot.faults]\nseal = \"resque\"\n[console]", "rescue"),
    ] {
        let sample = Sample::new();
        sample.edit("site.toml", from, to);
        let error = sample.error();
        let SiteError::UnknownWord { known, .. } = &error else { panic!("{error}") };
        assert_eq!(known.nearest.as_deref(), Some(nearest));
    }
}

#[test]
fn actions_for_faults_are_read() {
    let sample = Sample::new();
    sample.append("site.toml", "[boot.faults]\nrepair = \"rescue\"\n");
    assert_eq!(sample.load().unwrap().boot.faults.action(Fault::Repair), FaultAction::Rescue);
}

#[test]
fn an_invalid_action_is_refused_with_the_nearest_valid_one() {
    for (fault, action, nearest) in [
        ("root", "degraded", "the nearest valid one is \"reboot\""),
        ("seal", "continue", "the nearest valid one is \"degraded\""),
        ("install", "repair", "the nearest valid one is \"degraded\""),
        ("file-differs", "continue", "the nearest valid one is \"repair\""),
    ] {
        let sample = Sample::new();
        sample.append("site.toml", &format!("[boot.faults]\n{fault} = \"{action}\"\n"));
        let error = sample.error();
        assert!(matches!(error, SiteError::ActionWithoutEffect { .. }), "{error}");
        assert!(error.to_string().contains(nearest), "{error}");
    }
}

#[test]
fn the_site_can_set_a_default_for_required() {
    let sample = Sample::new();
    sample.append("site.toml", "[boot]\nrequired = \"run\"\n");
    assert_eq!(sample.load().unwrap().boot.required, Required::Run);
}

#[test]
fn rescue_can_be_commands_without_a_shell() {
    let sample = Sample::new();
    sample.edit(
        "site.toml",
        "console = \"off\"",
        "access = \"commands\"\nssh-keys = [\"ssh-ed25519 AAAA a\"]",
    );
    assert_eq!(sample.load().unwrap().rescue.access, RescueAccess::Commands);
    for (lines, problem) in [
        ("access = \"commands\"\nconsole = \"shell\"", "allows no shell"),
        ("access = \"comands\"", "commands"),
    ] {
        let sample = Sample::new();
        sample.edit("site.toml", "console = \"off\"", lines);
        let error = sample.load().unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn nodes_have_an_architecture_that_the_table_knows() {
    let sample = Sample::new();
    assert_eq!(sample.load().unwrap().architecture.name, "x86-64");
    sample.edit("site.toml", "base = \"micro\"", "base = \"micro\"\narchitecture = \"x86-64\"");
    assert_eq!(sample.load().unwrap().architecture.debian, "amd64");
    sample.edit("site.toml", "\"x86-64\"", "\"x86_64\"");
    let error = sample.error().to_string();
    assert!(error.contains("\"x86_64\"") && error.contains("\"x86-64\""), "{error}");
}

#[test]
fn hardening_is_safe_by_default_and_typed() {
    let sample = Sample::new();
    assert_eq!(sample.load().unwrap().hardening, Hardening::default());
    sample.append("site.toml", "[hardening]\nmodules = \"closed\"\ntrace = \"own\"\nbpf = \"all\"\n");
    let expected =
        Hardening { modules: Modules::Closed, trace: Trace::Own, bpf: Who::All, ..Hardening::default() };
    assert_eq!(sample.load().unwrap().hardening, expected);
    for (line, wanted) in [
        ("kernel-log = \"nobody\"", "nobody"),
        ("modules = \"close\"", "closed"),
        ("user-namespace = \"all\"", "user-namespaces"),
        ("modules = true", "expected a string"),
    ] {
        let sample = Sample::new();
        sample.append("site.toml", &format!("[hardening]\n{line}\n"));
        let error = sample.load().unwrap_err().to_string();
        assert!(error.contains(wanted), "{line}: {error}");
    }
}

#[test]
fn rescue_has_no_login_unless_the_site_allows_one() {
    let sample = Sample::new();
    assert!(!sample.load().unwrap().rescue.has_login());
    let (closed, open) = ("console = \"off\"", "console = \"shell\"\nkeep-keys = true\nretry-after = 60");
    sample.edit("site.toml", closed, open);
    let rescue = sample.load().unwrap().rescue;
    assert_eq!((rescue.console, rescue.keep_keys, rescue.retry_after), (ConsoleAccess::Shell, true, 60));
    for (lines, key) in [
        ("console = \"password\"", "password-hash"),
        ("console = \"password\"\npassword-hash = \"$6$salt$hash\"", "password-hash"),
        ("password-hash = \"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA\"", "password-hash"),
        ("ssh-keys = [\"ssh-ed25519\"]", "ssh-keys"),
        ("retry-after = 0", "retry-after"),
    ] {
        let sample = Sample::new();
        sample.edit("site.toml", closed, lines);
        let error = sample.error().to_string();
        assert!(error.contains(key), "{lines}: {error}");
    }
}

#[test]
fn a_password_needs_its_hash() {
    let hash = "$6$saltsalt$abcdefghijklmnop";
    let sample = Sample::new();
    sample.edit("site.toml", "login = \"off\"", "login = \"password\"");
    assert!(matches!(sample.error(), SiteError::MissingKey { key, .. } if key == "password-hash"));
    sample.append("site.toml", &format!("password-hash = \"{hash}\"\n"));
    assert_eq!(sample.load().unwrap().console.login, ConsoleLogin::Password(hash.parse().unwrap()));
    sample.edit("site.toml", hash, "secret");
    let text = sample.error().to_string();
    assert!(text.contains("password-hash") && !text.contains("secret"), "{text}");
}

#[test]
fn missing_keys_and_empty_lists_are_refused() {
    let sample = Sample::new();
    sample.edit("site.toml", "id = \"lab\"\n", "");
    assert!(matches!(sample.error(), SiteError::MissingKey { key, .. } if key == "id"));
    let sample = Sample::new();
    sample.edit("site.toml", &format!("keys = [\"{}\"]", keys().signing_public), "keys = []");
    assert!(matches!(sample.error(), SiteError::WrongValue { key: "keys", .. }));
}

#[test]
fn a_private_key_is_refused_and_not_repeated() {
    let sample = Sample::new();
    let private = format!("AGE-SECRET-KEY-1{}", "Q".repeat(58));
    sample.edit(NODE, "roles =", &format!("recipient = \"{private}\"\nroles ="));
    let text = sample.error().to_string();
    assert!(text.contains("private key") && !text.contains("QQQ"), "{text}");
}

#[test]
fn each_wrong_value_of_a_node_is_refused() {
    let file = "[[file]]\nsource = \"README.md\"\npath = \"x\"\n";
    for (more, key) in [
        ("[[network]]\nname = \"a/b\"\n".to_owned(), "name"),
        ("[[network]]\nname = \"sixteencharacter\"\n".to_owned(), "name"),
        ("[[network]]\nname = \"lan0\"\n".to_owned(), "name"),
        ("[[network]]\nname = \"b\"\nmac = \"52:54\"\n".to_owned(), "mac"),
        ("[[network]]\nname = \"b\"\naddresses = [\"192.0.2.1\"]\n".to_owned(), "addresses"),
        ("[[network]]\nname = \"b\"\naddresses = [\"192.0.2.1/33\"]\n".to_owned(), "addresses"),
        ("[[network]]\nname = \"b\"\ngateway = \"here\"\n".to_owned(), "address"),
        ("[[file]]\npath = \"x\"\n".to_owned(), "path"),
        (format!("{file}secret = \"y\"\n"), "path"),
        (format!("{file}{file}"), "path"),
        (file.replace("\"x\"", "\"../x\""), "path"),
        (file.replace("\"x\"", "\"age.key\""), "path"),
        (file.replace("README.md", "../x"), "source"),
        (format!("{file}mode = \"0800\"\n"), "mode"),
        (format!("{file}mode = \"+600\"\n"), "mode"),
        (format!("{file}install = \"etc/x\"\n"), "install"),
        (format!("{file}install = \"/etc/../x\"\n"), "install"),
    ] {
        let sample = Sample::new();
        sample.append(NODE, &more);
        let error = sample.error();
        assert!(
            matches!(&error, SiteError::WrongValue { key: found, .. } if *found == key),
            "{more}: {error}"
        );
    }
}

#[test]
fn files_that_a_node_lists_must_exist() {
    let sample = Sample::new();
    sample.append(NODE, "[[file]]\nsource = \"missing\"\npath = \"x\"\n");
    assert!(matches!(sample.error(), SiteError::MissingSource { .. }));
    let sample = Sample::new();
    sample.edit(NODE, "\"hello\"", "\"helo\"");
    let error = sample.error();
    assert!(
        matches!(&error, SiteError::UnknownRole { known, .. } if known.nearest.as_deref() == Some("hello")),
        "{error}"
    );
    let sample = Sample::new();
    sample.edit("site.toml", "\"common\"", "\"comon\"");
    assert!(matches!(sample.error(), SiteError::UnknownOverlay { .. }));
    let sample = Sample::new();
    fs::write(sample.0.path().join("nodes/Bad Name.toml"), "").unwrap();
    assert!(matches!(sample.error(), SiteError::BadFileName { .. }));
}

#[test]
fn each_wrong_role_is_refused() {
    for (from, to) in [
        ("command = [\"./run.sh\"]", "command = []"),
        ("command = [\"./run.sh\"]", ""),
        ("kind = \"command\"", "kind = \"overlay\""),
    ] {
        let sample = Sample::new();
        sample.edit("roles/example/role.toml", from, to);
        let error = sample.error();
        assert!(matches!(error, SiteError::WrongValue { key: "kind", .. }), "{to}: {error}");
    }
    let sample = Sample::new();
    sample.edit("roles/example/role.toml", "stage = \"configure\"", "stage = \"late\"");
    assert!(matches!(sample.error(), SiteError::UnknownWord { key: "stage", .. }));
}

#[test]
fn a_node_has_the_packages_of_the_site_of_its_roles_and_its_own() {
    let sample = Sample::new();
    add_node(&sample.load().unwrap(), &"beta".parse().unwrap(), None).unwrap();
    let site = sample.load().unwrap();
    assert!(site.other_sets().is_empty() && site.packages.extra == PackageSet::default());
    sample.append("site.toml", "[packages]\nextra = [\"tree\"]\n");
    sample.append("roles/example/role.toml", "packages = [\"jq=1.6-2.1\", \"tree\"]\n");
    sample.edit(NODE, "roles =", "packages = [\"pv\"]\nroles =");
    let site = sample.load().unwrap();
    assert_eq!(site.packages.extra.words(), ["tree"]);
    assert_eq!(site.node("alpha").unwrap().packages.words(), ["jq=1.6-2.1", "pv", "tree"]);
    let sets: Vec<_> = site.other_sets().into_iter().map(|(set, nodes)| (set.words(), nodes.len())).collect();
    let expected = [vec!["jq=1.6-2.1", "pv", "tree"], vec!["jq=1.6-2.1", "tree"]];
    assert_eq!(sets, expected.map(|words| (words.into_iter().map(str::to_owned).collect(), 1)));
    // Without the role, the node has the packages of every node.
    sample.edit("nodes/beta.toml", "\"hello\", \"example\"", "\"hello\"");
    let site = sample.load().unwrap();
    assert_eq!(site.node("beta").unwrap().packages, site.packages.extra);
}

#[test]
fn each_wrong_package_is_refused_with_its_place() {
    for (file, from, to, place) in [
        ("site.toml", "[rescue]", "[packages]\nextra = [\"tree\", \"Tree\"]\n[rescue]", "extra = \"Tree\""),
        (NODE, "roles =", "packages = [\"jq/sid\"]\nroles =", "3:13: packages = \"jq/sid\""),
        (NODE, "roles =", "packages = [\"jq-\"]\nroles =", "3:13: packages = \"jq-\""),
        ("roles/example/role.toml", "stage =", "packages = [\"jq=\"]\nstage =", "3:13: packages = \"jq=\""),
        (
            "roles/example/role.toml",
            "stage =",
            "packages = [\"jq=1*\"]\nstage =",
            "3:13: packages = \"jq=1*\"",
        ),
    ] {
        let sample = Sample::new();
        sample.edit(file, from, to);
        let error = sample.error();
        assert!(matches!(error, SiteError::WrongValue { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("{file}:")) && error.to_string().contains(place),
            "{error}"
        );
    }
    let sample = Sample::new();
    sample.append("roles/example/role.toml", "packages = [\"jq=1\"]\n");
    sample.edit(NODE, "roles =", "packages = [\"jq=2\"]\nroles =");
    let error = sample.error();
    let at = |file: &str| sample.0.path().join(file).display().to_string();
    let (node, role) = (at(NODE), at("roles/example/role.toml"));
    let expected = format!(
        "{node}:3:13: node alpha would get both jq=2 and jq=1, which {role}:6:13 lists; list one version only"
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.class(), Class::BadContent);
    // Another node with only the role would be right: the conflict is within one system.
    sample.edit(NODE, "\"hello\", \"example\"", "\"hello\"");
    sample.load().unwrap();
}

#[test]
fn init_does_not_overwrite_existing_files() {
    let folder = tempfile::tempdir().unwrap();
    let make =
        || init_site(folder.path(), &"lab".parse().unwrap(), &"a".parse().unwrap(), &keys(), &options());
    fs::create_dir(folder.path().join(".git")).unwrap();
    fs::write(folder.path().join("precious"), "x").unwrap();
    assert!(matches!(make(), Err(InitError::NotEmpty { found, .. }) if found == "precious"));
    fs::remove_file(folder.path().join("precious")).unwrap();
    make().unwrap();
}

#[test]
fn scripts_of_the_template_can_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let sample = Sample::new();
    let mode = |file: &str| fs::metadata(sample.0.path().join(file)).unwrap().permissions().mode() & 0o111;
    assert_ne!(mode("roles/example/run.sh"), 0);
    assert_eq!(mode("site.toml"), 0);
    assert!(sample.0.path().join(".gitignore").is_file());
}

#[test]
fn an_imported_base_cannot_have_packages() {
    let sample = Sample::new();
    sample.edit("site.toml", "base = \"micro\"", "base = \"oci:registry.example/base:1\"");
    assert_eq!(sample.load().unwrap().base.to_string(), "oci:registry.example/base:1");
    sample.append("site.toml", "\n[packages]\nextra = [\"tree\"]\n");
    let error = sample.error();
    assert!(matches!(&error, SiteError::WrongValue { key: "extra", .. }), "{error}");
    assert!(error.to_string().contains("the builder cannot install packages in an imported base"), "{error}");
    sample.edit("site.toml", "extra = [\"tree\"]", "");
    sample.load().unwrap();
    let nodes: Vec<_> = sample.load().unwrap().nodes().map(|node| node.name.to_string()).collect();
    let file = format!("nodes/{}.toml", nodes[0]);
    let text = fs::read_to_string(sample.0.path().join(&file)).unwrap();
    fs::write(sample.0.path().join(&file), format!("packages = [\"tree\"]\n{text}")).unwrap();
    let error = sample.error();
    assert!(matches!(&error, SiteError::WrongValue { key: "packages", .. }), "{error}");
}

#[test]
fn an_ambiguous_base_is_reported_with_its_place() {
    let sample = Sample::new();
    sample.edit("site.toml", "base = \"micro\"", "base = \"oci:library/debian:12\"");
    let error = sample.error();
    assert!(
        matches!(&error, SiteError::WrongValue { key: "base", at: Location { line, .. }, .. } if *line > 1),
        "{error}"
    );
}

/// A link in the site that leads outside, to a key folder beside the site.
fn link_to_keys(sample: &Sample, keys: &TempDir, at: &str) {
    fs::write(keys.path().join("signing.key"), "secret").unwrap();
    let place = sample.0.path().join(at);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    let target =
        if at.starts_with("files/") { keys.path().join("signing.key") } else { keys.path().to_owned() };
    std::os::unix::fs::symlink(target, place).unwrap();
}

/// The error about a link that leads out of the sample.
fn outside(sample: &Sample) -> String {
    format!(
        "a symbolic link in the path leads out of {}; put the file itself there",
        sample.0.path().display()
    )
}

#[test]
fn a_source_that_is_a_link_to_a_key_is_refused() {
    let (sample, keys) = (Sample::new(), tempfile::tempdir().unwrap());
    link_to_keys(&sample, &keys, "files/motd.txt");
    sample.append(NODE, "[[file]]\npath = \"motd\"\nsource = \"files/motd.txt\"\n");
    let error = sample.error();
    assert!(matches!(error, SiteError::UnusableSource { .. }), "{error}");
    let path = sample.0.path().join("files/motd.txt");
    let expected = format!("{} cannot be used: {}", path.display(), outside(&sample));
    assert!(error.to_string().ends_with(&expected), "{error}");
    assert_eq!(error.class(), Class::BadContent);
}

#[test]
fn roles_and_overlays_that_are_links_to_a_key_folder_are_refused() {
    for at in ["roles/keys", "overlays/keys", "nodes/beta.toml", "secrets/nodes"] {
        let (sample, keys) = (Sample::new(), tempfile::tempdir().unwrap());
        link_to_keys(&sample, &keys, at);
        if at.starts_with("secrets") {
            let store = sample.load().unwrap().secrets_dir();
            assert_eq!(store.read("nodes/signing.key").unwrap_err().to_string(), outside(&sample));
            continue;
        }
        let error = sample.error();
        let path = sample.0.path().join(at);
        assert_eq!(error.to_string(), format!("cannot read {}: {}", path.display(), outside(&sample)));
        assert_eq!(error.class(), Class::BadContent);
    }
}

#[test]
fn links_inside_the_site_work() {
    let sample = Sample::new();
    let at = |path: &str| sample.0.path().join(path);
    fs::create_dir_all(at("shared/files")).unwrap();
    fs::write(at("shared/role.toml"), "kind = \"overlay\"").unwrap();
    fs::write(at("shared/motd"), "hello").unwrap();
    std::os::unix::fs::symlink("../shared", at("roles/shared")).unwrap();
    std::os::unix::fs::symlink("shared", at("files")).unwrap();
    sample.append(NODE, "[[file]]\npath = \"motd\"\nsource = \"files/motd\"\n");
    let site = sample.load().unwrap();
    assert!(site.roles.contains_key(&"shared".parse().unwrap()));
    assert_eq!(site.folder.text("files/motd").unwrap(), "hello");
}

#[test]
fn a_signing_key_that_is_none_is_an_error_with_its_place() {
    let good = keys().signing_public;
    // The right length and letters, but another algorithm; a character outside base64; too short.
    for bad in [format!("RA{}", "Q".repeat(54)), format!("RW{}", "*".repeat(54)), "RWQ".to_owned()] {
        let sample = Sample::new();
        sample.edit("site.toml", &format!("\"{good}\""), &format!("\"{good}\", \"{bad}\""));
        let text = fs::read_to_string(sample.0.path().join("site.toml")).unwrap();
        let (line, column) = (0..)
            .zip(text.lines())
            .find_map(|(line, text)| Some((line + 1, text.find(&format!("\"{bad}\""))? + 1)))
            .unwrap();
        let error = sample.error().to_string();
        let place = format!("site.toml:{line}:{column}: keys = {bad:?}: a minisign public key is the line");
        assert!(error.contains(&place), "{error}");
    }
}
