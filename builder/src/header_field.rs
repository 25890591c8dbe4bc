//! Fields at fixed places of headers. The compiler checks that a field is inside its header, so reading one cannot fail
//! and needs no default.

use std::array;

/// The `N` bytes at offset `AT` of a header.
#[must_use]
pub(crate) fn field<const AT: usize, const N: usize, const SIZE: usize>(header: &[u8; SIZE]) -> [u8; N] {
    const { assert!(AT + N <= SIZE, "the field is outside of its header") };
    array::from_fn(|index| header[AT + index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_where_it_is() {
        let header = [1, 2, 3, 4, 5, 6];
        assert_eq!(field::<0, 2, _>(&header), [1, 2]);
        assert_eq!(field::<2, 4, _>(&header), [3, 4, 5, 6]);
    }
}
