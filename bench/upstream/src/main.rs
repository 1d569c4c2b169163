//! `tollgate-fake-upstream`: the fake upstream as a process of its own.

use std::net::SocketAddr;

use clap::Parser;
use tollgate_fake_upstream::{Fake, Options};

#[derive(Parser)]
#[command(about = "A fake LLM upstream for tests and benchmarks: see the crate's documentation")]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: SocketAddr,
    /// Ledger entries kept; 0: totals only.
    #[arg(long, default_value_t = 20_000)]
    keep: usize,
    /// Requests without this key are refused.
    #[arg(long)]
    key: Option<String>,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Ends by itself after so many seconds.
    #[arg(long)]
    seconds: Option<u64>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let fake = Fake::start(Options {
        listen: arguments.listen,
        keep: arguments.keep,
        key: arguments.key,
        threads: arguments.threads,
        ..Options::default()
    })?;
    println!("listening {}", fake.addr());
    let limit = arguments.seconds.map_or(std::time::Duration::MAX, std::time::Duration::from_secs);
    let _ = tokio::time::timeout(limit, tokio::signal::ctrl_c()).await;
    Ok(())
}
