//! The parts that all charts (SVG 1.1) share: a page that is readable on light and dark backgrounds, and text escaping
//! for XML.

use handoff::shown::Shown;

/// The largest width of a character in pixels, to decide whether a text fits.
const CHARACTER: i64 = 7;

const STYLE: &str = "\
text{font:12px system-ui,'Segoe UI','DejaVu Sans',sans-serif;fill:#1f2328}\
.title{font-size:15px;font-weight:600}.soft{fill:#59636e}.end{text-anchor:end}.middle{text-anchor:middle}\
.on{font-weight:600}.page{fill:#fff}.grid{stroke:#d1d9e0}.path{stroke:#d55e00;stroke-width:2;fill:none}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.soft{fill:#9198a1}.page{fill:#0d1117}.grid{stroke:#3d444d}}";

/// A page with a heading.
pub(crate) struct Page<'a> {
    pub(crate) width: i64,
    pub(crate) height: i64,
    pub(crate) title: &'a str,
    /// The line below the title.
    pub(crate) summary: &'a str,
}

impl Page<'_> {
    /// The complete file, with `body` on the page.
    pub(crate) fn around(&self, body: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title}</title>\n<desc>{summary}</desc>\n\
             <style>{STYLE}</style>\n<rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n\
             <text class=\"title\" x=\"16\" y=\"26\">{title}</text>\n\
             <text class=\"soft\" x=\"16\" y=\"46\">{summary}</text>\n{body}</svg>\n",
            width = self.width,
            height = self.height,
            title = escape(self.title),
            summary = escape(self.summary),
        )
    }
}

/// The largest width of a text in pixels.
pub(crate) fn text_width(text: &str) -> i64 {
    i64::try_from(text.chars().count()).unwrap_or(0).saturating_mul(CHARACTER)
}

/// The text, or its beginning with at most `longest` characters.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

/// A number with a thin space between thousands.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "−" } else { "" });
    for (digit, left) in digits.chars().zip((0..digits.len()).rev()) {
        out.push(digit);
        if left > 0 && left % 3 == 0 {
            out.push('\u{2009}');
        }
    }
    out
}

/// Text for XML 1.0: names come from files, and most control characters must not be written even as references; they
/// are shown in the same way as in messages.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in Shown(text).to_string().chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_for_xml() {
        assert_eq!(
            escape("a<b>&\"\u{1}\u{1b}\n\u{202e}\u{ffff}"),
            "a&lt;b&gt;&amp;&quot;\\u0001\\u001b\\n\\u202e\u{fffd}"
        );
        assert_eq!((grouped(0), grouped(-1234)), ("0".into(), "−1\u{2009}234".into()));
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
        assert_eq!(shortened("a-service-with-a-name-that-goes-on", 25), "a-service-with-a-name-th…");
    }
}
