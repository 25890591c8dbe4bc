//! Setting a single key of the top table of a site file. The rest of the file stays as the user typed it.
//!
//! Does not parse TOML: it works on whole lines, for keys whose values take one line.

/// The text with `key = value` in its top table, in place of an older line of that key. `value` is written unchanged.
///
/// The line comes before the first line that is not a comment, because a key after a table's header belongs to it.
#[must_use]
pub(super) fn with_key(text: &str, key: &str, value: &str) -> String {
    let line = format!("{key} = {value}\n");
    let is_old = |line: &str| {
        line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let in_top_table = text.split_inclusive('\n').take_while(|line| !line.trim_start().starts_with('['));
    let replaces = in_top_table.clone().any(is_old);
    let top: usize = in_top_table.map(str::len).sum();
    let (top, tables) = text.split_at_checked(top).unwrap_or((text, ""));
    let mut out = String::new();
    let mut done = false;
    for old in top.split_inclusive('\n') {
        let comment = old.trim_start().starts_with('#') || old.trim().is_empty();
        if !done && if replaces { is_old(old) } else { !comment } {
            out.push_str(&line);
            done = true;
        }
        if !is_old(old) {
            out.push_str(old);
        }
    }
    if !done {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&line);
    }
    out + tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_comes_before_all_others() {
        assert_eq!(with_key("# n\n\nroles = []\n", "k", "1"), "# n\n\nk = 1\nroles = []\n");
        assert_eq!(with_key("", "k", "1"), "k = 1\n");
        assert_eq!(with_key("# n\n[a]\nk = 2\n", "k", "1"), "# n\nk = 1\n[a]\nk = 2\n");
        assert_eq!(with_key("# n", "k", "1"), "# n\nk = 1\n");
    }

    #[test]
    fn an_older_line_is_replaced_where_it_is() {
        assert_eq!(with_key("a = 1\n k  = 2\nb = 3\n", "k", "1"), "a = 1\nk = 1\nb = 3\n");
        // A longer key, and a key of that name in another table, are different keys.
        let text = "kk = 1\nk = 2\n[t]\nk = 3\n";
        assert_eq!(with_key(text, "k", "9"), "kk = 1\nk = 9\n[t]\nk = 3\n");
    }
}
