//! What depmod(8) makes: `modules.dep` (hard dependencies), `modules.softdep` (soft ones, which name modules or
//! aliases, see modprobe.d(5)), `modules.alias` and `modules.builtin`. Without the soft ones a mount dies: ext4 reaches
//! crc32c only through the alias `crypto-crc32c`.

use super::ModulesError;
use crate::beneath::PathProblem;
use crate::input::read_limited;
use crate::limits;
use crate::site::SiteFolder;
use crate::width::to_u64;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

/// A module's name as the kernel writes it: with `_` where its file may have `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleName(pub(super) String);

impl ModuleName {
    /// The name of the module that `text` refers to, with `-` or `_`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.replace('-', "_"))
    }

    fn of_file(path: &str) -> Self {
        let file = path.rsplit('/').next().unwrap_or(path);
        Self::new(file.split_once(".ko").map_or(file, |(name, _)| name))
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The indexes of depmod for one kernel.
#[derive(Debug, Default)]
pub struct ModuleIndex {
    release: String,
    pub(super) files: BTreeMap<ModuleName, Dependencies>,
    builtin: BTreeSet<ModuleName>,
    aliases: BTreeMap<ModuleName, Vec<ModuleName>>,
}

#[derive(Debug, Default)]
pub(super) struct Dependencies {
    /// The path of the module, relative to the folder of the kernel release.
    pub(super) path: String,
    pub(super) hard: Vec<ModuleName>,
    pub(super) before: Vec<ModuleName>,
    after: Vec<ModuleName>,
    /// The devices that the module drives, as `bus:pattern`.
    pub(super) devices: Vec<String>,
}

impl ModuleIndex {
    /// Reads the indexes in `lib/modules/RELEASE`. The folder comes from a package: an index may be huge, a link to
    /// anything, or not a file at all.
    pub fn read(folder: &SiteFolder) -> Result<Self, ModulesError> {
        let read = |name: &str| {
            let bytes = folder.file(name).and_then(|file| read_limited(file, &limits::MODULE_INDEX));
            let text =
                bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| PathProblem::NotText.into()));
            text.map_err(|source| ModulesError::Index { path: folder.path_of(name), source })
        };
        let path = folder.path();
        let release = path.file_name().ok_or_else(|| ModulesError::Index {
            path: path.clone(),
            source: io::Error::new(io::ErrorKind::InvalidInput, "its name is not a kernel release"),
        })?;
        let mut index = Self { release: release.to_string_lossy().into_owned(), ..Self::default() };
        index.take_dependencies(&read("modules.dep")?);
        index.take_soft_dependencies(&read("modules.softdep")?);
        index.take_aliases(&read("modules.alias")?);
        index.builtin = read("modules.builtin")?.lines().map(ModuleName::of_file).collect();
        Ok(index)
    }

    fn take_dependencies(&mut self, text: &str) {
        for (path, needs) in text.lines().filter_map(|line| line.split_once(':')) {
            // modules.dep lists the nearest dependency first and the deepest last.
            let hard = needs.split_whitespace().rev().map(ModuleName::of_file).collect();
            let entry = Dependencies { path: path.to_owned(), hard, ..Dependencies::default() };
            self.files.insert(ModuleName::of_file(path), entry);
        }
    }

    /// Words before the first `pre:` or `post:` are ignored, as by modprobe.
    fn take_soft_dependencies(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if words.next() != Some("softdep") {
                continue;
            }
            let Some(module) = words.next().and_then(|name| self.files.get_mut(&ModuleName::new(name)))
            else {
                continue;
            };
            let mut list = None;
            for word in words {
                match word {
                    "pre:" => list = Some(&mut module.before),
                    "post:" => list = Some(&mut module.after),
                    name => {
                        if let Some(list) = list.as_mut() {
                            list.push(ModuleName::new(name));
                        }
                    }
                }
            }
        }
    }

    fn take_aliases(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(alias), Some(module), None) =
                (words.next(), words.next(), words.next(), words.next())
            {
                let module = ModuleName::new(module);
                if let Some(known) = self.files.get_mut(&module).filter(|_| bus(alias).is_some()) {
                    known.devices.push(alias.to_owned());
                }
                self.aliases.entry(ModuleName::new(alias)).or_default().push(module);
            }
        }
    }

    /// The modules that `name` refers to: itself, or those that have it as an alias.
    pub(super) fn resolve(&self, name: &ModuleName) -> Vec<ModuleName> {
        if self.files.contains_key(name) {
            return vec![name.clone()];
        }
        self.aliases.get(name).cloned().unwrap_or_default()
    }

    /// `wanted` and all modules that they need, each after those that it needs; built-in ones are left out.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<ModuleName>, ModulesError> {
        let mut walk = Walk::default();
        for name in wanted.iter().map(|name| ModuleName::new(name)) {
            let modules = self.resolve(&name);
            if modules.is_empty() && !self.builtin.contains(&name) {
                return Err(ModulesError::Unknown { name, release: self.release.clone() });
            }
            for module in modules {
                walk.from(self, &module)?;
            }
        }
        Ok(walk.order)
    }
}

