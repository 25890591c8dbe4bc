//! The exit codes in the help of each command. `docs/reference/exit-codes.md` has the same codes and texts; the test
//! `exit_codes` compares them.

use clap::Command;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// An exit code and its meaning.
type Meaning = (u8, &'static str);

/// The codes of every command.
const COMMON: [Meaning; 9] = [
    (0, "done"),
    (1, "failed for another reason"),
    (2, "wrong use: an unknown option, a missing argument, or a wrong `PSYOPS_LOG`"),
    (65, "wrong content: a site file, key, seal, package or image"),
    (66, "not found or not readable: a node or file that you named"),
    (69, "a program of this machine is missing, or the network or archive cannot be reached"),
    (73, "the output cannot be created, or the disk is full"),
    (74, "reading or writing failed"),
    (77, "refused: it could destroy something, or use a key that is not accepted"),
];

/// The codes of commands that write disks. With 80 to 91 nothing was written.
const DISK: [Meaning; 15] = [
    (80, "not a disk and not a file"),
    (81, "a partition instead of a whole disk, or the reverse"),
    (82, "the disk is in use"),
    (83, "the disk has the running system on it"),
    (84, "the disk is too small"),
    (85, "the disk is read-only"),
    (86, "the disk has the image on it"),
    (87, "the disk is neither removable nor on USB, and --fixed-disk is not given"),
    (88, "it is the stick of another node, and --reassign is not given"),
    (89, "the disk has other content, and --overwrite is not given"),
    (90, "the serial number is not confirmed"),
    (91, "the sectors of the disk are not 512 bytes"),
    (92, "the stick is bad: it fails, or became very slow"),
    (93, "the stick is a fake: it has less room than it claims"),
    (94, "the stick was unplugged, or the run was interrupted"),
];

const BOOT: &[Meaning] = &[(0, "the boot was ok"), (1, "the boot was not ok, or the timeout was reached")];
const DECLINED: Meaning = (77, "nothing was written: you answered no, or there is no terminal and no --yes");

/// The codes of a command that mean something else there, or are its own. `command` is its path below `psyops`.
fn own(command: &str) -> &'static [Meaning] {
    match command {
        "flash" => &[(0, "written and read back"), (65, "the image is damaged; nothing was written")],
        "run" | "demo" => BOOT,
        "check" => &[(0, "no mistakes"), (65, "mistakes, all of which are listed")],
        "diff" => &[(0, "both are the same"), (1, "they differ"), (65, "not an image, or a damaged one")],
        "verify" => &[
            (0, "whole, and current if --site is given"),
            (1, "damaged"),
            (3, "whole, but not current"),
            (65, "not an image; or --identity is not an identity, or does not open the seal"),
        ],
        "verify-build" => {
            &[(0, "every part is the same"), (1, "a part differs"), (65, "not an image of this site")]
        }
        "inspect" => &[(0, "shown, even if parts are damaged"), (65, "not an image")],
        "ls" | "cat" => {
            &[(65, "the part is damaged, or it is not an image"), (66, "there is no such file in the image")]
        }
        "trust show" | "trust accept" => {
            &[(0, "the site has the accepted keys"), (77, "the site differs from the accepted keys")]
        }
        "lock update" | "lock sign" => &[DECLINED],
        _ => &[],
    }
}

/// Whether a command has the codes of [`DISK`], too.
fn writes_disks(command: &str) -> bool {
    matches!(command, "flash" | "build-image" | "mksecrets")
}

/// All codes of a command and their meanings, in order. `command` is its path below `psyops`, as in `lock update`.
#[must_use]
pub fn of(command: &str) -> BTreeMap<u8, &'static str> {
    let disk: &[Meaning] = if writes_disks(command) { &DISK } else { &[] };
    let mut codes: BTreeMap<u8, &'static str> = COMMON.into_iter().collect();
    codes.extend(disk.iter().chain(own(command)).copied());
    if command == "cat" {
        codes.insert(77, "the file is not plain text, and the output is a terminal");
    }
    codes
}

/// Adds the exit codes to the help of a program and of all its commands.
#[must_use]
pub fn add(program: Command) -> Command {
    // `build-image` and `mksecrets` are commands and programs.
    let path = if program.has_subcommands() { String::new() } else { program.get_name().to_owned() };
    add_below(program, &path)
}

fn add_below(mut command: Command, path: &str) -> Command {
    for below in command.get_subcommands_mut() {
        let path = format!("{path} {}", below.get_name()).trim_start().to_owned();
        *below = add_below(std::mem::take(below), &path);
    }
    let mut text = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
    text.push_str("Exit codes:");
    for (code, meaning) in of(path) {
        let _ = write!(text, "\n  {code:<4}{meaning}");
    }
    command.after_help(text)
}
