//! `overlays/NAME.toml`, the manifest beside an overlay: attributes of its files that git cannot store, and the files
//! of lower overlays that it may replace.

use super::error::SiteError;
use super::folder::SiteFolder;
use super::location::Location;
use super::raw::RawOverlay;
use super::source::Source;
use glob::{MatchOptions, Pattern};
use toml::Spanned;

/// `*` and `?` match within a folder, and hidden files are matched like others.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The manifest of an overlay; empty if there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OverlayManifest {
    /// The owners and modes.
    pub rules: Vec<OverlayRule>,
    /// The files of lower overlays that this overlay replaces.
    pub replace: Vec<(String, Location)>,
    /// The whole text of the manifest.
    pub text: String,
}

/// The owner and mode of the files at a path or matching a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayRule {
    /// The position of the rule in the manifest.
    pub at: Location,
    /// The path or pattern as the user typed it.
    pub pattern: String,
    /// The files that the rule applies to.
    pub which: Which,
    /// The permission bits, if they are not the default.
    pub mode: Option<u32>,
    /// The user id of the owner, if it is not root.
    pub uid: Option<u32>,
    /// The id of the group, if it is not root.
    pub gid: Option<u32>,
}

/// The files that a rule applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// One file or folder, by its path.
    Path,
    /// All files that match the pattern.
    Files(Pattern),
    /// All folders that match the pattern.
    Folders(Pattern),
}

impl OverlayRule {
    /// Whether the rule's pattern matches; a rule for one path has no pattern.
    #[must_use]
    pub fn matches(&self, path: &str, is_file: bool, is_folder: bool) -> bool {
        match &self.which {
            Which::Path => false,
            Which::Files(pattern) => is_file && pattern.matches_with(path, OPTIONS),
            Which::Folders(pattern) => is_folder && pattern.matches_with(path, OPTIONS),
        }
    }
}

impl OverlayManifest {
    /// Reads the manifest with this name; empty if there is none.
    pub(super) fn read(folder: &SiteFolder, name: &str) -> Result<Self, SiteError> {
        let Some(source) = Source::read_if_there(folder, name)? else { return Ok(Self::default()) };
        let raw: RawOverlay = source.parse()?;
        let mut rules = Vec::new();
        for (typed, raw) in raw.paths {
            let (Some(()), which) = (inside(typed.get_ref()), which(&source, &typed)?) else {
                return Err(source.wrong(
                    "paths",
                    &typed,
                    "the path must be relative and stay inside the overlay",
                ));
            };
            if raw.mode.is_none() && raw.uid.is_none() && raw.gid.is_none() {
                return Err(source.wrong("paths", &typed, "it needs a mode, uid or gid"));
            }
            rules.push(OverlayRule {
                at: source.at(&typed.span()),
                pattern: typed.into_inner(),
                which,
                mode: raw.mode.as_ref().map(|typed| source.permission_bits(typed)).transpose()?,
                uid: raw.uid,
                gid: raw.gid,
            });
        }
        let mut replace = Vec::new();
        for typed in raw.replace {
            if inside(typed.get_ref()).is_none() {
                return Err(source.wrong(
                    "replace",
                    &typed,
                    "the path must be relative and stay inside the overlay",
                ));
            }
            let at = source.at(&typed.span());
            replace.push((typed.into_inner(), at));
        }
        rules.sort_by_key(|rule| rule.at.line);
        Ok(Self { rules, replace, text: source.text().to_owned() })
    }
}

fn inside(path: &str) -> Option<()> {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    path.strip_suffix('/').unwrap_or(path).split('/').all(plain).then_some(())
}

fn which(source: &Source, typed: &Spanned<String>) -> Result<Which, SiteError> {
    let text = typed.get_ref();
    if !text.contains(['*', '?', '[']) {
        return Ok(Which::Path);
    }
    let folders = text.strip_suffix('/');
    let pattern = Pattern::new(folders.unwrap_or(text))
        .map_err(|error| source.wrong("paths", typed, format!("not a valid pattern: {}", error.msg)))?;
    Ok(if folders.is_some() { Which::Folders(pattern) } else { Which::Files(pattern) })
}
