//! Reads which applets a busybox has from its program file. The program is never run: it comes from a package.
//!
//! busybox's build (`applets/applet_tables.c`) writes two tables into the program's constants, which no `strip`
//! removes: `applet_names`, the names in the order of `strcmp`, each ended by a NUL, all ended by another one; and, in
//! a busybox with an installer, `applet_install_loc`, four bits for each name that say in which folder it belongs.
//! Names that busybox has in every version and whose folder never changed tell that table from other bytes.

use object::{Object as _, ObjectSection as _};

/// The start of `applet_names`: `[` and `[[` come first in the order of their bytes.
const FIRST_NAMES: &[u8] = b"[\0[[\0";
/// Limits for what is accepted as a table of names. Debian's busybox has 269 applets (12) and 275 (13).
const FEWEST: usize = 50;
const MOST: usize = 1000;
const LONGEST_NAME: usize = 31;
/// Applets by which `applet_install_loc` is known: their folders are the same since busybox 1.20.
const KNOWN: [(&str, Location); 7] = [
    ("awk", Location::UsrBin),
    ("cat", Location::Bin),
    ("chroot", Location::UsrSbin),
    ("linuxrc", Location::Root),
    ("ls", Location::Bin),
    ("mkswap", Location::Sbin),
    ("sh", Location::Bin),
];

/// An applet and the folder it belongs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applet {
    pub(super) name: String,
    pub(super) location: Location,
}

/// The folder of an applet (`bb_install_loc_t` of busybox), before /usr was merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Location {
    Root,
    Bin,
    Sbin,
    UsrBin,
    UsrSbin,
}

/// Why the applets of a busybox cannot be read from its file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBusybox {
    /// The file is not an ELF program with a section of constants: the error from the ELF reader.
    #[error("it is not an ELF program with constants: {0}")]
    NotElf(String),
    /// The constants have no table of names, or more than one: how many were found.
    #[error("it has {0} tables of applet names, expected one")]
    Names(usize),
    /// A table of names that busybox's build did not write.
    #[error("its table of applet names is damaged at name {number} ({name})")]
    BadName {
        /// The number of the name in the table, counted from 1.
        number: usize,
        /// The name, with unusual characters escaped.
        name: String,
    },
    /// Fewer than `FEWEST` or more than `MOST` names: how many.
    #[error("it has {0} applets, expected {FEWEST} to {MOST}")]
    Count(usize),
    /// The table of folders is missing, or more than one place looks like it: how many were found.
    #[error("it has {0} tables of the applets' folders, expected one")]
    Locations(usize),
}

impl Location {
    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Root),
            1 => Some(Self::Bin),
            2 => Some(Self::Sbin),
            3 => Some(Self::UsrBin),
            4 => Some(Self::UsrSbin),
            _ => None,
        }
    }

    /// The applet's folder on a system with a merged /usr. `linuxrc`, which belongs in the root itself, is an init.
    pub(super) const fn merged(self) -> &'static str {
        match self {
            Self::Bin | Self::UsrBin => "usr/bin",
            Self::Root | Self::Sbin | Self::UsrSbin => "usr/sbin",
        }
    }

    /// The folder as `busybox --list-full` prints it.
    #[cfg(test)]
    const fn printed(self) -> &'static str {
        match self {
            Self::Root => "",
            Self::Bin => "bin/",
            Self::Sbin => "sbin/",
            Self::UsrBin => "usr/bin/",
            Self::UsrSbin => "usr/sbin/",
        }
    }
}

/// Reads the applets of a busybox from its program file `program`, sorted by name.
pub(super) fn read(program: &[u8]) -> Result<Vec<Applet>, BadBusybox> {
    let elf = object::File::parse(program).map_err(|error| BadBusybox::NotElf(error.to_string()))?;
    let section =
        elf.section_by_name(".rodata").ok_or_else(|| BadBusybox::NotElf("no section .rodata".into()))?;
    // Not `uncompressed_data`: the program uses these constants in place, so they cannot be compressed.
    read_constants(section.data().map_err(|error| BadBusybox::NotElf(error.to_string()))?)
}

