//! The short hunt: every target judges its kept corpus, and some thousand changes of it that a fixed seed makes.

mod hunt;
mod kept;
