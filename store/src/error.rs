//! What can go wrong with a file of ours, told apart where callers act differently.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Try again later: another process or thread is writing.
    #[error("{path}: locked by another writer")]
    Locked { path: PathBuf },
    /// Disk full, or the spool at its bound.
    #[error("{path}: no space left, or the file is at its configured bound")]
    Full { path: PathBuf },
    #[error(
        "{path}: written by a newer version of Tollgate (schema {found}, this one knows {known}); use that version"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "{path}: its schema is older than this version needs; start `tollgate serve` once to bring it up to date"
    )]
    Older { path: PathBuf },
    /// Two movers at once, or a spool restored from a copy.
    #[error("{instance}: its position in the store was changed by somebody else")]
    Conflict { instance: String },
    #[error("{path}: damaged: {what}")]
    Damaged { path: PathBuf, what: String },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Sql { path: PathBuf, source: sqlx::Error },
}

impl StoreError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Io { path, source }
    }

    pub(crate) fn sql(path: &Path, source: sqlx::Error) -> StoreError {
        let path = path.to_owned();
        // Primary result codes: https://www.sqlite.org/rescode.html
        let code = source.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        match code.map(|extended| extended & 0xff) {
            Some(5 | 6) => StoreError::Locked { path },
            Some(13) => StoreError::Full { path },
            Some(11 | 26) => StoreError::Damaged { path, what: source.to_string() },
            _ => StoreError::Sql { path, source },
        }
    }
}