fn read_constants(constants: &[u8]) -> Result<Vec<Applet>, BadBusybox> {
    let names = names(constants)?;
    let locations = locations(constants, &names)?;
    Ok(names.into_iter().zip(locations).map(|(name, location)| Applet { name, location }).collect())
}

fn names(constants: &[u8]) -> Result<Vec<String>, BadBusybox> {
    let starts: Vec<usize> = constants
        .windows(FIRST_NAMES.len())
        .enumerate()
        .filter(|(_, window)| *window == FIRST_NAMES)
        .map(|(start, _)| start)
        .collect();
    let &[start] = starts.as_slice() else { return Err(BadBusybox::Names(starts.len())) };
    let mut names: Vec<String> = Vec::new();
    for (number, bytes) in constants.get(start..).unwrap_or_default().split(|byte| *byte == 0).enumerate() {
        if bytes.is_empty() {
            break;
        }
        if number == MOST {
            return Err(BadBusybox::Count(number + 1));
        }
        let name = std::str::from_utf8(bytes).ok().filter(|name| is_name(name));
        let follows = |name: &&str| names.last().is_none_or(|before| before.as_str() < *name);
        let Some(name) = name.filter(follows) else {
            let name = bytes.get(..LONGEST_NAME).unwrap_or(bytes).escape_ascii().to_string();
            return Err(BadBusybox::BadName { number: number + 1, name });
        };
        names.push(name.to_owned());
    }
    if names.len() < FEWEST {
        return Err(BadBusybox::Count(names.len()));
    }
    Ok(names)
}

/// Whether this can be the name of an applet: one component of a path, of characters without a special meaning.
fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '[' | '_' | '-' | '.' | '+');
    name.len() <= LONGEST_NAME && !name.starts_with(['.', '-']) && name.chars().all(letter)
}

fn locations(constants: &[u8], names: &[String]) -> Result<Vec<Location>, BadBusybox> {
    let mut candidates =
        constants.windows(names.len().div_ceil(2)).filter_map(|bytes| locations_in(bytes, names));
    match (candidates.next(), candidates.count()) {
        (Some(locations), 0) => Ok(locations),
        (None, _) => Err(BadBusybox::Locations(0)),
        (Some(_), more) => Err(BadBusybox::Locations(more + 1)),
    }
}

