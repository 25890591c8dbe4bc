//! Sizes as text for people.

/// A number of bytes with one decimal place, in the largest unit in which it is at least one.
#[must_use]
pub fn size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >> shift > 0 {
            let tenths = (bytes >> (shift - 10)) * 10 / 1024;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [size(0), size(1023), size(1024), size(1_572_864), size(3 << 30)],
            ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "3.0 GiB"]
        );
    }
}
