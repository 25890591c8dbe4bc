//! `overlays/NAME.toml`, the manifest beside an overlay: what git cannot keep of its files, and what it may replace.

use super::error::{Location, SiteError};
use super::folder::SiteFolder;
use super::raw::RawOverlay;
use super::source::Source;
use glob::{MatchOptions, Pattern};
use toml::Spanned;

/// `*` and `?` stay within a folder, and hidden files are files.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The manifest of an overlay; empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OverlayManifest {
    /// Owners and modes.
    pub rules: Vec<OverlayRule>,
    /// Files of lower overlays that this one has instead.
    pub replace: Vec<(String, Location)>,
    /// All of it as it was typed.
    pub text: String,
}

/// Owner and mode of the files that a path or pattern names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayRule {
    /// Where it stands.
    pub at: Location,
    /// The path or pattern as it was typed.
    pub pattern: String,
    /// Which files.
    pub which: Which,
    /// Permission bits, where they are not those of every file.
    pub mode: Option<u32>,
    /// Owner, where it is not root.
    pub uid: Option<u32>,
    /// Group, likewise.
    pub gid: Option<u32>,
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// One file or folder.
    Path,
    /// All files that match.
    Files(Pattern),
    /// All folders that match.
    Folders(Pattern),
}

impl OverlayRule {
    /// Whether the rule's pattern matches; a rule for one path has none.
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
    /// Reads the manifest of that name, if it is there.
    pub(super) fn read(folder: &SiteFolder, name: &str) -> Result<Self, SiteError> {
        let Some(source) = Source::read_if_there(folder, name)? else { return Ok(Self::default()) };
        let raw: RawOverlay = source.parse()?;
        let mut rules = Vec::new();
        for (typed, raw) in raw.paths {
            let (Some(()), which) = (inside(typed.get_ref()), which(&source, &typed)?) else {
                return Err(source.wrong("paths", &typed, "a path starts in the overlay and stays there"));
            };
            if raw.mode.is_none() && raw.uid.is_none() && raw.gid.is_none() {
                return Err(source.wrong("paths", &typed, "it says neither mode nor uid nor gid"));
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
                return Err(source.wrong("replace", &typed, "a path starts in the overlay and stays there"));
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
        .map_err(|error| source.wrong("paths", typed, format!("no pattern: {}", error.msg)))?;
    Ok(if folders.is_some() { Which::Folders(pattern) } else { Which::Files(pattern) })
}
