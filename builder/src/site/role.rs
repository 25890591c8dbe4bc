//! Roles and overlays: folders of the site that lie in the root of every node.

use super::error::SiteError;
use super::folder::SiteFolder;
use super::overlay::OverlayManifest;
use super::package::WantedPackage;
use super::source::Source;
use handoff::name::Name;
use handoff::role_settings::{RoleAction, RoleSettings, Stage};

/// `roles/NAME/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: Name,
    /// Its folder.
    pub dir: SiteFolder,
    /// When it is applied.
    pub stage: Stage,
    /// What it does on a node.
    pub action: RoleAction,
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
        Ok(Self { name, dir: dir.clone(), stage: settings.stage, action: settings.action, packages })
    }
}
