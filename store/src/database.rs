//! A SQLite file behind a blocking call.
//!
//! Journal and durability: WAL, so that readers never wait for the writer. `synchronous=FULL` where a commit is a promise (a
//! spool's append, the store's rows): with NORMAL a power cut may undo the last commits of a WAL. It costs one fsync per group
//! commit, not per event, on a thread that no request waits for. NORMAL where undoing is harmless (acknowledgements).
//! <https://www.sqlite.org/pragma.html#pragma_synchronous>

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

use crate::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

pub(crate) struct Database {
    runtime: tokio::runtime::Runtime,
    connection: SqliteConnection,
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Creates the file if need be; commits survive a power cut.
    Promise,
    /// The file is there; the last commits may be undone by a power cut (never by a killed process).
    Relaxed,
    ReadOnly,
}

impl Database {
    /// `patience`: how long a statement waits for another writer before [`StoreError::Locked`].
    pub(crate) fn open(path: &Path, access: Access, patience: Duration) -> Result<Database, StoreError> {
        if access == Access::Promise {
            create_private(path).map_err(StoreError::io(path))?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(StoreError::io(path))?;
        let mut options =
            SqliteConnectOptions::new().filename(path).busy_timeout(patience).optimize_on_close(false, None);
        options = match access {
            Access::ReadOnly => options.read_only(true),
            Access::Promise => options
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full),
            Access::Relaxed => options.synchronous(SqliteSynchronous::Normal),
        };
        let connection = runtime.block_on(options.connect()).map_err(|error| StoreError::sql(path, error))?;
        Ok(Database { runtime, connection, path: path.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Brings the schema up to date, or refuses a newer one.
    pub(crate) fn migrate(&mut self) -> Result<(), StoreError> {
        let outcome = self.runtime.block_on(MIGRATIONS.run(&mut self.connection));
        outcome.map_err(|error| match error {
            MigrateError::VersionMissing(found) => {
                StoreError::Newer { path: self.path.clone(), found, known: newest_known() }
            }
            MigrateError::Execute(error) => StoreError::sql(&self.path, error),
            other => StoreError::Damaged { path: self.path.clone(), what: other.to_string() },
        })
    }

    /// For readers, who change nothing.
    pub(crate) fn check_schema(&mut self) -> Result<(), StoreError> {
        let path = self.path.clone();
        let found: Option<i64> = self.run(async |connection| {
            let tables: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'",
            )
            .fetch_one(&mut *connection)
            .await?;
            if tables == 0 {
                return Ok(None);
            }
            sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
                .fetch_one(connection)
                .await
        })?;
        let known = newest_known();
        match found {
            Some(found) if found > known => Err(StoreError::Newer { path, found, known }),
            Some(found) if found == known => Ok(()),
            _ => Err(StoreError::Older { path }),
        }
    }

    pub(crate) fn set_patience(&mut self, patience: Duration) -> Result<(), StoreError> {
        let pragma = format!("PRAGMA busy_timeout = {}", patience.as_millis());
        self.run(async |connection| {
            // The pragma takes no bound parameter; the number was made here.
            sqlx::raw_sql(sqlx::AssertSqlSafe(pragma)).execute(connection).await
        })?;
        Ok(())
    }

    pub(crate) fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        self.runtime.block_on(work(&mut self.connection)).map_err(|error| StoreError::sql(&self.path, error))
    }
}

/// Prompts may be in there: for the owner only, whatever the folder allows. SQLite gives its journals the file's mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn newest_known() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}
