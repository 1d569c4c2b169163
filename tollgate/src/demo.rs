//! `tollgate demo`: the gateway with its quickstart configuration in front of the built-in fake upstream, with a key made at
//! this start; or, where `OPENAI_API_KEY` is set, in front of the real provider.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tollgate_fake_upstream::{Fake, Options};

use crate::cli::DemoArgs;
use crate::config::{self, Loaded};
use crate::{check, key, log, serve};

const QUICKSTART: &str = include_str!("../../conf/quickstart.yaml");
const OPENAI: &str = include_str!("../../conf/openai.yaml");

/// Where the demo keeps its state: fresh at every start, gone when it stops.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("tollgate-demo-{:016x}", rand::random::<u64>()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the demo's folder stays");
        }
    }
}

pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    match demo(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tollgate: cannot start the demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: &DemoArgs) -> Result<ExitCode, String> {
    let scratch = Scratch::new().map_err(|error| format!("a folder for its state: {error}"))?;
    let key = key::create("dev").map_err(|error| error.to_string())?;
    let real = std::env::var("OPENAI_API_KEY").is_ok_and(|value| !value.is_empty());
    let fake = match real {
        true => None,
        false => {
            Some(Fake::start(Options::default()).map_err(|error| format!("the fake upstream: {error}"))?)
        }
    };
    let file = scratch.0.join("demo.yaml");
    let text = if real { OPENAI } else { QUICKSTART };
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let set = [
        ("LISTEN", args.listen.clone()),
        ("ADMIN", args.admin.clone()),
        ("STATE_DIR", scratch.0.join("state").display().to_string()),
        ("TOLLGATE_KEY", key.clone()),
        ("UPSTREAM", fake.as_ref().map(Fake::url).unwrap_or_default()),
    ];
    let set: Vec<(&'static str, String)> = set.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let loaded = match load(&file, &set) {
        Ok(loaded) => loaded,
        Err(report) => return Ok(check::refuse(&report)),
    };
    log::start(&loaded.config.telemetry);
    let again: serve::Again = Box::new(move || load(&file, &set));
    let process = serve::start(loaded, again, false).map_err(|error| error.to_string())?;
    println!("{}", greeting(&args.listen, &args.admin, &key, real));
    let code = process.run_then(move || drop(scratch));
    drop(fake);
    Ok(code)
}

fn load(file: &Path, set: &[(&'static str, String)]) -> Result<Loaded, config::Report> {
    config::load_with(file, &|name| {
        let given = set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        given.or_else(|| std::env::var(name).ok())
    })
}

/// Three calls to paste.
fn greeting(listen: &str, admin: &str, key: &str, real: bool) -> String {
    let model = if real { "gpt-4o-mini" } else { "demo" };
    let call = |note: &str, flags: &str, body: &str| {
        format!(
            "# {note}\ncurl {flags}http://{listen}/v1/chat/completions -H 'content-type: application/json' \\\n  \
             -H 'authorization: Bearer {key}' \\\n  -d '{body}'\n"
        )
    };
    let message = |text: &str, stream: &str| {
        format!(r#"{{"model":"{model}",{stream}"messages":[{{"role":"user","content":"{text}"}}]}}"#)
    };
    let plain = call("1. A plain call.", "-s ", &message("Hello!", ""));
    let streamed = call(
        "2. A streamed answer that holds an e-mail address and a card number, cut over deltas: both arrive masked.",
        "-sN ",
        &message("Whom may I contact?", r#""stream":true,"#),
    );
    let blocked = call(
        "3. A request with personal data: refused, with an error that says what to do.",
        "-s ",
        &message("My card number is 4111 1111 1111 1111, please book it.", ""),
    );
    format!(
        "\nTollgate listens on http://{listen} (admin: http://{admin}/metrics). Any OpenAI client works:\n  \
         base URL http://{listen}/v1, API key {key}\n\n{plain}\n{streamed}\n{blocked}\nStop with Ctrl-C.\n"
    )
}
