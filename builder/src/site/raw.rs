//! The first layer: site files as the user typed them. These types have only the structure and the names of keys; their
//! meaning is decided elsewhere.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// `site.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSite {
    pub(super) id: Spanned<String>,
    pub(super) release: Spanned<String>,
    pub(super) build_time: Spanned<toml::value::Datetime>,
    #[serde(default)]
    pub(super) security_epoch: u32,
    #[serde(rename = "least-serial")]
    pub(super) least_generation: Option<Spanned<u64>>,
    pub(super) architecture: Option<Spanned<String>>,
    pub(super) base: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) overlays: Vec<Spanned<String>>,
    pub(super) admin: RawAdmin,
    pub(super) signing: RawSigning,
    #[serde(default)]
    pub(super) packages: RawPackages,
    #[serde(default)]
    pub(super) sizes: RawSizes,
    #[serde(default)]
    pub(super) boot: RawBoot,
    #[serde(default)]
    pub(super) console: RawConsole,
    #[serde(default)]
    pub(super) rescue: RawRescue,
    #[serde(default)]
    pub(super) configure: RawConfigure,
    #[serde(default)]
    pub(super) hardening: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// `[admin]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawAdmin {
    pub(super) recipients: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) ssh_keys: Vec<Spanned<String>>,
}

/// `[signing]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSigning {
    pub(super) keys: Spanned<Vec<Spanned<String>>>,
}

/// `[packages]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPackages {
    pub(super) suite: Option<Spanned<String>>,
    pub(super) mirror: Option<Spanned<String>>,
    pub(super) security_mirror: Option<Spanned<String>>,
    pub(super) kernel: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) extra: Vec<Spanned<String>>,
}

/// `[sizes]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSizes {
    pub(super) esp: Option<Spanned<String>>,
    pub(super) boot: Option<Spanned<String>>,
    pub(super) root: Option<Spanned<String>>,
    pub(super) verity: Option<Spanned<String>>,
    pub(super) seal: Option<Spanned<String>>,
    pub(super) secret: Option<Spanned<String>>,
    pub(super) data: Option<Spanned<String>>,
}

/// `[boot]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawBoot {
    pub(super) tries: Option<Spanned<u8>>,
    pub(super) overlay_size: Option<Spanned<String>>,
    pub(super) root_corruption: Option<Spanned<String>>,
    pub(super) identity_deadline: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) remove_unknown: bool,
    pub(super) required: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) arguments: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) faults: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// `[console]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawConsole {
    pub(super) devices: Option<Vec<Spanned<String>>>,
    pub(super) login: Option<Spanned<String>>,
    pub(super) password_hash: Option<Spanned<String>>,
}

/// `[rescue]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRescue {
    pub(super) access: Option<Spanned<String>>,
    pub(super) console: Option<Spanned<String>>,
    pub(super) password_hash: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) ssh_keys: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) keep_keys: bool,
    pub(super) retry_after: Option<Spanned<u32>>,
}

/// `[configure]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawConfigure {
    pub(super) deadline: Option<Spanned<u32>>,
    pub(super) retries: Option<u32>,
}

/// `nodes/NAME.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawNode {
    #[serde(default)]
    pub(super) roles: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) packages: Vec<Spanned<String>>,
    pub(super) recipient: Option<Spanned<String>>,
    #[serde(rename = "least-serial")]
    pub(super) least_generation: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) variables: BTreeMap<Spanned<String>, toml::Value>,
    #[serde(default)]
    pub(super) network: Vec<RawCard>,
    #[serde(default)]
    pub(super) file: Vec<RawFile>,
}

/// `[[network]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCard {
    pub(super) name: Spanned<String>,
    pub(super) mac: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) dhcp: bool,
    #[serde(default)]
    pub(super) addresses: Vec<Spanned<String>>,
    pub(super) gateway: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) dns: Vec<Spanned<String>>,
}

/// `[[file]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawFile {
    pub(super) secret: Option<Spanned<String>>,
    pub(super) source: Option<Spanned<String>>,
    pub(super) path: Spanned<String>,
    pub(super) mode: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) uid: u32,
    #[serde(default)]
    pub(super) gid: u32,
    pub(super) kind: Option<Spanned<String>>,
    pub(super) store: Option<Spanned<String>>,
    pub(super) install: Option<Spanned<String>>,
    pub(super) required: Option<Spanned<String>>,
}

/// `overlays/NAME.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawOverlay {
    #[serde(default)]
    pub(super) replace: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) paths: BTreeMap<Spanned<String>, RawOverlayPath>,
}

/// `[paths."PATH"]` of an overlay's manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawOverlayPath {
    pub(super) mode: Option<Spanned<String>>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}
