//! An input cut into what a target wants to be told. What is not there is nothing: every input has a meaning.

/// What is left of an input.
pub(crate) struct Cut<'a>(pub(crate) &'a [u8]);

impl<'a> Cut<'a> {
    /// The next byte; zero behind the end.
    pub(crate) fn byte(&mut self) -> u8 {
        self.many(1).first().copied().unwrap_or(0)
    }

    /// The next so many bytes, or as many as there are.
    pub(crate) fn many(&mut self, count: usize) -> &'a [u8] {
        let (many, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        many
    }

    /// Bytes that a byte before them counts.
    pub(crate) fn counted(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte());
        self.many(count)
    }

    /// A number of eight bytes; those that are missing are zero.
    pub(crate) fn number(&mut self) -> i64 {
        let mut bytes = [0; 8];
        let many = self.many(8);
        bytes[..many.len()].copy_from_slice(many);
        i64::from_le_bytes(bytes)
    }

    /// The rest of the input.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.many(usize::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
