//! A printed body cut into what is always the same and what each webhook fills in.

use super::slot::{self, Slot, Values};

/// A body with gaps.
#[derive(Debug)]
pub(super) struct Template {
    /// Text, and the gap behind it.
    pieces: Vec<(Vec<u8>, Slot)>,
    rest: Vec<u8>,
}

impl Template {
    /// Cuts a body at every marker.
    pub(super) fn new(body: Vec<u8>) -> Self {
        let mut pieces = Vec::new();
        let mut rest = body;
        while let Some((at, length, slot)) = first_marker(&rest) {
            let behind = rest.split_off(at + length);
            rest.truncate(at);
            pieces.push((rest, slot));
            rest = behind;
        }
        Self { pieces, rest }
    }

    pub(super) fn write(&self, values: &Values, out: &mut Vec<u8>) {
        for (text, slot) in &self.pieces {
            out.extend_from_slice(text);
            values.write(*slot, out);
        }
        out.extend_from_slice(&self.rest);
    }
}

/// Where the first marker begins, its length, and what it stands for.
fn first_marker(body: &[u8]) -> Option<(usize, usize, Slot)> {
    let markers = slot::MARKERS.iter();
    let found = markers.filter_map(|(marker, slot)| {
        let at = body.windows(marker.len()).position(|window| window == marker.as_bytes())?;
        Some((at, marker.len(), *slot))
    });
    found.min_by_key(|(at, ..)| *at)
}
