//! The output of a serial console as plain text.

/// Drops carriage returns and control sequences (ECMA-48, section 5.4), by which firmware positions its text.
#[must_use]
pub fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\u{1b}' => {
                if characters.next() == Some('[') {
                    characters.find(|c| ('@'..='~').contains(c));
                }
            }
            '\r' | '\0' => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn painting_is_dropped() {
        assert_eq!(plain(b"\x1b[2J\x1b[01;01Hhello\r\nw\x1b=orld\0"), "hello\nworld");
        assert_eq!(plain(b"cut \x1b["), "cut ");
    }
}
