//! Whole-gateway tests: the real binary as a process of its own, the fake upstream in this one, real sockets between them.

mod audit;
mod bodies;
mod coding;
mod conf;
mod endings;
mod failover;
mod guard;
mod guard_actions;
mod guard_pseudonyms;
mod harness;
mod hosts;
mod identity;
mod input;
mod kinds;
mod leaks;
mod limits;
mod listeners;
mod ops;
mod process;
mod reload;
mod silence;
mod slow_heads;
mod spine;
mod streams;
mod upstream_tls;
mod wire;
