//! The files of the initramfs for rescue: none if rescue is off, a shell with tools or only the commands, and an SSH
//! server with drivers of network cards if the site has keys for it.

use crate::base::BaseSystem;
use crate::boot::modules::{self, ModuleFile};
use crate::error::Error;
use crate::input::read_input;
use crate::overlays::OVERLAYS;
use crate::site::Site;
use handoff::modules::Module;
use handoff::paths;
use handoff::rescue::{RescueAccess, RescuePolicy, SHELL_COMMANDS};

/// The drivers of network cards in servers, desktops, small machines and virtual ones, and of USB adapters.
const NETWORK_CARDS: [&str; 15] = [
    "virtio_net",
    "vmxnet3",
    "e1000",
    "e1000e",
    "igb",
    "igc",
    "r8169",
    "8139too",
    "tg3",
    "r8152",
    "ax88179_178a",
    "asix",
    "smsc95xx",
    "cdc_ether",
    "cdc_ncm",
];
/// The overlay that goes into an initramfs with an SSH server.
const OVERLAY: &str = "rescue";

/// A file or link of the initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RescueFile {
    /// The absolute path in the initramfs.
    pub path: String,
    /// Its kind and content.
    pub what: RescueContent,
}

/// The kind and content of a [`RescueFile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RescueContent {
    /// A file for programs to read.
    Data(Vec<u8>),
    /// An executable file.
    Program(Vec<u8>),
    /// A symbolic link with this target.
    Link(String),
}

/// All rescue files of a site; `loaded` are the modules that every boot loads.
pub fn files(site: &Site, base: &BaseSystem, loaded: &[ModuleFile]) -> Result<Vec<RescueFile>, Error> {
    let policy = &site.rescue;
    let mut files = own(policy);
    if policy.has_login() {
        files.push(program("/sbin/e2fsck", read_input(&base.e2fsck)?));
    }
    if needs_busybox(policy) {
        files.push(program(paths::INITRAMFS_BUSYBOX, read_input(&base.busybox)?));
    }
    if !policy.ssh_keys.is_empty() {
        for (path, source) in &base.ssh_server {
            files.push(program(path, read_input(source)?));
        }
        let drivers = modules::collect(&base.modules_dir, &NETWORK_CARDS, &[])?;
        let more: Vec<ModuleFile> = drivers
            .into_iter()
            .filter(|driver| loaded.iter().all(|module| module.entry.name != driver.entry.name))
            .collect();
        let list: Vec<Module> = more.iter().map(|driver| driver.entry.clone()).collect();
        files.push(data(paths::RESCUE_MODULES, handoff::modules::encode(&list).into_bytes()));
        files.extend(more.into_iter().map(|driver| data(&driver.entry.file, driver.content)));
    }
    Ok(files)
}

/// Whether busybox is needed: as the shell, or for the loader to set up network cards.
fn needs_busybox(policy: &RescuePolicy) -> bool {
    let has_shell = policy.access == RescueAccess::Shell && policy.has_login();
    has_shell || !policy.ssh_keys.is_empty()
}

/// The links to the loader and to a shell, and the files that the SSH server and the DHCP client read. If users may
/// only run commands, no file among these is a shell or starts one.
fn own(policy: &RescuePolicy) -> Vec<RescueFile> {
    let mut files = Vec::new();
    let by_network = !policy.ssh_keys.is_empty();
    match policy.access {
        _ if !policy.has_login() => {}
        RescueAccess::Shell => {
            files.push(link("/bin/sh", "busybox"));
            // The shell's own commands are links to the loader.
            files.extend(SHELL_COMMANDS.map(|(name, _)| link(&format!("/bin/{name}"), "/init")));
            if by_network {
                files.extend(overlay());
            }
        }
        RescueAccess::Commands => {
            let reader = paths::COMMAND_READER;
            files.push(link(reader, "/init"));
            if by_network {
                files.push(data("/etc/passwd", format!("root:x:0:0:root:/root:{reader}\n").into_bytes()));
                files.push(data("/etc/shells", format!("{reader}\n").into_bytes()));
                files.push(link(paths::LEASE_READER, "/init"));
            }
        }
    }
    files
}

/// The files of the overlay for an initramfs with an SSH server and a shell.
fn overlay() -> Vec<RescueFile> {
    let folders = OVERLAYS.get_dir(OVERLAY).into_iter().flat_map(include_dir::Dir::dirs);
    let file = |file: &include_dir::File<'_>| {
        let path = format!("/{}", file.path().strip_prefix(OVERLAY).unwrap_or(file.path()).display());
        let content = file.contents().to_vec();
        if content.starts_with(b"#!") { program(&path, content) } else { data(&path, content) }
    };
    folders.flat_map(include_dir::Dir::files).map(file).collect()
}

fn data(path: &str, content: Vec<u8>) -> RescueFile {
    RescueFile { path: path.to_owned(), what: RescueContent::Data(content) }
}

fn program(path: &str, content: Vec<u8>) -> RescueFile {
    RescueFile { path: path.to_owned(), what: RescueContent::Program(content) }
}

fn link(path: &str, target: &str) -> RescueFile {
    RescueFile { path: path.to_owned(), what: RescueContent::Link(target.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::rescue::ConsoleAccess;

    fn names(policy: &RescuePolicy) -> Vec<String> {
        own(policy).into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn with_commands_only_nothing_is_a_shell_or_names_one() {
        let password = ConsoleAccess::Password("$argon2id$".into());
        let by_console =
            RescuePolicy { access: RescueAccess::Commands, console: password, ..RescuePolicy::default() };
        assert_eq!(names(&by_console), ["/bin/psyops-rescue"]);
        assert!(!needs_busybox(&by_console), "no shell is in that initramfs at all");
        let by_ssh = RescuePolicy { ssh_keys: vec!["ssh-ed25519 AAAA a".into()], ..by_console };
        assert_eq!(names(&by_ssh), ["/bin/psyops-rescue", "/etc/passwd", "/etc/shells", "/bin/psyops-lease"]);
        for file in own(&by_ssh) {
            match file.what {
                RescueContent::Data(content) => {
                    let text = String::from_utf8(content).unwrap();
                    assert!(text.ends_with("/bin/psyops-rescue\n") && !text.contains("sh\n"), "{text}");
                }
                RescueContent::Link(target) => assert_eq!(target, "/init"),
                RescueContent::Program(_) => panic!("{} is a program", file.path),
            }
        }
    }

    #[test]
    fn with_a_shell_all_programs_are_packed_and_without_a_login_none() {
        let shell = RescuePolicy { console: ConsoleAccess::Shell, ..RescuePolicy::default() };
        assert_eq!(
            names(&shell),
            ["/bin/sh", "/bin/status", "/bin/log", "/bin/retry", "/bin/disks", "/bin/secrets"]
        );
        assert!(needs_busybox(&shell));
        for access in [RescueAccess::Shell, RescueAccess::Commands] {
            let without_login = RescuePolicy { access, ..RescuePolicy::default() };
            assert!(names(&without_login).is_empty() && !needs_busybox(&without_login));
        }
    }
}
