//! Roles and overlays: folders of the site that lie in the root of every node.

use super::error::SiteError;
use super::folder::SiteFolder;
use super::overlay::OverlayManifest;
use super::package::WantedPackage;
use super::raw::RawRole;
use super::source::Source;
use handoff::name::Name;

/// What a role does on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleKind {
    /// Lays its `files/` and rendered `templates/` over the root.
    Overlay,
    /// Runs a program.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// Seconds for one attempt; `None`: as long as the stage may take.
        deadline: Option<u32>,
    },
}

/// When a role runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before init, without a network.
    Identity,
    /// After init, as a service.
    Configure,
}

/// `roles/NAME/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: Name,
    /// Its folder.
    pub dir: SiteFolder,
    /// What it does.
    pub kind: RoleKind,
    /// When.
    pub stage: Stage,
    /// The packages that its nodes get for it.
    pub packages: Vec<WantedPackage>,
}

/// `overlays/NAME/`: a file tree that is laid over the root at build time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Its name.
    pub name: Name,
    /// Its folder.
    pub dir: SiteFolder,
    /// What the file beside the folder says about it.
    pub manifest: OverlayManifest,
}

impl Role {
    /// Reads `roles/NAME/role.toml`; a role without one lays its files at the configure stage.
    pub(super) fn read(dir: &SiteFolder, name: Name) -> Result<Self, SiteError> {
        let role = |kind, stage, packages| Self { name, dir: dir.clone(), kind, stage, packages };
        let Some(source) = Source::read_if_there(dir, "role.toml")? else {
            return Ok(role(RoleKind::Overlay, Stage::Configure, Vec::new()));
        };
        let raw: RawRole = source.parse()?;
        let stages = [("identity", Stage::Identity), ("configure", Stage::Configure)];
        let stage = raw.stage.as_ref().map(|typed| source.word("stage", typed, &stages)).transpose()?;
        let runs = source.word("kind", &raw.kind, &[("overlay", false), ("command", true)])?;
        let kind = match (runs, raw.command) {
            (true, Some(command)) if command.get_ref().first().is_some_and(|word| !word.is_empty()) => {
                RoleKind::Command { command: command.into_inner(), deadline: raw.deadline }
            }
            (true, _) => {
                return Err(source.wrong("kind", &raw.kind, "such a role has command = [\"PROGRAM\", ...]"));
            }
            (false, None) if raw.deadline.is_none() => RoleKind::Overlay,
            (false, _) => {
                return Err(source.wrong("kind", &raw.kind, "such a role has neither command nor deadline"));
            }
        };
        let packages = WantedPackage::read_all(&source, "packages", &raw.packages)?;
        Ok(role(kind, stage.unwrap_or(Stage::Configure), packages))
    }
}