/// A walk along dependencies. It is not recursive: the package's own lists decide how deep it goes.
#[derive(Debug, Default)]
struct Walk {
    seen: BTreeSet<ModuleName>,
    order: Vec<ModuleName>,
    followed: u64,
}

#[derive(Debug)]
enum Next {
    /// A module with the modules before and after it.
    Module(ModuleName),
    /// Only the module; those before it were added.
    Add(ModuleName),
}

impl Walk {
    fn from(&mut self, index: &ModuleIndex, start: &ModuleName) -> Result<(), ModulesError> {
        let mut todo = vec![Next::Module(start.clone())];
        while let Some(next) = todo.pop() {
            let name = match next {
                Next::Add(name) => {
                    self.order.push(name);
                    continue;
                }
                Next::Module(name) => name,
            };
            let Some(module) = index.files.get(&name) else { continue };
            if !self.seen.insert(name.clone()) {
                continue;
            }
            let before = todo.len();
            for soft in &module.before {
                self.put(index.resolve(soft), &mut todo)?;
            }
            self.put(module.hard.clone(), &mut todo)?;
            todo.push(Next::Add(name));
            for soft in &module.after {
                self.put(index.resolve(soft), &mut todo)?;
            }
            // The last element is taken first.
            todo[before..].reverse();
        }
        Ok(())
    }

    fn put(&mut self, names: Vec<ModuleName>, todo: &mut Vec<Next>) -> Result<(), ModulesError> {
        self.followed = self.followed.saturating_add(to_u64(names.len()));
        limits::MODULE_LINKS.check(self.followed)?;
        todo.extend(names.into_iter().map(Next::Module));
        Ok(())
    }
}

/// The bus of a device alias; none if the alias is not one of a device (`fs-ext4`, `crypto-crc32c`, a processor
/// feature).
pub(super) fn bus(alias: &str) -> Option<&str> {
    alias.split_once(':').map(|(bus, _)| bus).filter(|bus| !matches!(*bus, "cpu" | "devname"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::kernel;
    use super::*;

    fn closure(wanted: &[&str]) -> Result<Vec<String>, ModulesError> {
        let folder = kernel();
        let folder = SiteFolder::open(&folder.path().join("6.1.0-test")).unwrap();
        let index = ModuleIndex::read(&folder)?;
        Ok(index.closure(wanted)?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn soft_dependencies_come_first_through_their_aliases() {
        assert_eq!(closure(&["ext4"]).unwrap(), ["crc32c_intel", "crc32c_generic", "jbd2", "crc16", "ext4"]);
    }

    #[test]
    fn followers_come_after_and_stray_words_mean_nothing() {
        assert_eq!(closure(&["usb-storage"]).unwrap(), ["scsi", "usb_storage", "late"]);
    }

    #[test]
    fn a_module_twice_in_the_list_is_loaded_once_and_a_builtin_one_never() {
        assert_eq!(closure(&["jbd2", "rtc_cmos", "jbd2"]).unwrap(), ["jbd2"]);
    }

    #[test]
    fn an_unknown_module_is_an_error_that_names_it() {
        let error = closure(&["ext4", "warp_drive"]).unwrap_err();
        assert!(
            matches!(&error, ModulesError::Unknown { name, release }
                if name.0 == "warp_drive" && release == "6.1.0-test"),
            "{error}"
        );
    }
}
