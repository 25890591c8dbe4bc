//! Passwords: hashes in the forms of crypt(5) and of some servers, and plain ones that a file marks as passwords.
//!
//! Plain passwords are recognized only in answers that debconf stores and in assignments like `password = x7GhQ2mm`,
//! outside of comments. A value that is a word, a path or a reference to something else does not count as a password.

const CRYPT: &str = "a password hash (crypt)";
const OF_SERVER: &str = "a password hash";
const DEBCONF: &str = "a password (debconf)";
const ASSIGNED: &str = "a password";
/// The first characters of the hashes of directory servers, of GRUB and of `PostgreSQL`.
const PREFIXES: [&str; 8] = [
    "{SSHA}",
    "{SHA}",
    "{SSHA256}",
    "{SSHA512}",
    "{CRYPT}",
    "grub.pbkdf2.sha512.",
    "SCRAM-SHA-256$",
    "SCRAM-SHA-1$",
];
/// The least number of characters after such a prefix.
const SHORTEST_HASH: usize = 20;
/// The ends of the names of settings that hold a password, in lower case.
const NAMES: [&str; 6] = ["password", "passwd", "passphrase", "dbpass", "_pass", "secret"];
/// The lengths of a plain password that can be told from a word.
const PLAIN: std::ops::RangeInclusive<usize> = 8..=256;
/// Larger files are not settings.
const MOST_SETTINGS: usize = 1 << 20;

/// The kind of password in a file with this path and content, if any.
pub(super) fn find(path: &str, bytes: &[u8]) -> Option<&'static str> {
    let dollars = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'$').map(|(at, _)| at);
    if dollars.into_iter().any(|at| bytes.get(at + 1..).is_some_and(is_crypt)) {
        return Some(CRYPT);
    }
    let of_server = |prefix: &&str| {
        bytes.windows(prefix.len()).enumerate().any(|(at, window)| {
            window == prefix.as_bytes() && leading(&bytes[at + prefix.len()..], is_base64) >= SHORTEST_HASH
        })
    };
    if PREFIXES.iter().any(of_server) {
        return Some(OF_SERVER);
    }
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MOST_SETTINGS)?;
    if text.lines().any(is_old_shadow_line) {
        return Some(CRYPT);
    }
    if has_debconf_password(path, text) {
        return Some(DEBCONF);
    }
    text.lines().any(assigns_password).then_some(ASSIGNED)
}

/// Whether the text after a dollar sign is a hash of crypt(5): `ID$...`.
fn is_crypt(rest: &[u8]) -> bool {
    let mut fields = rest.splitn(5, |byte| *byte == b'$');
    let mut next = || fields.next().unwrap_or_default();
    // The last field ends with the hash; what follows it is not in the alphabet.
    let ends = |field: &[u8], length: usize| leading(field, is_itoa64) == length;
    let is_salt =
        |field: &[u8], most: usize| field.len() <= most && field.iter().all(|byte| is_itoa64(*byte));
    match next() {
        b"y" | b"gy" => is_salt(next(), 20) && is_salt(next(), 86) && ends(next(), 43),
        b"7" => matches!(next(), setting if setting.len() >= 11 && is_salt(setting, 97)) && ends(next(), 43),
        id @ (b"6" | b"5") => {
            let length = if id == b"6" { 86 } else { 43 };
            let mut salt = next();
            if salt.starts_with(b"rounds=") {
                salt = next();
            }
            is_salt(salt, 16) && ends(next(), length)
        }
        b"1" | b"apr1" => is_salt(next(), 8) && ends(next(), 22),
        b"2a" | b"2b" | b"2x" | b"2y" => next().iter().all(u8::is_ascii_digit) && ends(next(), 53),
        b"sha1" => next().iter().all(u8::is_ascii_digit) && is_salt(next(), 64) && ends(next(), 28),
        b"argon2i" | b"argon2d" | b"argon2id" => next().starts_with(b"v=") && next().starts_with(b"m="),
        _ => false,
    }
}

fn leading(bytes: &[u8], is_one: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is_one(**byte)).count()
}

fn is_itoa64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/')
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'+' | b'=' | b':' | b'$')
}

/// Whether this is a line of shadow(5) whose second field is a hash of the old crypt, of 13 characters.
fn is_old_shadow_line(line: &str) -> bool {
    let fields: Vec<&str> = line.split(':').collect();
    let is_number = |field: &str| !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
    fields.len() == 9 && is_number(fields[2]) && fields[1].len() == 13 && fields[1].bytes().all(is_itoa64)
}

/// Whether this is debconf's database (debconf-devel(7)) with a password: paragraphs with `Name:`, `Template:`,
/// `Value:`.
fn has_debconf_password(path: &str, text: &str) -> bool {
    let all_are = path.ends_with("/passwords.dat");
    text.split("\n\n").any(|paragraph| {
        let field = |name: &str| {
            let value = paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map_or("", str::trim)
        };
        let (name, value) = (field("Name").to_ascii_lowercase(), field("Value"));
        let is_one = all_are || NAMES.iter().any(|word| name.contains(word));
        let has_template = !field("Template").is_empty() || !field("Owners").is_empty();
        is_one && has_template && !matches!(value, "" | "true" | "false")
    })
}

