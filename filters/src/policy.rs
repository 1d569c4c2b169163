//! What a call may use and what it costs: model allow lists, label demands, prices.

mod price;
mod rules;

pub use price::{Price, PriceError, Prices};
pub use rules::{labels_allow, model_allowed};
