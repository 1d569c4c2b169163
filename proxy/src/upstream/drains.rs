use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// Targets that an operator has taken out of service, kept in `drains.json` in the state directory.
pub(super) struct Drains {
    file: PathBuf,
    ids: Mutex<BTreeSet<String>>,
}

/// Why a drain did not happen.
#[derive(Debug, thiserror::Error)]
pub enum DrainError {
    #[error("no target {id}; there are: {}", known.join(", "))]
    Unknown { id: String, known: Vec<String> },
    #[error("{}: {cause}", file.display())]
    File { file: PathBuf, cause: io::Error },
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    drained: BTreeSet<String>,
}

impl Drains {
    pub(super) fn open(state_dir: &Path) -> Result<Drains, DrainError> {
        let file = state_dir.join("drains.json");
        let ids = match fs::read(&file) {
            Ok(text) => {
                let kept: Kept = serde_json::from_slice(&text)
                    .map_err(|cause| DrainError::File { file: file.clone(), cause: cause.into() })?;
                kept.drained
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(cause) => return Err(DrainError::File { file, cause }),
        };
        Ok(Drains { file, ids: Mutex::new(ids) })
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.ids.lock().contains(id)
    }

    /// On disk before it holds in memory: what was answered "drained" stays drained.
    pub(super) fn set(&self, id: &str, drained: bool) -> Result<(), DrainError> {
        let mut ids = self.ids.lock();
        let mut changed = ids.clone();
        let is_new = if drained { changed.insert(id.to_owned()) } else { changed.remove(id) };
        if is_new {
            let kept = Kept { drained: changed };
            self.write(&kept).map_err(|cause| DrainError::File { file: self.file.clone(), cause })?;
            *ids = kept.drained;
        }
        Ok(())
    }

    /// Written beside the old file, synced, and moved over it: a crash leaves the old or the new one.
    fn write(&self, kept: &Kept) -> io::Result<()> {
        let dir = self.file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let beside = self.file.with_extension("json.new");
        let mut file = File::create(&beside)?;
        serde_json::to_writer_pretty(&mut file, kept)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&beside, &self.file)?;
        File::open(dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drains_outlive_the_process() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let state = dir.path().join("not/yet/there");
        let drains = Drains::open(&state).expect("nothing there is no drains");
        drains.set("a@h:1", true).expect("written");
        drains.set("b@h:1", true).expect("written");
        drains.set("a@h:1", false).expect("written");
        drains.set("c@h:1", false).expect("nothing to do");
        let again = Drains::open(&state).expect("readable");
        assert_eq!(["a@h:1", "b@h:1", "c@h:1"].map(|id| again.contains(id)), [false, true, false]);
    }

    #[test]
    fn a_broken_file_is_an_error() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        fs::write(dir.path().join("drains.json"), "{").expect("written");
        let error = Drains::open(dir.path()).err().expect("refused").to_string();
        assert!(error.contains("drains.json"), "{error}");
    }

    #[test]
    fn what_cannot_be_written_does_not_hold() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let drains = Drains::open(&dir.path().join("state")).expect("nothing there");
        fs::write(dir.path().join("state"), "a file where a folder should be").expect("written");
        assert!(drains.set("a@h:1", true).is_err());
        assert!(!drains.contains("a@h:1"));
    }
}
