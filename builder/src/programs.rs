//! The paths of the three programs that go into images: the selector, the loader and the agent.
//!
//! They are built for other targets than this program, so they cannot be part of it. They are searched in the folder
//! that the user names, or else where an installation has them (`../lib/psyops` beside `bin`), or else where cargo puts
//! them.

use crate::error::{Class, Classified};
use handoff::architecture::Architecture;
use std::env;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The environment variable with the folder, if no option names it.
pub const VARIABLE: &str = "PSYOPS_PROGRAMS";

/// A program that goes into images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// The file name of the program.
    pub file: &'static str,
    /// The cargo package that it is built from.
    pub package: &'static str,
    /// The cargo target that it is built for.
    pub target: &'static str,
}

/// The selector, which firmware starts from the ESP.
#[must_use]
pub fn selector(architecture: &Architecture) -> Program {
    Program { file: "selector.efi", package: "selector", target: architecture.uefi_target }
}

/// The loader, `/init` in the initramfs.
#[must_use]
pub fn loader(architecture: &Architecture) -> Program {
    Program { file: "initloader", package: "initloader", target: architecture.linux_target }
}

/// The agent in the root.
#[must_use]
pub fn agent(architecture: &Architecture) -> Program {
    Program { file: "psyops-agent", package: "agent", target: architecture.linux_target }
}

impl Program {
    /// The path where cargo puts it, under `target`: in the folder of the profile `node`.
    fn cargo_place(self) -> PathBuf {
        Path::new(self.target).join("node").join(self.file)
    }
}

/// The paths of the three programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The path of the selector.
    pub selector: PathBuf,
    /// The path of the loader.
    pub loader: PathBuf,
    /// The path of the agent.
    pub agent: PathBuf,
}

/// A program was not found.
#[derive(Debug, Error, Clone, PartialEq, Eq, classified::Cause)]
#[error("the program {} is missing; looked for it as {}", program.file, spell(tried))]
pub struct MissingProgram {
    /// The missing program.
    pub program: Program,
    /// The paths that were tried.
    pub tried: Vec<PathBuf>,
}

fn spell(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl Classified for MissingProgram {
    fn own_class(&self) -> Option<Class> {
        Some(Class::Unavailable)
    }

    fn own_advice(&self) -> Option<String> {
        let Program { package, target, .. } = self.program;
        Some(format!("build it: cargo build --package {package} --profile node --target {target}"))
    }
}

impl Programs {
    /// Finds all three programs for an architecture; `chosen` is the folder from an option.
    pub fn find(architecture: &Architecture, chosen: Option<&Path>) -> Result<Self, MissingProgram> {
        let chosen = chosen.map(Path::to_owned).or_else(|| env::var_os(VARIABLE).map(PathBuf::from));
        let executable = env::current_exe().and_then(std::fs::canonicalize).unwrap_or_default();
        Self::find_for(architecture, chosen.as_deref(), &executable)
    }

    fn find_for(
        architecture: &Architecture,
        chosen: Option<&Path>,
        executable: &Path,
    ) -> Result<Self, MissingProgram> {
        let find = |program: Program| {
            let tried = candidates(program, chosen, executable);
            tried.iter().find(|path| path.is_file()).cloned().ok_or(MissingProgram { program, tried })
        };
        Ok(Self {
            selector: find(selector(architecture))?,
            loader: find(loader(architecture))?,
            agent: find(agent(architecture))?,
        })
    }
}

fn candidates(program: Program, chosen: Option<&Path>, executable: &Path) -> Vec<PathBuf> {
    // A folder that the user names is the only one: a program from another folder would be unexpected.
    if let Some(folder) = chosen {
        return vec![folder.join(program.file)];
    }
    let mut paths = Vec::new();
    let folder = executable.parent().unwrap_or(Path::new("/"));
    if let Some(above) = folder.parent() {
        paths.push(above.join("lib/psyops").join(program.file));
    }
    // The builder is target/PROFILE/psyops, or target/PROFILE/deps/TEST.
    for target in folder.ancestors().skip(1).take(2) {
        paths.push(target.join(program.cargo_place()));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use handoff::architecture::X86_64;
    use std::fs;

    fn put(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    #[test]
    fn programs_are_found_in_each_layout() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        for program in [selector(&X86_64), loader(&X86_64), agent(&X86_64)] {
            put(&target.join(program.cargo_place()));
            put(&folder.path().join("usr/lib/psyops").join(program.file));
            put(&folder.path().join("chosen").join(program.file));
        }
        for (chosen, executable, expected) in [
            (None, "target/debug/psyops", "target/x86_64-unknown-linux-musl/node/initloader"),
            (None, "target/release/deps/boot-1", "target/x86_64-unknown-linux-musl/node/initloader"),
            (None, "usr/bin/psyops", "usr/lib/psyops/initloader"),
            (Some("chosen"), "usr/bin/psyops", "chosen/initloader"),
        ] {
            let chosen = chosen.map(|name: &str| folder.path().join(name));
            let found =
                Programs::find_for(&X86_64, chosen.as_deref(), &folder.path().join(executable)).unwrap();
            assert_eq!(found.loader, folder.path().join(expected));
        }
    }

    #[test]
    fn a_missing_program_is_reported_with_its_build_command() {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join(selector(&X86_64).file));
        let error =
            Programs::find_for(&X86_64, Some(folder.path()), Path::new("/usr/bin/psyops")).unwrap_err();
        let program = loader(&X86_64);
        assert_eq!(error, MissingProgram { program, tried: vec![folder.path().join(program.file)] });
        assert!(error.advice().unwrap().contains("--package initloader --profile node"));
    }
}
