//! Files whose names tell what a layer removes (OCI image specification, layer.md, "Whiteouts"): `.wh.NAME` removes
//! NAME from the layers below, and `.wh..wh..opq` everything that they have in its folder. Files of the same layer
//! stay.

use super::{LayeredTree, TreeError};

/// The prefix of the name of a path that a layer removes.
const PREFIX: &str = ".wh.";
/// The name that makes a folder opaque.
const OPAQUE: &str = ".wh..wh..opq";
/// The prefix of names that aufs reserved for itself, and that removed nothing there either.
const RESERVED: &str = ".wh..wh.";

/// What a layer removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whiteout {
    /// This path, with everything below it.
    Path(String),
    /// Everything in this folder.
    Content(String),
    /// Nothing, as the name is reserved.
    Reserved,
}

impl Whiteout {
    /// What the file at `path` removes; `None` if it is not a whiteout.
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
    /// Removes the paths of a whiteout, and returns whether there were any.
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
    fn names_of_whiteouts_are_parsed() {
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
