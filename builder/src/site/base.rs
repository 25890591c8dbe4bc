//! `base` of `site.toml`: one of the builder's own systems, a tar, or an OCI image.

use super::error::SiteError;
use super::known::Known;
use super::source::Source;
use handoff::base_kind::BaseKind;
use oci_client::Reference;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::Spanned;

/// The base of a site's nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Base {
    /// Only Debian's kernel, busybox and an SSH server.
    #[default]
    Micro,
    /// A minimal Debian with systemd.
    Debian,
    /// The files of a tar. Its path is relative to the site's folder.
    Tar(PathBuf),
    /// The files of an OCI image.
    Oci(ImageSource),
}

/// Where an OCI image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// From a registry, by this reference.
    Registry(Reference),
    /// From a folder (OCI image layout), whose path is relative to the site's folder.
    Layout {
        /// The path of the folder.
        folder: PathBuf,
        /// The tag of the image; needed if the folder has several.
        tag: Option<String>,
    },
}

/// Why a text is not a base.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotABase(String);

/// The base that `base` of a site names, together with the packages that the site wants on top.
pub(super) fn base(
    source: &Source,
    typed: Option<&Spanned<String>>,
    extra: &[Spanned<String>],
) -> Result<Base, SiteError> {
    let Some(typed) = typed else { return Ok(Base::default()) };
    let word = typed.get_ref();
    if !word.contains(':') && !Base::NAMES.iter().any(|(name, _)| name == word) {
        let known = Known::near(word, ["micro", "debian", "tar:FILE", "oci:REFERENCE"]);
        let at = source.at(&typed.span());
        return Err(SiteError::UnknownWord { at, key: "base", word: word.clone(), known });
    }
    let base: Base = source.value("base", typed)?;
    match extra.first() {
        Some(extra) if !base.is_of_packages() => Err(source.wrong("extra", extra, TAKES_NO_PACKAGES)),
        _ => Ok(base),
    }
}

/// Why an imported base cannot have additional packages.
pub(super) const TAKES_NO_PACKAGES: &str =
    "the builder cannot install packages in an imported base: add the files to the base or to an overlay";

impl Base {
    /// The words for the builder's own systems in site files.
    const NAMES: [(&'static str, Self); 2] = [("micro", Self::Micro), ("debian", Self::Debian)];

    /// The kind of base, which templates can use.
    #[must_use]
    pub fn kind(&self) -> BaseKind {
        match self {
            Self::Micro => BaseKind::Micro,
            Self::Debian => BaseKind::Debian,
            Self::Tar(_) => BaseKind::Tar,
            Self::Oci(_) => BaseKind::Oci,
        }
    }

    /// Whether the builder makes it from Debian's packages. Other bases are used as they are.
    #[must_use]
    pub fn is_of_packages(&self) -> bool {
        matches!(self, Self::Micro | Self::Debian)
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Micro | Self::Debian => write!(f, "{}", self.kind()),
            Self::Tar(path) => write!(f, "tar:{}", path.display()),
            Self::Oci(source) => write!(f, "oci:{source}"),
        }
    }
}

impl FromStr for Base {
    type Err = NotABase;

    fn from_str(text: &str) -> Result<Self, NotABase> {
        if let Some((_, base)) = Self::NAMES.into_iter().find(|(name, _)| *name == text) {
            return Ok(base);
        }
        match text.split_once(':') {
            Some(("tar", "")) => Err(NotABase("after tar: the path of a tar is expected".into())),
            Some(("tar", path)) => Ok(Self::Tar(path.into())),
            Some(("oci", source)) => Ok(Self::Oci(source.parse()?)),
            _ => Err(NotABase("expected micro, debian, tar:FILE or oci:REFERENCE".into())),
        }
    }
}

impl ImageSource {
    /// Whether a registry is on this machine, so that no other machine can read the connection.
    #[must_use]
    pub fn is_local(registry: &str) -> bool {
        let host = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host,
            None => registry.split(':').next().unwrap_or(registry),
        };
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout { folder, tag } => {
                let tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
                write!(f, "{}{tag}", folder.display())
            }
        }
    }
}

impl FromStr for ImageSource {
    type Err = NotABase;

    fn from_str(text: &str) -> Result<Self, NotABase> {
        if ["./", "../", "/"].iter().any(|start| text.starts_with(start)) {
            return Ok(layout(text));
        }
        let host = text.split_once('/').map_or("", |(host, _)| host);
        if host != "localhost" && !host.contains(['.', ':']) {
            let problem = "an image is named with its registry (oci:registry.example/name:tag), a folder with a \
                           path (oci:./folder or oci:./folder:TAG)";
            return Err(NotABase(problem.into()));
        }
        let reference: Reference =
            text.parse().map_err(|error| NotABase(format!("it is not a reference to an image: {error}")))?;
        match reference.digest() {
            Some(digest) if !digest.starts_with("sha256:") => {
                Err(NotABase("only sha256 digests are supported".into()))
            }
            _ => Ok(Self::Registry(reference)),
        }
    }
}

/// A tag follows a colon in the last part of the path.
fn layout(text: &str) -> ImageSource {
    let name_at = text.rfind('/').map_or(0, |slash| slash + 1);
    let (folder, tag) = match text[name_at..].split_once(':') {
        Some((name, tag)) => (&text[..name_at + name.len()], Some(tag.to_owned())),
        None => (text, None),
    };
    ImageSource::Layout { folder: Path::new(folder).to_owned(), tag }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_and_written() {
        let digest = format!("oci:registry.example/a/b@sha256:{}", "0".repeat(64));
        for text in [
            "micro",
            "debian",
            "tar:base/root.tar.zst",
            "oci:registry.example/name:1.2",
            "oci:localhost/name:latest",
            "oci:127.0.0.1:5000/name:t",
            "oci:./folder",
            "oci:../images/micro:stable",
            "oci:/srv/images:v1",
            &digest,
        ] {
            assert_eq!(text.parse::<Base>().unwrap().to_string(), text);
        }
        let source = "./a:b/c:d:e".parse::<ImageSource>().unwrap();
        assert_eq!(source, ImageSource::Layout { folder: "./a:b/c".into(), tag: Some("d:e".into()) });
        // The default tag if none is named.
        assert_eq!("oci:r.example/x".parse::<Base>().unwrap().to_string(), "oci:r.example/x:latest");
    }

    #[test]
    fn an_ambiguous_base_is_refused() {
        let problem = |text: &str| text.parse::<Base>().unwrap_err().to_string();
        assert_eq!(problem("nano"), "expected micro, debian, tar:FILE or oci:REFERENCE");
        assert!(problem("oci:folder").contains("oci:./folder"), "{}", problem("oci:folder"));
        assert!(problem("oci:library/debian:12").contains("with its registry"));
        assert!(problem("oci:").contains("with its registry"));
        assert!(problem("oci:registry.example/UPPER").contains("not a reference"));
        assert!(problem(&format!("oci:r.example/x@sha512:{}", "0".repeat(128))).contains("sha256"));
        assert!(problem("tar:").contains("path of a tar"));
    }

    #[test]
    fn only_this_machine_is_local() {
        for local in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000"] {
            assert!(ImageSource::is_local(local), "{local}");
        }
        for other in ["registry.example", "localhost.example:5000", "10.0.0.1:5000", "[2001:db8::1]:5000"] {
            assert!(!ImageSource::is_local(other), "{other}");
        }
    }
}
