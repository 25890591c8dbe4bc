//! Mounts (proc(5), `/proc/pid/mountinfo`) and swap of the running system, and the devices that they are on.

use super::kernel::{Kernel, names};
use super::number::Number;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The number of the file system: that of a device, or an anonymous one.
    pub(super) number: Number,
    pub(super) place: PathBuf,
    pub(super) kind: String,
    pub(super) source: String,
    /// The options of the file system, not of the mount.
    pub(super) options: String,
}

/// All mounts and swap of the running system, with the devices that each is on.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) mounts: Vec<(Mount, BTreeSet<Number>)>,
    pub(super) swaps: Vec<BTreeSet<Number>>,
}

/// The devices of a file system that spans several.
type Members = BTreeSet<Number>;

impl Mount {
    /// Parses a line. It has any number of optional fields before a single dash.
    fn parse(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(2);
        let number = fields.next()?.parse().ok()?;
        let place = fields.nth(1)?;
        let mut fields = after.split(' ');
        Some(Self {
            number,
            place: unescape(place).into(),
            kind: fields.next()?.to_owned(),
            source: unescape(fields.next()?),
            options: fields.next().unwrap_or_default().to_owned(),
        })
    }

    /// The folders that an overlay is made of (`lowerdir`, with `:` between them, and `upperdir`).
    fn layers(&self) -> Vec<PathBuf> {
        if self.kind != "overlay" {
            return Vec::new();
        }
        let folders = self.options.split(',').filter_map(|option| {
            let (name, folders) = option.split_once('=')?;
            name.strip_suffix('+').unwrap_or(name).ends_with("dir").then_some(folders)
        });
        let folders = folders.flat_map(|folders| folders.split(':')).filter(|folder| !folder.is_empty());
        folders.map(|folder| PathBuf::from(unescape(folder))).collect()
    }
}

impl Mounts {
    /// Reads the mounts and the swap.
    pub(super) fn read(kernel: &Kernel) -> io::Result<Self> {
        let text = fs::read_to_string(kernel.proc.join("self/mountinfo"))?;
        let parse = |line: &str| {
            let strange =
                || io::Error::new(io::ErrorKind::InvalidData, format!("cannot parse the mount: {line}"));
            Mount::parse(line).ok_or_else(strange)
        };
        // A mount that cannot be parsed may be the one that matters.
        let mounts: Vec<Mount> = text.lines().map(parse).collect::<io::Result<_>>()?;
        let groups = groups(kernel)?;
        let resolve = |mount: &Mount| devices(kernel, &mounts, &groups, mount, 0);
        let resolved = mounts.iter().map(|mount| (mount.clone(), resolve(mount))).collect();
        let mut all = Self { mounts: resolved, swaps: Vec::new() };
        all.swaps = swaps(kernel)?.iter().map(|path| all.under(kernel, path)).collect();
        Ok(all)
    }

    /// The mount at the root folder: the last one, which covers those before it.
    pub(super) fn root(&self) -> Option<&(Mount, BTreeSet<Number>)> {
        self.mounts.iter().rev().find(|(mount, _)| mount.place == Path::new("/"))
    }

    /// The devices under a path: the path itself if it is one, or else those that its file system is on.
    pub(super) fn under(&self, kernel: &Kernel, path: &Path) -> BTreeSet<Number> {
        if let Some(number) = (kernel.lookup)(path) {
            return BTreeSet::from([number]);
        }
        let mounts = self.mounts.iter().filter(|(mount, _)| path.starts_with(&mount.place));
        let nearest = mounts.max_by_key(|(mount, _)| mount.place.components().count());
        nearest.map(|(_, devices)| devices.clone()).unwrap_or_default()
    }
}

