//! Ids of a machine: a file that has nothing else, and lines in files of settings
//! (`MY_HOSTID="417512d890ee4aa9a2a24552c79a923c"`).

/// Files with more bytes are not settings.
const MOST: usize = 1 << 16;

/// Whether the bytes are only 32 hexadecimal digits, or a UUID, of which not all digits are the same.
pub(super) fn is_id(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    let digits: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'-').collect();
    let dashes = text.len() - digits.len();
    digits.len() == 32
        && (dashes == 0 || dashes == 4)
        && digits.iter().all(u8::is_ascii_hexdigit)
        && digits.iter().any(|digit| Some(digit) != digits.first())
}

/// Whether a line assigns an id to a name that ends in ID.
pub(super) fn have_id(bytes: &[u8]) -> bool {
    bytes.len() <= MOST && std::str::from_utf8(bytes).is_ok_and(|text| text.lines().any(is_assigned))
}

fn is_assigned(line: &str) -> bool {
    line.split_once(['=', ':']).is_some_and(|(name, value)| {
        let value = value.trim().trim_matches(['"', '\'', ';']);
        name.trim().to_ascii_lowercase().ends_with("id") && is_id(value.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_by_the_name_of_its_setting() {
        for found in [
            "# comment\nMY_HOSTID=\"417512d890ee4aa9a2a24552c79a923c\"\n",
            "uuid = '2b2ff9f0-4b4c-4a17-9c23-0d3f0f6ab5d1';",
            "machine-id: 417512d890ee4aa9a2a24552c79a923c",
        ] {
            assert!(have_id(found.as_bytes()), "{found}");
        }
        for other in [
            "MD5=417512d890ee4aa9a2a24552c79a923c",
            "HOSTID=\"\"",
            "id=00000000000000000000000000000000",
            "417512d890ee4aa9a2a24552c79a923c  etc/id",
        ] {
            assert!(!have_id(other.as_bytes()), "{other}");
        }
    }
}
