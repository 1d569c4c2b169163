//! Token buckets in exact integer arithmetic, and how limits are written in headers.
//!
//! A bucket counts in *parts*: one unit (a request, a token) is `per` parts, where `per` is the period in nanoseconds, so a rate
//! of `amount` units per period refills exactly `amount` parts per nanosecond. No division happens on the way in, so nothing is
//! ever rounded and nothing drifts: 7 per second refills exactly 7 in every second, for years.
//!
//! The bucket stores what is *used*, not what is left. A reload that changes the capacity therefore keeps the used amount for
//! free, and debt (a settled call that cost more than was reserved) is just a used amount above the capacity.

mod bucket;
mod reset;

pub use bucket::{Bucket, Shape, Short};
pub use reset::reset_text;
