//! Makes a JSON text's escapes well formed before it is parsed.
//!
//! JavaScript strings may hold half of a surrogate pair, and Cal.com prints it as an escape such as `\ud83d`, which no
//! UTF-8 string can hold and `serde_json` refuses; a NUL is legal there and no database text. Each becomes U+FFFD,
//! in keys as in values. Every other byte stays, and a text without such escapes is borrowed.

use std::borrow::Cow;

/// Length of `\uXXXX`.
const ESCAPE_LENGTH: usize = 6;

/// What stands in for half a character or for a NUL.
const REPLACEMENT: &str = "\u{fffd}";

/// `text` with every escape of a NUL or of a lone surrogate replaced. Linear in the text's length.
pub(crate) fn well_formed(text: &str) -> Cow<'_, str> {
    let mut repaired = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match escape_at(text.as_bytes(), at) {
            Escape::Sound { length } => at += length,
            Escape::Broken => {
                repaired.push_str(&text[copied..at]);
                repaired.push_str(REPLACEMENT);
                at += ESCAPE_LENGTH;
                copied = at;
            }
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    repaired.push_str(&text[copied..]);
    Cow::Owned(repaired)
}

enum Escape {
    /// Stays as it is; the parser judges what else may be wrong with it.
    Sound { length: usize },
    /// A `\uXXXX` that no string here may hold.
    Broken,
}

/// The escape whose backslash stands at `at`.
fn escape_at(bytes: &[u8], at: usize) -> Escape {
    match code_unit(bytes, at) {
        Some(0 | 0xDC00..=0xDFFF) => Escape::Broken,
        Some(0xD800..=0xDBFF) => match code_unit(bytes, at + ESCAPE_LENGTH) {
            Some(0xDC00..=0xDFFF) => Escape::Sound { length: 2 * ESCAPE_LENGTH },
            _ => Escape::Broken,
        },
        Some(_) => Escape::Sound { length: ESCAPE_LENGTH },
        // `\\`, `\"`, `\n`: two ASCII characters. What follows a backslash may also be half an escape, or half of a
        // character of several bytes, or the end: then the backslash alone is passed, and the parser refuses it.
        None if bytes.get(at + 1).is_some_and(u8::is_ascii) => Escape::Sound { length: 2 },
        None => Escape::Sound { length: 1 },
    }
}

/// The code unit of a `\uXXXX` at `at`, if one stands there.
fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + ESCAPE_LENGTH)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, &digit| {
        let value = char::from(digit).to_digit(16).and_then(|value| u16::try_from(value).ok())?;
        Some(unit << 4 | value)
    })
}

#[cfg(test)]
mod tests;
