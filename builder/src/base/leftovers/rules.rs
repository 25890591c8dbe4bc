//! What scripts of Debian's packages are known to leave, and how each is handled.

use crate::tree::{LayeredTree, TreeError};

/// Files to remove: the path, with `*` for any characters of a name, and what makes the file again on the node.
const REMOVED: [(&str, &str); 14] = [
    ("etc/ssl/private/ssl-cert-snakeoil.key", "ssl-cert: make-ssl-cert generate-default-snakeoil, in a role"),
    ("etc/ssl/certs/ssl-cert-snakeoil.pem", "the same"),
    ("etc/ssh/ssh_host_*", "the node's keys are among its secrets, or made by ssh-keygen -A"),
    ("etc/bind/rndc.key", "rndc-confgen -a, in a role"),
    ("etc/iscsi/initiatorname.iscsi", "iscsi-iname, in a role"),
    ("etc/mailname", "the node's host name is used; another mail name is written by a role"),
    ("etc/mdadm/mdadm.conf", "names the host and the day; mdadm finds arrays without it"),
    ("etc/nvme/hostid", "nvme gen-hostnqn, in a role"),
    ("etc/nvme/hostnqn", "the same"),
    ("etc/popularity-contest.conf", "dpkg-reconfigure popularity-contest, in a role"),
    ("var/lib/dbus/machine-id", "the node has its own"),
    ("var/lib/systemd/random-seed", "systemd-random-seed.service"),
    ("var/lib/urandom/random-seed", "the init script urandom"),
    ("var/lib/ucf/cache/*:etc:mdadm:mdadm.conf", "with the file"),
];
/// Settings to remove: the file, and the start of each setting's line. The default that then applies is the node's own.
const REMOVED_SETTINGS: [(&str, &[&str]); 1] = [
    // postfix uses the host name; /etc/mailname would be missing.
    ("etc/postfix/main.cf", &["myhostname =", "myorigin = /etc/mailname"]),
];
/// Files below this folder are logs of the installation.
const LOGS: &str = "var/log/";
const SECONDS_PER_DAY: u64 = 86_400;

/// Removes the files in the tables, links that led to them, and logs; sets the day in `etc/shadow` to that of the build
/// time.
pub(super) fn apply(tree: &mut LayeredTree, build_time: u64) -> Result<(), TreeError> {
    let is_gone = |path: &str| REMOVED.iter().any(|(pattern, _)| matches(pattern, path));
    let files = tree.paths().filter(|path| is_gone(path) || (path.starts_with(LOGS) && tree.is_file(path)));
    let gone: Vec<String> = files.map(str::to_owned).collect();
    for path in &gone {
        tree.remove(path);
    }
    remove_links_to(tree, gone);
    for file in ["etc/shadow", "etc/gshadow"] {
        edit(tree, file, |text| with_day(text, build_time / SECONDS_PER_DAY))?;
    }
    for (file, settings) in REMOVED_SETTINGS {
        edit(tree, file, |text| without_settings(text, settings))?;
    }
    Ok(())
}

/// Changes the text of a file if it exists; its mode, owner and time stay.
fn edit(tree: &mut LayeredTree, file: &str, change: impl Fn(&str) -> String) -> Result<(), TreeError> {
    if !tree.is_file(file) {
        return Ok(());
    }
    if let (Some(text), Some(facts)) = (tree.read(file)?, tree.metadata(file).cloned()) {
        let changed = change(&String::from_utf8_lossy(&text));
        if changed.as_bytes() != text {
            tree.replace_file(file, changed.into_bytes(), facts)?;
        }
    }
    Ok(())
}

/// The text without the lines that begin with one of `settings`, and without the indented lines that continue them.
fn without_settings(text: &str, settings: &[&str]) -> String {
    let mut removing = false;
    let kept = text.split_inclusive('\n').filter(|line| {
        let continues = line.starts_with([' ', '\t']);
        removing = (continues && removing) || settings.iter().any(|start| line.starts_with(start));
        !removing
    });
    kept.collect()
}

/// Removes links to removed files, and links to such links.
fn remove_links_to(tree: &mut LayeredTree, mut gone: Vec<String>) {
    while !gone.is_empty() {
        let leads_there =
            |path: &&str| tree.link_target(path).is_some_and(|target| gone.contains(&resolved(path, target)));
        let links: Vec<String> = tree.paths().filter(leads_there).map(str::to_owned).collect();
        for link in &links {
            tree.remove(link);
        }
        gone = links;
    }
}

/// The path that a link leads to, from its text.
fn resolved(link: &str, target: &str) -> String {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, end)) => path
            .strip_prefix(start)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|name| !name.contains('/')),
    }
}

/// Sets the third field of shadow(5), the day of the last change, to `day` where it is later.
fn with_day(text: &str, day: u64) -> String {
    let line = |line: &str| {
        let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        if let Some(changed) = fields.get_mut(2)
            && changed.parse::<u64>().is_ok_and(|changed| changed > day)
        {
            *changed = day.to_string();
        }
        fields.join(":")
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_leftovers_go_with_the_links_to_them() {
        let mut tree = LayeredTree::new();
        for file in [
            "etc/ssl/private/ssl-cert-snakeoil.key",
            "etc/ssl/certs/ssl-cert-snakeoil.pem",
            "var/log/dpkg.log",
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/sshd_config",
        ] {
            tree.insert_file(file, 0o600, *b"x").unwrap();
        }
        tree.insert_symlink("etc/ssl/certs/a1b2.0", "ssl-cert-snakeoil.pem").unwrap();
        tree.insert_symlink("etc/dovecot/private/dovecot.key", "/etc/ssl/private/ssl-cert-snakeoil.key")
            .unwrap();
        tree.insert_symlink("etc/dovecot/key", "private/../private/dovecot.key").unwrap();
        tree.insert_symlink("etc/dovecot/other", "../ssh/sshd_config").unwrap();
        apply(&mut tree, 0).unwrap();
        let left: Vec<&str> =
            tree.paths().filter(|path| !tree.is_directory(path) || tree.is_file(path)).collect();
        assert_eq!(left, ["etc/dovecot/other", "etc/ssh/sshd_config"]);
    }

    #[test]
    fn postfix_takes_the_nodes_names() {
        let mut tree = LayeredTree::new();
        let text = "# postfix\nmyhostname = desk.example.org,\n  more\nmyorigin = /etc/mailname\nmydestination = $myhostname,\n  localhost\nmyhostname_x = y\n";
        tree.insert_file("etc/postfix/main.cf", 0o640, text.as_bytes().to_vec()).unwrap();
        tree.insert_file("etc/mailname", 0o644, *b"desk.example.org\n").unwrap();
        apply(&mut tree, 0).unwrap();
        assert!(!tree.contains("etc/mailname"));
        let left = tree.read("etc/postfix/main.cf").unwrap().unwrap();
        assert_eq!(left, b"# postfix\nmydestination = $myhostname,\n  localhost\nmyhostname_x = y\n");
        assert_eq!(tree.metadata("etc/postfix/main.cf").unwrap().mode, 0o640);
    }

    #[test]
    fn a_password_was_changed_no_later_than_the_build_time() {
        let text = "root:*:20786:0:99999:7:::\nold:*:100:0:99999:7:::\ngroup:!::\n\n";
        assert_eq!(
            with_day(text, 20_000),
            "root:*:20000:0:99999:7:::\nold:*:100:0:99999:7:::\ngroup:!::\n\n"
        );
    }
}
