//! The valid names at a place in a site, for errors about a name that is not valid.

use std::fmt;

/// The valid names, and the one nearest to a mistyped name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// All valid names.
    pub names: Box<[String]>,
    /// The name that the user probably meant.
    pub nearest: Option<Box<str>>,
}

impl Known {
    /// Compares `word` with `names`.
    pub fn near<S: Into<String>>(word: &str, names: impl IntoIterator<Item = S>) -> Self {
        let names: Box<[String]> = names.into_iter().map(Into::into).collect();
        let nearest = names
            .iter()
            .map(|name| (strsim::normalized_damerau_levenshtein(word, name), name))
            .filter(|(likeness, _)| *likeness >= 0.5)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, name)| name.as_str().into());
        Self { names, nearest }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.nearest, self.names.as_ref()) {
            (Some(nearest), _) => write!(f, "did you mean {nearest:?}?"),
            (None, []) => f.write_str("there is none"),
            (None, names) => write!(f, "known: {}", names.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let known = Known::near("realease", ["id", "release", "base"]);
        assert_eq!(known.nearest.as_deref(), Some("release"));
        assert_eq!(known.to_string(), "did you mean \"release\"?");
    }

    #[test]
    fn far_names_are_all_listed() {
        assert_eq!(Known::near("colour", ["id", "base"]).to_string(), "known: id, base");
        assert_eq!(Known::near("x", [] as [&str; 0]).to_string(), "there is none");
    }
}
