//! What an operator does: changes the file, reloads, drains, verifies the trail. And clients that keep calling meanwhile.

#![allow(dead_code)] // each test file uses its own part

use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::harness::{Gateway, HEAD, binary, chat, client, until};

const TOKEN: &str = "an-admin-token-of-these-tests";

/// [`HEAD`](crate::harness::HEAD) with an admin token.
pub(crate) fn head() -> String {
    let hash: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    let with_token = format!("admin: {{address: \"${{ADMIN}}\", token_hash: \"{hash}\"}}");
    HEAD.replace(r#"admin: {address: "${ADMIN}"}"#, &with_token)
}

impl Gateway {
    pub(crate) fn write(&self, yaml: &str) {
        std::fs::write(&self.config, yaml).expect("written");
    }

    /// Waits until the generation `n` is in force.
    pub(crate) fn wait_generation(&self, n: u64) {
        until(
            || (self.metric("tollgate_config_generation", "") == n as f64).then_some(()),
            &format!("generation {n}"),
        );
    }

    /// Waits until so many reloads have been refused.
    pub(crate) fn wait_rejected(&self, n: u64) {
        let rejected = || self.metric("tollgate_config_reloads_total", r#"outcome="rejected""#);
        until(|| (rejected() == n as f64).then_some(()), &format!("{n} rejected reloads"));
    }

    /// Puts `yaml` in force by SIGHUP, as generation `n`.
    pub(crate) fn reload(&self, yaml: &str, n: u64) {
        self.write(yaml);
        self.signal("HUP");
        self.wait_generation(n);
    }

    /// A call of the admin API with the token: status and body.
    pub(crate) async fn admin(&self, method: Method, path: &str) -> (u16, Value) {
        let call = reqwest::Client::new().request(method, self.admin_url(path)).bearer_auth(TOKEN);
        let answer = call.send().await.expect("answered");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Status of a plain call of `model`.
    pub(crate) async fn status_of(&self, model: &str) -> u16 {
        self.call(model).await.status().as_u16()
    }

    pub(crate) async fn call(&self, model: &str) -> reqwest::Response {
        let call = client().post(self.url("/v1/chat/completions")).json(&chat(model, "Hi", false));
        call.send().await.expect("answered")
    }

    /// `tollgate audit verify` on this gateway's state.
    pub(crate) fn verify(&self) -> String {
        let state = self.dir.path().join("state");
        let output = Command::new(binary()).args(["audit", "verify", "--state-dir"]).arg(state).output();
        let output = output.expect("the command runs");
        let text = said(&output);
        assert!(output.status.success(), "{text}");
        text
    }
}

/// Everything a command has written.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Clients that call one after the other until they are stopped.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the clients saw.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    /// Request ids of the good answers.
    pub(crate) answered: Vec<String>,
    pub(crate) failed: Vec<String>,
}

impl Clients {
    /// `n` clients with a connection each, with a short rest between calls.
    pub(crate) fn start(n: usize, url: &str, model: &str) -> Clients {
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let tasks = (0..n).map(|_| {
            let (stop, tally) = (Arc::clone(&stop), Arc::clone(&tally));
            tokio::spawn(keep_calling(url.to_owned(), model.to_owned(), stop, tally))
        });
        Clients { tasks: tasks.collect(), stop, tally }
    }

    /// Request ids of the good answers so far.
    pub(crate) fn answered(&self) -> Vec<String> {
        self.tally.lock().expect("no panic while held").answered.clone()
    }

    /// The last calls end, then there are no more.
    pub(crate) async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("no panic");
        }
        std::mem::take(&mut *self.tally.lock().expect("no panic while held"))
    }
}

async fn keep_calling(url: String, model: String, stop: Arc<AtomicBool>, tally: Arc<Mutex<Tally>>) {
    let client = client();
    while !stop.load(Ordering::Relaxed) {
        let outcome = one_call(&client, &url, &model).await;
        {
            let mut tally = tally.lock().expect("no panic while held");
            match outcome {
                Ok(id) => tally.answered.push(id),
                Err(why) => tally.failed.push(why),
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The request id of a good answer.
async fn one_call(client: &reqwest::Client, url: &str, model: &str) -> Result<String, String> {
    let sent = client.post(url).json(&chat(model, "Hi", false)).send().await;
    let answer = sent.map_err(|error| format!("{error:?}"))?;
    if answer.status() != 200 {
        return Err(answer.status().to_string());
    }
    let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
    answer.bytes().await.map_err(|error| format!("body: {error:?}"))?;
    Ok(id)
}