/// The folders in the table at this place, if it can be that table. Only `linuxrc` belongs in the root.
fn locations_in(bytes: &[u8], names: &[String]) -> Option<Vec<Location>> {
    let halves = bytes.iter().flat_map(|byte| [byte & 0xf, byte >> 4]);
    let locations: Vec<Location> = halves.map_while(Location::from_bits).collect();
    // An odd number of names leaves four bits, which are zero.
    let padding = locations.get(names.len()..)?;
    let plausible = names.iter().zip(&locations).all(|(name, location)| {
        let known = KNOWN.iter().find(|(known, _)| known == name);
        known.map_or(*location != Location::Root, |(_, expected)| location == expected)
    });
    let whole = locations.len() == bytes.len() * 2 && padding.iter().all(|left| *left == Location::Root);
    (plausible && whole).then(|| locations.into_iter().take(names.len()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// The names in a busybox with the known applets and enough others, all in `usr/bin`.
    fn names_of_a_busybox() -> Vec<String> {
        let known = KNOWN.iter().map(|(name, _)| (*name).to_owned());
        let mut names: Vec<String> = ["[", "[["]
            .map(str::to_owned)
            .into_iter()
            .chain(known)
            .chain((0..60).map(|n| format!("x{n:02}")))
            .collect();
        names.sort();
        names
    }

    fn table_of_names(names: &[String]) -> Vec<u8> {
        names.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).chain([0]).collect()
    }

    fn table_of_locations(names: &[String]) -> Vec<u8> {
        let bits =
            |name: &String| KNOWN.iter().find(|(known, _)| known == name).map_or(3, |(_, at)| *at as u8);
        names.chunks(2).map(|two| bits(&two[0]) | two.get(1).map_or(0, bits) << 4).collect()
    }

    fn constants(names: &[String]) -> Vec<u8> {
        [
            &[0xff; 9],
            table_of_locations(names).as_slice(),
            b"usage: \xff",
            &table_of_names(names),
            &[0xff; 90],
        ]
        .concat()
    }

    #[test]
    fn both_tables_are_found_among_other_bytes() {
        let names = names_of_a_busybox();
        let applets = read_constants(&constants(&names)).unwrap();
        assert_eq!(applets.iter().map(|applet| applet.name.clone()).collect::<Vec<_>>(), names);
        let of = |name: &str| applets.iter().find(|applet| applet.name == name).unwrap().location;
        assert_eq!(
            (of("chroot"), of("linuxrc"), of("x07")),
            (Location::UsrSbin, Location::Root, Location::UsrBin)
        );
        let even: Vec<String> = names.into_iter().filter(|name| name != "x59").collect();
        assert_eq!(read_constants(&constants(&even)).unwrap().len(), even.len());
    }

    #[test]
    fn names_that_lead_elsewhere_or_break_the_order_are_refused() {
        for (bad, shown) in [
            ("x30/../y", "x30/../y"),
            ("x\u{1b}[m", "x\\x1b[m"),
            ("a", "a"),
            ("x29", "x29"),
            (&"x3".repeat(99), &"x3".repeat(99)[..31]),
        ] {
            let mut names = names_of_a_busybox();
            let place = names.iter().position(|name| name == "x30").unwrap();
            names[place] = bad.to_owned();
            let error = read_constants(&constants(&names)).unwrap_err();
            assert_eq!(error, BadBusybox::BadName { number: place + 1, name: shown.to_owned() });
        }
    }

    #[test]
    fn a_missing_or_repeated_table_is_refused() {
        let names = names_of_a_busybox();
        let whole = constants(&names);
        assert_eq!(
            read_constants(&[whole.clone(), whole.clone()].concat()).unwrap_err(),
            BadBusybox::Names(2)
        );
        assert_eq!(read_constants(&whole[..40]).unwrap_err(), BadBusybox::Names(0));
        assert_eq!(read_constants(&table_of_names(&names)).unwrap_err(), BadBusybox::Locations(0));
        let twice = [whole, table_of_locations(&names)].concat();
        assert_eq!(read_constants(&twice).unwrap_err(), BadBusybox::Locations(2));
        let few = [b"[\0[[\0".to_vec(), table_of_names(&names[60..])].concat();
        assert_eq!(read_constants(&few).unwrap_err(), BadBusybox::Count(names.len() - 60 + 2));
        let many: Vec<String> =
            ["[", "[["].map(str::to_owned).into_iter().chain((0..2000).map(|n| format!("x{n:04}"))).collect();
        assert_eq!(read_constants(&table_of_names(&many)).unwrap_err(), BadBusybox::Count(MOST + 1));
    }

    #[test]
    fn a_script_is_not_a_busybox() {
        assert!(matches!(read(b"#!/bin/sh\necho [; echo [[\n"), Err(BadBusybox::NotElf(_))));
    }

    /// Runs the busybox of this machine, which only a test may do.
    #[test]
    fn the_applets_read_are_those_that_busybox_lists() {
        let program = std::fs::read("/bin/busybox").expect("busybox is needed: install busybox-static");
        let output = Command::new("/bin/busybox").arg("--list-full").output().unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        let read: String = read(&program)
            .unwrap()
            .iter()
            .map(|applet| format!("{}{}\n", applet.location.printed(), applet.name))
            .collect();
        assert_eq!(read, listed);
    }
}
