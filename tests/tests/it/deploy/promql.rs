//! What an expression of Prometheus asks for. Whether it is one at all, Prometheus says (`promtool check rules`).

use std::{collections::BTreeSet, iter::Peekable, str::Chars};

/// The names in an expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) series: BTreeSet<String>,
    pub(super) labels: BTreeSet<String>,
}

/// Before labels in round brackets.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Names of nothing. An aggregation may have its brackets behind those of a grouping.
const WORDS: [&str; 13] =
    ["and", "or", "unless", "bool", "offset", "sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile"];

impl Asked {
    pub(super) fn of(expression: &str) -> Self {
        let mut asked = Self::default();
        let mut rest = expression.chars().peekable();
        // Until which bracket names are labels; those behind a grouping are, too.
        let (mut labels_until, mut grouping) = (None, false);
        while let Some(next) = rest.peek().copied() {
            if next.is_ascii_alphabetic() || next == '_' {
                let name = word(&mut rest);
                let is_call = rest.clone().find(|next| !next.is_whitespace()) == Some('(');
                if labels_until.is_some() {
                    asked.labels.insert(name);
                } else if GROUPING.contains(&name.as_str()) {
                    grouping = true;
                } else if !is_call && !WORDS.contains(&name.as_str()) {
                    asked.series.insert(name);
                }
                continue;
            }
            if next.is_ascii_digit() {
                // A number, or a time with its unit.
                word(&mut rest);
                continue;
            }
            rest.next();
            match next {
                '"' | '\'' => skip(&mut rest, next),
                '[' => skip(&mut rest, ']'),
                '{' => labels_until = Some('}'),
                '(' if grouping => (labels_until, grouping) = (Some(')'), false),
                _ if labels_until == Some(next) => labels_until = None,
                _ => {}
            }
        }
        asked
    }
}

fn word(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(next) = rest.next_if(|next| next.is_ascii_alphanumeric() || "_.:".contains(*next)) {
        word.push(next);
    }
    word
}

/// No text of ours has its own mark in it.
fn skip(rest: &mut Peekable<Chars<'_>>, end: char) {
    rest.by_ref().find(|next| *next == end);
}

#[test]
fn names_are_found_wherever_they_stand() {
    let found = Asked::of(
        "histogram_quantile(0.99, sum by (job, le) (rate(a_bucket{x=~\"y|z{\", w!=''}[5m:]))) > 2.5e3 \
         or (0 * b offset 1d unless on () max by (v) (c)) / ignoring (u) count(d{})",
    );
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let series = set(&["a_bucket", "b", "c", "d"]);
    assert_eq!(found, Asked { series, labels: set(&["job", "le", "x", "w", "v", "u"]) });
}
