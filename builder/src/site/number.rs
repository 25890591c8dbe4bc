//! Numbers that are written into a site's files.

/// A number that is not negative and that a site's file can have: the integers of TOML end at 2^63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteNumber(i64);

impl SiteNumber {
    /// The number, if a file can have it.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        i64::try_from(number).ok().map(Self)
    }

    /// Its value.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0.unsigned_abs()
    }
}

impl From<SiteNumber> for toml::Value {
    fn from(number: SiteNumber) -> Self {
        Self::Integer(number.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_a_site_is_one_of_toml_that_is_not_negative() {
        let highest = SiteNumber::new(i64::MAX.unsigned_abs()).unwrap();
        assert_eq!(
            (highest.number(), toml::Value::from(highest).to_string()),
            ((1 << 63) - 1, i64::MAX.to_string())
        );
        assert_eq!(SiteNumber::new(0).map(SiteNumber::number), Some(0));
        assert_eq!(SiteNumber::new(1 << 63), None);
    }
}
