//! A fake LLM upstream: one server for tests (faults on demand, a ledger of what it served), benchmarks and `tollgate demo`.
//!
//! It speaks chat completions, completions, embeddings, responses (OpenAI), messages and `count_tokens` (Anthropic), models and
//! `/health`, plain and streamed, over HTTP/1.1 and HTTP/2 without TLS, in the providers' own formats
//! (<https://platform.openai.com/docs/api-reference>, <https://docs.anthropic.com/en/api/messages>).
//!
//! ```
//! use tollgate_fake_upstream::{Fake, Options, Script};
//!
//! let fake = Fake::start(Options::default())?;
//! // Requests for the model `gated` get this answer: the second word only after the test has read the first.
//! fake.script("gated", Script::gated(["Hello ", "world"]));
//! let gate = fake.gate("gated");
//! // … send a request, read "Hello " …
//! gate.open(1); // "world" may leave
//! gate.open(2); // and then the end
//! assert_eq!(fake.ledger().totals().requests, 0);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Which [`Script`] answers a request: the one registered for its `x-fake` header, else for its model name, else for its path,
//! else for `*`; without any, a default answer: see [`Options`]. Over HTTP the same is `POST /script`, `POST /gate`, `GET /ledger`.

mod ask;
mod book;
mod control;
mod embeddings;
mod fake;
mod ledger;
mod play;
mod script;
mod service;
mod surface;
mod talk;
mod wire;

pub use crate::book::Gate;
pub use crate::fake::{Fake, Options};
pub use crate::ledger::{Entry, Ledger, Outcome, Totals};
pub use crate::script::{Content, Cut, Fault, Script, Step, Tokens, Tool};
