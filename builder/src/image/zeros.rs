//! Ranges of zeros: most of an image is zero.

const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Whether all bytes are zero. Comparing block by block is much faster than byte by byte.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK).all(|block| ZEROS.get(..block.len()) == Some(block))
}

/// The bytes up to the last one that is not zero.
#[must_use]
pub fn without_zeros_behind(bytes: &[u8]) -> &[u8] {
    let blocks = bytes.chunks(BLOCK).rposition(|block| !is_zero(block)).map_or(0, |last| last + 1);
    let rest = bytes.get(..(blocks * BLOCK).min(bytes.len())).unwrap_or_default();
    let end = rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    rest.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_is_found_wherever_it_is() {
        let mut bytes = vec![0; 3 * BLOCK + 5];
        assert!(is_zero(&bytes) && is_zero(&[]) && without_zeros_behind(&bytes).is_empty());
        for place in [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK, 3 * BLOCK + 4] {
            bytes[place] = 1;
            assert!(!is_zero(&bytes));
            assert_eq!(without_zeros_behind(&bytes).len(), place + 1);
        }
    }
}
