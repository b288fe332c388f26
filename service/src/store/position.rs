//! Places in the log.

/// A place in the log. Zero stands before everything; the first handed out is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub i64);

impl Position {
    /// How clients carry it: 16 lower-case hex digits, opaque to them.
    #[must_use]
    pub fn to_token(self) -> String {
        format!("{:016x}", self.0)
    }

    /// Reads what [`Position::to_token`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        let shaped = token.len() == 16 && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        shaped.then(|| i64::from_str_radix(token, 16).ok()).flatten().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Position;

    proptest! {
        #[test]
        fn a_position_survives_its_token_and_keeps_its_order(a in 0..=i64::MAX, b in 0..=i64::MAX) {
            prop_assert_eq!(Position::from_token(&Position(a).to_token()), Some(Position(a)));
            prop_assert_eq!(a.cmp(&b), Position(a).to_token().cmp(&Position(b).to_token()));
        }
    }

    #[test]
    fn nothing_else_is_a_token() {
        for token in ["", "1", "000000000000000G", "000000000000000A", "+00000000000000f", "ffffffffffffffff"] {
            assert_eq!(Position::from_token(token), None, "{token:?}");
        }
    }
}