/// Whether a line is a setting like `password = x7GhQ2mm`, `dbc_dbpass='x7GhQ2mm'` or `"secret": "x7GhQ2mm",`.
fn assigns_password(line: &str) -> bool {
    let line = line.trim();
    let is_comment = ["#", "//", ";", "*", "!", "<!--", "--", "%"].iter().any(|mark| line.starts_with(mark));
    let Some((name, value)) = line.split_once(['=', ':']).filter(|_| !is_comment) else { return false };
    let quotes = |c: char| matches!(c, '"' | '\'' | ' ' | '\t' | ';' | ',');
    let (name, value) = (name.trim_matches(quotes), value.trim_matches(quotes));
    let name = name.rsplit([' ', '\t', '$']).next().unwrap_or_default().to_ascii_lowercase();
    let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic())
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic());
    let is_reference = value.starts_with(['$', '%', '/', '<', '{', '@', '(', '[', '`', '&'])
        || ["sha", "md5", "pbkdf2", "http:", "https:"].iter().any(|word| value.starts_with(word));
    NAMES.iter().any(|word| name.ends_with(word)) && PLAIN.contains(&value.len()) && is_plain && !is_reference
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_etc(text: &str) -> Option<&'static str> {
        find("etc/x", text.as_bytes())
    }

    #[test]
    fn hashes_of_passwords_are_found_in_each_form() {
        let (h22, h43, h53, h86) = ("a".repeat(22), "b.".repeat(21) + "/", "c".repeat(53), "d".repeat(86));
        for hash in [
            format!("$y$j9T$F5Jx5fExrKuPp53xLKQ..1${h43}"),
            format!("$y$j9T$${h43}"),
            format!("$7$CU..../....TZ/LT4NLm0/x4${h43}"),
            format!("$6$abcdefgh${h86}"),
            format!("$6$rounds=5000$abcdefgh${h86}"),
            format!("$5$abcdefgh${h43}"),
            format!("$1$abcdefgh${h22}"),
            format!("$apr1$abcdefgh${h22}"),
            format!("$2b$12${h53}"),
            "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA".to_owned(),
        ] {
            assert_eq!(in_etc(&format!("root:{hash}:20000:0:99999:7:::\n")), Some(CRYPT), "{hash}");
            assert_eq!(in_etc(&format!("admin:!{hash}")), Some(CRYPT), "{hash}");
            // With one character too many, it is not a hash of that kind.
            let longer = format!("{hash}a");
            assert_eq!(in_etc(&longer).is_some(), hash.starts_with("$argon2"), "{longer}");
        }
        assert_eq!(in_etc("root:rl.3StKT.4T8M:20000:0:99999:7:::\n"), Some(CRYPT));
        for hash in ["{SSHA}MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=", "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$abc:def"] {
            assert_eq!(in_etc(hash), Some(OF_SERVER), "{hash}");
        }
    }

    #[test]
    fn plain_passwords_are_found_where_a_file_says_so() {
        let entry = "Name: app/root_password\nTemplate: app/root_password\nValue: hunter2\nOwners: app\n\n";
        assert_eq!(in_etc(entry), Some(DEBCONF));
        let other = entry.replace("root_password", "answer");
        assert_eq!(
            (in_etc(&other), find("var/cache/debconf/passwords.dat", other.as_bytes())),
            (None, Some(DEBCONF))
        );
        for text in [
            "[client]\npassword = x7GhQ2mm\n",
            "dbc_dbpass='x7GhQ2mm'\n",
            "{\n  \"adminPassword\": \"x7GhQ2mm\",\n",
            "$db_passwd = 'x7GhQ2mm';\n",
        ] {
            assert_eq!(in_etc(text), Some(ASSIGNED), "{text}");
        }
    }

    #[test]
    fn text_about_passwords_is_not_a_password() {
        for text in [
            "root:*:20000:0:99999:7:::\ndaemon:!:20000::::::\n",
            "passwd:         files systemd\npassword\t[success=1]\tpam_unix.so obscure yescrypt\n",
            "# password = x7GhQ2mm\npassword = \npassword = /etc/app/secret1\npassword=${PASS1234}\n",
            "PasswordAuthentication no\npassword-hash: pbkdf2-sha512\n",
            "Name: app/root_password\nTemplate: app/root_password\nValue: \nOwners: app\n\n",
            "Name: app/use-password\nTemplate: app/use-password\nValue: false\nOwners: app\n\n",
            "echo $1$2$3 $6$ cost $5$10\n",
            "{SHA} is a scheme\n",
        ] {
            assert_eq!(in_etc(text), None, "{text}");
        }
    }
}
