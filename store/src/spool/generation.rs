//! Folders, locks and the number that grows with each start.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::reader::SpoolReader;
use crate::StoreError;
use crate::database::Access;

pub(super) const DATABASE: &str = "spool.db";

/// A generation that is ours alone.
pub(super) struct Taken {
    pub(super) generation: u64,
    pub(super) dir: PathBuf,
    pub(super) lock: File,
}

/// A generation whose owner is gone; nobody else can claim it meanwhile.
pub struct Claimed {
    generation: u64,
    dir: PathBuf,
    _lock: File,
}

impl Claimed {
    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn reader(&self) -> Result<SpoolReader, StoreError> {
        SpoolReader::open_at(&self.dir.join(DATABASE), Access::Relaxed)
    }

    /// Deletes the folder. Its number stays used.
    pub fn remove(self) -> Result<(), StoreError> {
        // The database first: a folder with a lock and without a database is an empty one, see `claim`.
        for name in [DATABASE, "spool.db-wal", "spool.db-shm"] {
            match fs::remove_file(self.dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io(&self.dir)(error));
                }
                _ => {}
            }
        }
        fs::remove_dir_all(&self.dir).map_err(StoreError::io(&self.dir))
    }
}

/// Every generation that has a folder, oldest first.
pub fn generations(state_dir: &Path) -> Result<Vec<u64>, StoreError> {
    let root = root(state_dir);
    let entries = match fs::read_dir(&root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(StoreError::io(&root))?,
    };
    let mut generations = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io(&root))?;
        generations.extend(entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    generations.sort_unstable();
    Ok(generations)
}

/// Takes over a generation whose owner is gone. None: somebody holds it, or it is gone too. Folders without a database
/// (a start that got no further) are removed on the way.
pub fn claim(state_dir: &Path, generation: u64) -> Result<Option<Claimed>, StoreError> {
    let dir = dir(state_dir, generation);
    // So that a folder that is being made is not taken for an abandoned one.
    let _guard = guard(state_dir)?;
    let Some(lock) = try_lock(&dir.join("lock"))? else { return Ok(None) };
    let claimed = Claimed { generation, dir, _lock: lock };
    if claimed.dir.join(DATABASE).exists() {
        return Ok(Some(claimed));
    }
    claimed.remove()?;
    Ok(None)
}

pub(super) fn dir(state_dir: &Path, generation: u64) -> PathBuf {
    root(state_dir).join(generation.to_string())
}

/// The name given, or the one in the state directory, or a new one.
pub(super) fn instance(state_dir: &Path, given: Option<&str>) -> Result<String, StoreError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    create_private_dir(state_dir)?;
    let path = state_dir.join("instance");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::io(&path)(error)),
        _ => {}
    }
    let fresh = format!("{:016x}", rand::random::<u64>());
    write_whole(&path, &fresh)?;
    Ok(fresh)
}

/// The next generation: one more than any before, at least `seed`. A configured name on an empty state directory may have been
/// used before on a lost one: its seed is the time, so that identities are not used twice.
pub(super) fn take(state_dir: &Path, seed: u64) -> Result<Taken, StoreError> {
    let root = root(state_dir);
    create_private_dir(&root)?;
    let _guard = guard(state_dir)?;

    let counter = root.join("generation");
    let last = match fs::read_to_string(&counter) {
        Ok(text) => text.trim().parse::<u64>().ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(StoreError::io(&counter)(error)),
    };
    let newest = generations(state_dir)?.last().copied();
    let generation = last.max(newest).map_or(seed, |last| last + 1);
    write_whole(&counter, &generation.to_string())?;

    let dir = root.join(generation.to_string());
    create_private_dir(&dir)?;
    let lock = try_lock(&dir.join("lock"))?.ok_or_else(|| StoreError::Locked { path: dir.clone() })?;
    Ok(Taken { generation, dir, lock })
}

fn root(state_dir: &Path) -> PathBuf {
    state_dir.join("spool")
}

/// Two processes may start at once. Held for a moment only; freed with the file.
fn guard(state_dir: &Path) -> Result<File, StoreError> {
    let path = root(state_dir).join("lock");
    let guard = open_lock(&path).map_err(StoreError::io(&path))?;
    guard.lock().map_err(StoreError::io(&path))?;
    Ok(guard)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

/// None: held by somebody, or its folder is gone.
fn try_lock(path: &Path) -> Result<Option<File>, StoreError> {
    let file = match open_lock(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(StoreError::io(path))?,
    };
    match file.try_lock() {
        // Locked, but perhaps a file that was deleted meanwhile by who held it before.
        Ok(()) => Ok(path.exists().then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(StoreError::io(path)(error)),
    }
}

/// Prompts may be in there: for the owner only.
fn create_private_dir(path: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(StoreError::io(path))
}

/// All of it or nothing, also after a power cut.
fn write_whole(path: &Path, text: &str) -> Result<(), StoreError> {
    let write = || {
        let draft = path.with_extension("new");
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    write().map_err(StoreError::io(path))
}
