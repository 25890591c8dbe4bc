//! All that is wrong with a site, in the order in which it is found: reading goes on behind a mistake, so that one run
//! shows every file that needs a correction.

use super::error::SiteError;

/// The mistakes that were found so far.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<SiteError>);

impl Problems {
    /// The value, or `None` after a mistake, which is kept.
    pub(super) fn take<T>(&mut self, result: Result<T, SiteError>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }

    /// The value if nothing was wrong anywhere. Without a value there is at least one mistake.
    pub(super) fn end<T>(self, value: Option<T>) -> Result<T, Vec<SiteError>> {
        value.filter(|_| self.0.is_empty()).ok_or(self.0)
    }
}