/// The devices that a mount is on: the one with its number, the one that is its source, all that share a file system
/// with these, and those of an overlay's layers.
fn devices(
    kernel: &Kernel,
    mounts: &[Mount],
    groups: &[Members],
    mount: &Mount,
    depth: usize,
) -> BTreeSet<Number> {
    let own = Some(mount.number).filter(|number| !number.is_anonymous());
    let source = Some(Path::new(&mount.source)).filter(|path| path.is_absolute());
    let named: Members = own.into_iter().chain(source.and_then(&kernel.lookup)).collect();
    let members = groups.iter().filter(|group| !group.is_disjoint(&named)).flatten();
    let mut devices: Members = named.iter().chain(members).copied().collect();
    // The layers of an overlay may be on other overlays.
    if depth < mounts.len() {
        for layer in mount.layers() {
            let others = mounts.iter().filter(|other| *other != mount && layer.starts_with(&other.place));
            if let Some(nearest) = others.max_by_key(|other| other.place.components().count()) {
                devices.extend(self::devices(kernel, mounts, groups, nearest, depth + 1));
            }
        }
    }
    devices
}

/// The members of each mounted file system that spans several devices (`/sys/fs/btrfs/UUID/devices/NAME`).
fn groups(kernel: &Kernel) -> io::Result<Vec<Members>> {
    let folder = kernel.sys.join("fs/btrfs");
    let mut groups = Vec::new();
    for name in names(&folder)? {
        let devices = folder.join(name).join("devices");
        let numbers = names(&devices)?.into_iter().filter_map(|device| {
            fs::read_to_string(devices.join(device).join("dev")).ok()?.parse::<Number>().ok()
        });
        groups.push(numbers.collect());
    }
    Ok(groups)
}

/// The files and devices that the kernel swaps to. A kernel without swap does not have this list.
fn swaps(kernel: &Kernel) -> io::Result<Vec<PathBuf>> {
    let text = match fs::read_to_string(kernel.proc.join("swaps")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let paths = text.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    Ok(paths.map(|path| PathBuf::from(unescape(path))).collect())
}

/// Undoes the kernel's escapes: it writes blanks, `#` and backslashes in paths as octal numbers.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\043", "#"), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(path.to_owned(), |path, (escaped, plain)| path.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_any_number_of_optional_fields_are_read() {
        for optional in ["", "master:1 ", "shared:1 propagate_from:2 unbindable "] {
            let line = format!("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime {optional}- ext3 /dev/a\\040b rw,x=1");
            let mount = Mount::parse(&line).unwrap();
            assert_eq!(mount.number.to_string(), "98:0");
            assert_eq!((mount.place, mount.source), ("/mnt 2".into(), "/dev/a b".to_owned()));
            assert_eq!((mount.kind.as_str(), mount.options.as_str()), ("ext3", "rw,x=1"));
        }
        let without_source = "36 35 0:30 / /\\043 rw - tmpfs  rw";
        let mount = Mount::parse(without_source).unwrap();
        assert_eq!((mount.source.as_str(), mount.place), ("", "/#".into()));
        for line in ["", "36 35", "36 35 98:0 / /mnt rw", "36 35 no / /mnt rw - ext3 x rw"] {
            assert_eq!(Mount::parse(line), None, "{line}");
        }
    }

    #[test]
    fn an_overlay_names_its_layers() {
        let line = "1 0 0:30 / / rw - overlay overlay \
                    rw,lowerdir=/a:/b\\040c,upperdir=/u/up,workdir=/u/work,index=off";
        let layers = Mount::parse(line).unwrap().layers();
        assert_eq!(layers, ["/a", "/b c", "/u/up", "/u/work"].map(PathBuf::from));
        let single = "1 0 0:30 / / rw - overlay overlay rw,lowerdir+=/a,lowerdir+=/b";
        assert_eq!(Mount::parse(single).unwrap().layers(), ["/a", "/b"].map(PathBuf::from));
        assert!(Mount::parse("1 0 0:30 / / rw - tmpfs x rw,adir=/a").unwrap().layers().is_empty());
    }
}
