//! What every measurement of the gateway needs: the fake upstream, the processes in front of it, a folder for what they say.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tollgate_fake_upstream::{Fake, Options, Script};

use crate::Failure;
use crate::load::Target;
use crate::subject::{self, Subject};

pub(crate) const CHAT: &str = "/v1/chat/completions";
/// Of the load client.
const KEY: &str = "bench-key-of-the-load-client-0001";

/// The options that all commands with a gateway share.
#[derive(Debug, clap::Args)]
pub(crate) struct Gateway {
    /// The gateway's configuration
    #[arg(long, default_value = "conf/all-on.yaml")]
    pub(crate) config: PathBuf,
    /// The gateway's binary; default: the one built beside this
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// Where the JSON goes
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
}

pub(crate) struct Stage<'a> {
    options: &'a Gateway,
    fake: Fake,
    pub(crate) folder: PathBuf,
}

/// Sets everything up, lets `measure` work with it, and clears up. The folder of a failed run stays: its logs are worth keeping.
pub(crate) async fn on_stage(
    options: &Gateway,
    measure: impl AsyncFnOnce(&Stage<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let fake = Fake::start(Options { keep: 0, ..Options::default() })?;
    let folder = std::env::temp_dir().join(format!("tollgate-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let stage = Stage { options, fake, folder };
    let done = measure(&stage).await;
    match &done {
        Ok(()) => std::fs::remove_dir_all(&stage.folder)?,
        Err(_) => eprintln!("logs: {}", stage.folder.display()),
    }
    done
}

impl Stage<'_> {
    /// The upstream itself.
    pub(crate) fn direct(&self) -> Result<Target, Failure> {
        Target::new(self.fake.addr(), CHAT, None)
    }

    /// What the upstream says as `model`.
    pub(crate) fn teach(&self, model: &str, answer: Script) {
        self.fake.script(model, answer);
    }

    /// A bare pass-through.
    pub(crate) fn bare(&self, name: &'static str) -> Result<Subject, Failure> {
        let address = subject::free_address()?;
        let upstream = self.fake.addr().to_string();
        let arguments =
            ["bare", "--listen", &address.to_string(), "--upstream", &upstream].map(str::to_owned);
        Subject::start(name, &std::env::current_exe()?, &arguments, &[], address, &self.log(name))
    }

    /// A gateway with a configuration of its own, and the address of its admin listener.
    pub(crate) fn gateway(
        &self,
        name: &'static str,
        config: &Path,
    ) -> Result<(Subject, SocketAddr), Failure> {
        let (address, admin) = (subject::free_address()?, subject::free_address()?);
        let program = match &self.options.gateway {
            Some(path) => path.clone(),
            None => subject::sibling("tollgate")?,
        };
        let environment = [
            ("LISTEN", address.to_string()),
            ("ADMIN", admin.to_string()),
            ("STATE_DIR", self.folder.join(name).display().to_string()),
            ("TOLLGATE_KEY", KEY.to_owned()),
            ("UPSTREAM", self.fake.url()),
        ];
        let serve = ["serve".to_owned(), "-c".to_owned(), config.display().to_string()];
        Ok((Subject::start(name, &program, &serve, &environment, address, &self.log(name))?, admin))
    }

    /// The configuration that is measured.
    pub(crate) fn config(&self) -> Result<String, Failure> {
        Ok(std::fs::read_to_string(&self.options.config)?)
    }

    /// Writes a result beside those of other runs, with what the machine is and what else it was doing.
    pub(crate) fn write(&self, name: &str, figures: Value) -> Result<(), Failure> {
        let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut result = json!({
            "unix_time": at, "cpu": cpu(), "pinned": subject::can_pin(), "load_average": load_average(),
            "config": self.options.config,
        });
        if let (Some(result), Value::Object(figures)) = (result.as_object_mut(), figures) {
            result.extend(figures);
        }
        std::fs::create_dir_all(&self.options.results)?;
        let path = self.options.results.join(format!("{name}-{at}.json"));
        std::fs::write(&path, serde_json::to_string_pretty(&result)? + "\n")?;
        println!("written to {}", path.display());
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

/// Where chat requests to a subject go.
pub(crate) fn chat_of(subject: &Subject) -> Result<Target, Failure> {
    Target::new(subject.address, CHAT, Some(KEY.to_owned()))
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name\t: "));
    model.unwrap_or("unknown").to_owned()
}

/// Of one, five and fifteen minutes, the measurement itself among it.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
