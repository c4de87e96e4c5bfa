//! A real broker inside of another program, for the tests of those who speak Kafka's protocol: nothing to install, no port to choose,
//! no directory to clean up.
//!
//! ```
//! use ottla_client::{Client, ClientSettings};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = ottla_embedded::start()?;
//! // Or any other client of Kafka:
//! let client = Client::connect(ClientSettings::new(&broker.bootstrap())).await?;
//! assert_eq!(client.metadata().cluster_id(), Some(broker.cluster_id()));
//! # Ok(())
//! # }
//! ```
//!
//! It is the node that `ottla` runs, a cluster of one with its own threads, on ports that the system chooses. Its data lie in a
//! temporary directory, which goes with it, or in a directory that outlives it ([`Builder::data_dir`]). Several may run side by side.
//! Where it is dropped it is stopped; [`Embedded::stop`] says how that went as well.
//!
//! Of Apache Kafka's defaults it keeps all but those that cost a test time: internal topics have one partition with one
//! replica, and the first member of a group doesn't wait for others. [`Builder::setting`] sets any of them.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::{fmt, io};

use ottla_config::{BuiltIn, Config, ConfigErrors, Inputs, Refusal, Supported, refusals};
use ottla_server::loggers::NoLoggers;
use ottla_server::process::{Ready, RunError, StopRequests, run_until};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// What differs from the settings of `ottla` without a configuration, beside listeners and directories.
const QUICK: [(&str, &str); 3] = [
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.num.partitions", "1"),
    ("share.coordinator.state.topic.num.partitions", "1"),
];

/// Why there is no broker, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("the settings of the embedded broker: {0}")]
    Settings(#[from] ConfigErrors),
    /// What a setting asks for isn't there, and going without it would be unsafe.
    #[error("the settings of the embedded broker: {}", .0.iter().map(Refusal::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refusal>),
    #[error("the embedded broker's directory or thread: {0}")]
    System(#[from] io::Error),
    #[error("the embedded broker: {0}")]
    Run(#[from] RunError),
    #[error("the embedded broker's thread has panicked")]
    Panicked,
}

/// Starts a broker with the settings that the module names, and returns when it serves.
pub fn start() -> Result<Embedded, EmbeddedError> {
    Builder::default().start()
}

/// A broker to be started.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    data_dir: Option<PathBuf>,
    settings: Vec<(String, String)>,
}

impl Builder {
    /// Where its data are to stay. A directory of a broker that was here before goes on with what is in it.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Builder {
        self.data_dir = Some(path.into());
        self
    }

    /// One setting of Kafka's `server.properties`; the last of several for one name wins.
    pub fn setting(mut self, name: impl Into<String>, value: impl ToString) -> Builder {
        self.settings.push((name.into(), value.to_string()));
        self
    }

    /// Returns when the broker serves.
    pub fn start(self) -> Result<Embedded, EmbeddedError> {
        let (data_dir, temporary) = match &self.data_dir {
            Some(path) => (path.clone(), None),
            None => {
                let directory = tempfile::Builder::new().prefix("ottla-embedded-").tempdir()?;
                (directory.path().to_owned(), Some(directory))
            }
        };
        let config = self.config(&data_dir)?;
        let (stop, asked) = oneshot::channel();
        let (told, ready) = mpsc::channel();
        let thread = std::thread::Builder::new().name("embedded".to_owned()).spawn(move || {
            run_until(
                || Ok(Asked(Some(asked))),
                config,
                std::sync::Arc::new(NoLoggers),
                |ready| {
                    // Whoever has started it waits for this.
                    let _ = told.send(ready.clone());
                },
            )
        })?;
        let mut broker =
            Embedded { ready: None, data_dir, stop: Some(stop), thread: Some(thread), _temporary: temporary };
        match ready.recv() {
            Ok(ready) => {
                broker.ready = Some(ready);
                Ok(broker)
            }
            // It has ended before it served.
            Err(_) => Err(broker.end().err().unwrap_or(EmbeddedError::Panicked)),
        }
    }

    fn config(&self, data_dir: &Path) -> Result<Config, EmbeddedError> {
        let node = BuiltIn {
            data_dir: data_dir.display().to_string(),
            broker_port: 0,
            controller_port: 0,
            ..BuiltIn::default()
        };
        let quick = QUICK.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings: Vec<_> =
            node.settings().into_iter().chain(quick).chain(self.settings.iter().cloned()).collect();
        let (config, _warnings) = Config::load(&Inputs { built_in: &settings, ..Inputs::default() })?;
        let refused = refusals(&config, &Supported::plaintext_node());
        if refused.is_empty() { Ok(config) } else { Err(EmbeddedError::Refused(refused)) }
    }
}

/// A broker that runs in this process; see the module.
pub struct Embedded {
    /// None only while it starts.
    ready: Option<Ready>,
    data_dir: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), RunError>>>,
    /// Removed last.
    _temporary: Option<TempDir>,
}

impl Embedded {
    /// What clients take for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.ready.as_ref().map(|ready| ready.bootstrap.join(",")).unwrap_or_default()
    }

    /// The cluster's id, new where the directory was.
    pub fn cluster_id(&self) -> &str {
        self.ready.as_ref().map_or("", |ready| &ready.cluster_id)
    }

    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Stops it cleanly, and returns when everything is on disk.
    ///
    /// # Errors
    /// What has ended the broker before, or what keeps it from stopping cleanly.
    pub fn stop(mut self) -> Result<(), EmbeddedError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), EmbeddedError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        if let Some(stop) = self.stop.take() {
            // Where nobody listens it has ended by itself.
            let _ = stop.send(());
        }
        Ok(thread.join().map_err(|_| EmbeddedError::Panicked)??)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Who wants to hear of errors calls `stop`.
        let _ = self.end();
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded")
            .field("bootstrap", &self.bootstrap())
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// The one request that whoever holds the broker makes; a broker that nobody holds any more is asked as well.
struct Asked(Option<oneshot::Receiver<()>>);

impl StopRequests for Asked {
    async fn next(&mut self) {
        match &mut self.0 {
            Some(asked) => {
                let _ = asked.await;
                self.0 = None;
            }
            None => std::future::pending().await,
        }
    }
}
