//! A sales outreach pipeline that lives on calbridge's log: whoever books a meeting has been reached.
//!
//! One durable consumer, one database of its own, one transaction for each transition. The rooms, top down:
//! [`handler`] takes items and says what became of each, [`snapshot`] reads and checks them, `meeting` says what
//! bookings amount to (pure), [`pipeline`] keeps it, [`seed`] and [`show`] are the commands to try it with.

pub mod handler;
mod meeting;
pub mod pipeline;
pub mod seed;
pub mod show;
pub mod snapshot;
