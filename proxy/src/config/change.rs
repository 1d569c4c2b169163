//! What a reload cannot take over: sockets and folders are opened once, and some sizes are fixed when the process starts.

use tollgate_filters::conf::{KeyPath, Problem};

use super::{Config, Listener, ListenerTls};

/// What stands between a configuration in force and the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The next one cannot come into force in this process.
    pub refused: Vec<Problem>,
    /// It can, but for these, which keep their running values.
    pub later: Vec<Problem>,
}

impl Config {
    /// Compares `self`, which is in force, with `next`.
    pub fn change_to(&self, next: &Config) -> Change {
        let mut change = Change::default();
        let root = KeyPath::root();
        if self.listeners.len() != next.listeners.len() {
            change.refuse(root.key("listeners"));
        }
        for (index, (before, after)) in self.listeners.iter().zip(&next.listeners).enumerate() {
            change.compare_listeners(&root.key("listeners").index(index), before, after);
        }
        let admin = root.key("admin");
        if self.admin.address != next.admin.address {
            change.refuse(admin.key("address"));
        }
        change.compare_tls(&admin, &self.admin.tls, &next.admin.tls);
        if self.state_dir != next.state_dir {
            change.refuse(root.key("state_dir"));
        }
        let (before, after) = (&self.process, &next.process);
        let (queue, queued) = (&self.audit, &next.audit);
        let (shown, shows) = (&self.telemetry, &next.telemetry);
        let fixed = [
            ("process", "threads", before.threads != after.threads),
            ("process", "pre_stop", before.pre_stop != after.pre_stop),
            ("process", "drain", before.drain != after.drain),
            ("process", "watch", before.watch != after.watch),
            ("audit", "queue", queue.queue != queued.queue),
            ("audit", "commit_interval", queue.commit_interval != queued.commit_interval),
            ("audit", "seq_block", queue.seq_block != queued.seq_block),
            ("audit", "instance", queue.instance != queued.instance),
            ("telemetry", "log", shown.log != shows.log),
            ("telemetry", "level", shown.level != shows.level),
        ];
        for (section, key, _) in fixed.into_iter().filter(|(_, _, changed)| *changed) {
            change.put_off(root.key(section).key(key));
        }
        change
    }
}

impl Change {
    fn compare_listeners(&mut self, path: &KeyPath, before: &Listener, after: &Listener) {
        self.compare_tls(path, &before.tls, &after.tls);
        let changed = [
            ("address", before.address != after.address),
            ("h2", before.h2 != after.h2),
            ("h2c", before.h2c != after.h2c),
        ];
        for (key, _) in changed.into_iter().filter(|(_, changed)| *changed) {
            self.refuse(path.key(key));
        }
    }

    /// Files may change; whether there is TLS, and whether it asks for client certificates, may not.
    fn compare_tls(&mut self, path: &KeyPath, before: &Option<ListenerTls>, after: &Option<ListenerTls>) {
        let asks = |tls: &Option<ListenerTls>| tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if before.is_some() != after.is_some() {
            self.refuse(path.key("tls"));
        } else if asks(before) != asks(after) {
            self.refuse(path.key("tls").key("client_ca"));
        }
    }

    fn refuse(&mut self, path: KeyPath) {
        let message =
            "changed, which needs a restart or an upgrade (SIGQUIT); nothing of the new file is in force";
        self.refused.push(Problem::new(path, message));
    }

    fn put_off(&mut self, path: KeyPath) {
        self.later.push(Problem::new(path, "changed; the running value stays until the next start"));
    }
}
