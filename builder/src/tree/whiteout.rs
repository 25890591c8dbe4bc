//! Files whose names say what a layer removes (OCI image specification, layer.md, "Whiteouts"): `.wh.NAME` removes NAME of
//! the layers below, `.wh..wh..opq` all that they have in its folder. What the same layer has stays.

use super::{LayeredTree, TreeError};

/// Before the name of something that a layer removes.
const PREFIX: &str = ".wh.";
/// The name that makes a folder opaque.
const OPAQUE: &str = ".wh..wh..opq";
/// Names that aufs keeps for itself, and that removed nothing there either.
const RESERVED: &str = ".wh..wh.";

/// What a layer removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whiteout {
    /// This path, with all below.
    Path(String),
    /// All that is in this folder.
    Content(String),
    /// Nothing.
    Reserved,
}

impl Whiteout {
    /// What the file at `path` removes; `None` where it is no whiteout.
    pub(super) fn of(path: &str) -> Result<Option<Self>, TreeError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(hidden) = name.strip_prefix(PREFIX) else { return Ok(None) };
        Ok(Some(match hidden {
            _ if name == OPAQUE => Self::Content(folder.to_owned()),
            _ if name.starts_with(RESERVED) => Self::Reserved,
            "" | "." | ".." => {
                let problem = "a whiteout needs the name of what it removes";
                return Err(TreeError::BadWhiteout { path: path.to_owned(), problem });
            }
            _ if folder.is_empty() => Self::Path(hidden.to_owned()),
            _ => Self::Path(format!("{folder}/{hidden}")),
        }))
    }
}

impl LayeredTree {
    /// Removes what a whiteout names, and says whether there was anything.
    pub(super) fn remove_whiteout(&mut self, whiteout: &Whiteout) -> Result<bool, TreeError> {
        match whiteout {
            Whiteout::Reserved => Ok(true),
            Whiteout::Path(path) => {
                let place = self.locate(path)?;
                let there = self.paths.contains_key(&place);
                self.remove(&place);
                Ok(there)
            }
            Whiteout::Content(folder) => {
                let place = self.follow(folder)?;
                let before = self.paths.len();
                self.remove_below(&place);
                Ok(self.paths.len() < before)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_goes() {
        let of = |path: &str| Whiteout::of(path).unwrap();
        assert_eq!(of("etc/motd"), None);
        assert_eq!(of("etc/.wh.motd"), Some(Whiteout::Path("etc/motd".into())));
        assert_eq!(of(".wh.etc"), Some(Whiteout::Path("etc".into())));
        assert_eq!(of("etc/.wh..hidden"), Some(Whiteout::Path("etc/.hidden".into())));
        assert_eq!(of("etc/.wh..wh..opq"), Some(Whiteout::Content("etc".into())));
        assert_eq!(of("etc/.wh..wh.plnk"), Some(Whiteout::Reserved));
        for bad in ["etc/.wh.", "etc/.wh...", ".wh.."] {
            assert!(matches!(Whiteout::of(bad), Err(TreeError::BadWhiteout { .. })), "{bad}");
        }
    }
}
