//! Whole-gateway tests: the real binary as a process of its own, the fake upstream in this one, real sockets between them.

mod bodies;
mod failover;
mod harness;
mod identity;
mod input;
mod limits;
mod leaks;
mod ops;
mod process;
mod reload;
mod spine;
mod streams;
mod wire;
