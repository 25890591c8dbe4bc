//! A TOML file of the site with its text, so that errors about all values can name line and column.

use super::error::SiteError;
use super::folder::SiteFolder;
use super::known::Known;
use super::location::Location;
use crate::beneath::PathProblem;
use crate::input::read_limited;
use crate::limits;
use handoff::role_settings::BadRoleSettings;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use toml::Spanned;

/// One site file.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Reads a file of a site.
    pub(super) fn read(folder: &SiteFolder, name: &str) -> Result<Self, SiteError> {
        Self::read_if_there(folder, name)?.ok_or_else(|| SiteError::Read {
            path: folder.path_of(name),
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// The same; `None` if there is no such file.
    pub(super) fn read_if_there(folder: &SiteFolder, name: &str) -> Result<Option<Self>, SiteError> {
        let path = folder.path_of(name);
        let read = folder.file(name).and_then(|file| read_limited(file, &limits::SITE_TEXT));
        let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| PathProblem::NotText.into()));
        match text {
            Ok(text) => Ok(Some(Self { path, text })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SiteError::Read { path, source }),
        }
    }

    /// The text of the file.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Parses the first layer: the file as the user typed it.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, SiteError> {
        toml::from_str(&self.text).map_err(|error| self.explain(&error))
    }

    /// The position of a byte range of the text.
    pub(super) fn at(&self, span: &Range<usize>) -> Location {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |position| position + 1);
        Location {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// Parses the second layer of a text value: its meaning.
    pub(super) fn value<T>(&self, key: &'static str, typed: &Spanned<String>) -> Result<T, SiteError>
    where
        T: FromStr<Err: Display>,
    {
        typed.get_ref().parse().map_err(|problem: T::Err| self.wrong(key, typed, problem.to_string()))
    }

    /// Parses the second layer of a value that must be one of a few words.
    pub(super) fn word<T: Copy>(
        &self,
        key: &'static str,
        typed: &Spanned<String>,
        choices: &[(&str, T)],
    ) -> Result<T, SiteError> {
        let word = typed.get_ref();
        choices.iter().find(|(name, _)| name == word).map(|(_, value)| *value).ok_or_else(|| {
            SiteError::UnknownWord {
                at: self.at(&typed.span()),
                key,
                word: word.clone(),
                known: Known::near(word, choices.iter().map(|(name, _)| *name)),
            }
        })
    }

    /// An error about the value of `key`.
    pub(super) fn wrong(
        &self,
        key: &'static str,
        typed: &Spanned<impl ToString>,
        problem: impl Into<String>,
    ) -> SiteError {
        let value = typed.get_ref().to_string();
        SiteError::WrongValue { at: self.at(&typed.span()), key, value, problem: problem.into() }
    }

    /// Parses the permission bits under `mode`, in octal.
    pub(super) fn permission_bits(&self, typed: &Spanned<String>) -> Result<u32, SiteError> {
        let text = typed.get_ref();
        let octal = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|_| octal)
            .ok_or_else(|| self.wrong("mode", typed, "permission bits are octal digits, as in \"0600\""))
    }

    /// The error about a role's settings, with its position.
    pub(super) fn bad_role(&self, problem: BadRoleSettings) -> SiteError {
        match problem {
            BadRoleSettings::Syntax(error) => self.explain(&error),
            BadRoleSettings::Word { key, word, known } => SiteError::UnknownWord {
                at: self.at(&word.span()),
                key,
                known: Known::near(word.get_ref(), known.iter().copied()),
                word: word.into_inner(),
            },
            BadRoleSettings::Mismatch { key, value, problem } => self.wrong(key, &value, problem),
        }
    }

    /// Converts the parser's message into one of our errors. The wording is that of serde (`Error::unknown_field`,
    /// `Error::missing_field`), the same for all formats; tests below check it.
    fn explain(&self, error: &toml::de::Error) -> SiteError {
        let at = self.at(&error.span().unwrap_or(0..0));
        let message = error.message();
        if let Some(rest) = message.strip_prefix("unknown field ") {
            let mut quoted = rest.split('`').skip(1).step_by(2).map(str::to_owned);
            let key = quoted.next().unwrap_or_default();
            let known = Known::near(&key, quoted);
            return SiteError::UnknownKey { at, key, known };
        }
        if let Some(rest) = message.strip_prefix("missing field ") {
            return SiteError::MissingKey { at, key: rest.trim_matches('`').to_owned() };
        }
        let problem = message.lines().collect::<Vec<_>>().join("; ");
        if message.starts_with("invalid type") || message.starts_with("invalid value") {
            return SiteError::WrongType { at, problem };
        }
        SiteError::Syntax { at, problem }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(rename = "first-key")]
        _first: u32,
        #[serde(rename = "second-key", default)]
        _second: Option<Spanned<String>>,
    }

    fn source(text: &str) -> Source {
        Source { path: "sample.toml".into(), text: text.into() }
    }

    #[test]
    fn an_unknown_key_has_its_place_and_neighbour() {
        let error = source("first-key = 1\n\n  secnd-key = \"x\"\n").parse::<Sample>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "sample.toml:3:3: unknown key \"secnd-key\"; did you mean \"second-key\"?"
        );
        assert!(matches!(error, SiteError::UnknownKey { .. }));
    }

    #[test]
    fn a_missing_key_is_named() {
        let error = source("second-key = 'x'").parse::<Sample>().unwrap_err();
        assert!(matches!(&error, SiteError::MissingKey { key, .. } if key == "first-key"), "{error}");
    }

    #[test]
    fn a_wrong_type_has_its_place() {
        let error = source("first-key = 1\nsecond-key = [3]").parse::<Sample>().unwrap_err();
        assert!(
            matches!(&error, SiteError::WrongType { at: Location { line: 2, column: 14, .. }, .. }),
            "{error}"
        );
        let error = source("first-key = -1").parse::<Sample>().unwrap_err();
        assert!(matches!(&error, SiteError::WrongType { .. }), "{error}");
    }

    #[test]
    fn invalid_toml_is_reported_with_its_place() {
        let error = source("first-key = 1\nä = = 2").parse::<Sample>().unwrap_err();
        assert!(matches!(&error, SiteError::Syntax { at: Location { line: 2, .. }, .. }), "{error}");
    }
}
