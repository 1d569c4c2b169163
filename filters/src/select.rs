//! Which target gets the next attempt: choices, stickiness, breakers, health, and what an answer's status means for the next
//! try. Arithmetic only: time, randomness and the live numbers are arguments.

mod breaker;
mod choice;
mod health;
mod retry;
mod sticky;

pub use breaker::{Breaker, BreakerRules, BreakerState, Gate};
pub use choice::{Dice, Weights, two_choices};
pub use health::{Health, HealthRules, HealthState};
pub use retry::{
    Failed, Failure, Judgement, exhausted, judge_event, judge_status, rate_limited, retry_after,
};
pub use sticky::{Ring, StickyKey, weighted_by_key};
