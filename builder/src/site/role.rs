//! Roles and overlays: folders of the site that are copied into the root of every node.

use super::error::SiteError;
use super::folder::SiteFolder;
use super::overlay::OverlayManifest;
use super::role_content;
use super::source::Source;
use super::wanted_package::WantedPackage;
use handoff::name::Name;
use handoff::role_settings::{RoleAction, RoleSettings, Stage};

/// A role: the folder `roles/NAME/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The name of the role.
    pub name: Name,
    /// The folder of the role.
    pub dir: SiteFolder,
    /// The stage in which it is applied.
    pub stage: Stage,
    /// What it does on a node: copies files, or runs a program.
    pub action: RoleAction,
    /// The packages that nodes with the role get.
    pub packages: Vec<WantedPackage>,
}

/// An overlay: `overlays/NAME/`, a file tree that is merged into the root at build time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// The name of the overlay.
    pub name: Name,
    /// The folder of the overlay.
    pub dir: SiteFolder,
    /// The manifest beside the folder.
    pub manifest: OverlayManifest,
}

impl Role {
    /// A role whose settings are not known.
    pub(super) fn without_settings(dir: SiteFolder, name: Name) -> Self {
        let RoleSettings { stage, action, .. } = RoleSettings::default();
        Self { name, dir, stage, action, packages: Vec::new() }
    }

    /// Reads `roles/NAME/role.toml`; a role without it installs its files in the configure stage.
    pub(super) fn read(dir: &SiteFolder, name: Name) -> Result<Self, SiteError> {
        let source = Source::read_if_there(dir, "role.toml")?;
        let settings = match &source {
            None => RoleSettings::default(),
            Some(source) => {
                RoleSettings::decode(source.text()).map_err(|problem| source.bad_role(problem))?
            }
        };
        let packages = match &source {
            None => Vec::new(),
            Some(source) => WantedPackage::read_all(source, "packages", &settings.packages)?,
        };
        role_content::check(dir, &name, &settings.action)?;
        Ok(Self { name, dir: dir.clone(), stage: settings.stage, action: settings.action, packages })
    }
}
