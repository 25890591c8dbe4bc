//! Paths in the initramfs, on the secret partition and in the running system.

/// In the initramfs: the loader configuration ([`crate::loader_config`]).
pub const TRUST: &str = "/psyops/trust";
/// In the initramfs: the kernel modules in loading order ([`crate::modules`]).
pub const MODULES: &str = "/psyops/modules";
/// In the initramfs: the modules of network cards, if the site allows rescue by SSH.
pub const RESCUE_MODULES: &str = "/psyops/rescue-modules";
/// In the seal: fixed addresses for rescue, one line a card: hardware address or `*`, address, gateway or `-`.
pub const RESCUE_NETWORK: &str = "rescue-network";
/// In the initramfs: a seal that travels with it (network boot, direct kernel boot).
pub const INITRAMFS_SEAL: &str = "/node.seal";
/// In the initramfs: the last entry; if it is missing, the kernel unpacked only a part.
pub const INITRAMFS_END: &str = "/psyops/end";
/// In the initramfs: busybox for the rescue shell.
pub const INITRAMFS_BUSYBOX: &str = "/bin/busybox";
/// In the initramfs, where rescue has no shell: the reader of commands, a link to the loader, and root's shell for SSH.
pub const COMMAND_READER: &str = "/bin/psyops-rescue";
/// In the initramfs, where rescue has no shell: the loader as the script that udhcpc runs.
pub const LEASE_READER: &str = "/bin/psyops-lease";
/// In the initramfs: where the root is mounted.
pub const NEW_ROOT: &str = "/sysroot";

/// The mapped device that the root is read from, as device-mapper names it.
pub const ROOT_MAPPING: &str = "psyops-root";

/// The secret partition's file system label.
pub const SECRET_LABEL: &str = "psyops-secret";
/// On the secret partition: the node's age identity.
pub const AGE_KEY: &str = "age.key";

/// A folder that only root can enter, in the initramfs and in the running system: for mounts of the loader and agent.
pub const PRIVATE: &str = "/run/psyops/private";
/// Where the secret partition stays mounted, read-only, under [`PRIVATE`]: for the loader and the agent.
pub const SECRET_PARTITION: &str = "/run/psyops/private/secret-partition";
/// The seal's files that are stored on the secret partition, in memory and from the seal: for roles and commands.
pub const SECRETS: &str = "/run/psyops/secrets";
/// State of this boot, in memory.
pub const RUN: &str = "/run/psyops";
/// Where files of the seal that are stored in memory are kept, under [`RUN`].
pub const MEMORY_SECRETS: &str = "/run/psyops/memory";
/// The opened seal's manifest, for the agent.
pub const MANIFEST: &str = "/run/psyops/manifest";
/// The loader configuration ([`TRUST`]) of the running system, for the agent: the initramfs itself is gone by then.
pub const RUNNING_TRUST: &str = "/run/psyops/trust";
/// The boot report as JSON.
pub const BOOT_REPORT: &str = "/run/psyops/boot.json";
/// The loader's log.
pub const BOOT_LOG: &str = "/run/psyops/boot.log";
/// Why the last failed boot failed, as JSON, if this boot is the first that succeeded since then.
pub const LAST_FAILURE: &str = "/run/psyops/last-failure.json";
/// How this boot went, in a few lines for a user who logs in: `pam_motd(8)` shows the files in this folder.
pub const MESSAGE_OF_THE_DAY: &str = "/run/motd.d/psyops";
/// A word for the shell's prompt if the node is degraded; otherwise an empty file.
pub const PROMPT: &str = "/run/psyops/prompt";
/// The status of the configuration run as JSON.
pub const STATUS: &str = "/run/psyops/status.json";
/// The node's settings (roles, variables, network cards), an entry of the seal.
pub const NODE: &str = "/run/psyops/node.toml";

/// The agent in the root.
pub const AGENT: &str = "/usr/lib/psyops/psyops-agent";
/// Roles and overlays of the site in the root, the same for all nodes.
pub const SITE: &str = "/usr/share/psyops/site";
/// In that folder: a digest of all of it, in one line. Commands of roles get it as `PSYOPS_SITE_REV`.
pub const SITE_REVISION: &str = "/usr/share/psyops/site/revision";
/// Which init the root has: one word.
pub const INIT_KIND: &str = "/usr/share/psyops/init";
/// Where the `data` partition is mounted, if the node has one: files that outlive a reboot.
pub const DATA: &str = "/data";
/// Under [`DATA`]: the folder of psyopsOS's own files.
pub const ON_DATA: &str = "psyops";
/// In that folder: the highest generation and security epoch that the node has run with ([`crate::highest_seen`]).
pub const HIGHEST_SEEN: &str = "highest-seen";
/// The folder of logs.
pub const LOGS: &str = "/var/log/psyops";
