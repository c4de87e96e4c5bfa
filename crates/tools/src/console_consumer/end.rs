//! How reading ends, and what is said then: the same for consumers of groups and of share groups.

use std::fmt::Display;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use crate::flags::Parsed;
use crate::net::patiently;
use crate::tool::{Failure, Output, said};

/// For leaving a group and committing.
pub(crate) const CLOSING: Duration = Duration::from_secs(30);

/// Why no more records are read.
#[derive(Debug)]
pub(crate) enum End {
    /// There are enough, or none for too long.
    Done,
    Interrupted(u8),
    /// Kafka's tool ends well where it is the cluster that fails.
    Failed {
        why: String,
        is_failure: bool,
    },
}

impl End {
    pub(crate) fn of_cluster(error: impl ToString) -> End {
        End::Failed { why: error.to_string(), is_failure: false }
    }

    pub(crate) fn of_output(error: &io::Error) -> End {
        let why = match error.kind() {
            io::ErrorKind::BrokenPipe => "Unable to write to standard out, closing consumer.".to_owned(),
            _ => format!("Unable to write to standard out: {error}"),
        };
        End::Failed { why, is_failure: false }
    }

    /// Says why reading ended, and how many records there were.
    pub(crate) fn tell(self, count: u64, tells_events: bool, output: &mut Output<'_>) -> Result<(), Failure> {
        // It is said also where nobody reads any more what was printed.
        let _ = output.out.flush();
        if let End::Failed { why, is_failure: false } = &self {
            writeln!(output.err, "{why}")?;
        }
        writeln!(output.err, "Processed a total of {count} messages")?;
        if tells_events {
            output.line("shutdown_complete")?;
        }
        match self {
            End::Interrupted(code) => Err(Failure::Ended(code)),
            End::Failed { is_failure: true, why } => Err(said(why)),
            _ => Ok(()),
        }
    }
}

/// A consumer once it is connected, unless the end of the reading comes first.
pub(crate) async fn connected<C, E: Display>(
    servers: &[String],
    connecting: impl Future<Output = Result<C, E>>,
    interrupt: Pin<&mut impl Future<Output = u8>>,
    limits: &Limits,
    output: &mut Output<'_>,
) -> Result<C, End> {
    let servers = servers.join(",");
    let connected = tokio::select! {
        connected = patiently(&servers, connecting, output) => connected,
        code = interrupt => return Err(End::Interrupted(code)),
        () = limits.expiry() => return Err(End::Done),
    };
    match connected {
        Ok(Ok(consumer)) => Ok(consumer),
        Ok(Err(error)) => Err(End::Failed { why: error.to_string(), is_failure: true }),
        // Nobody can be told that it is waited for.
        Err(_) => Err(End::Done),
    }
}

/// How long to read; `None`: without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    messages_max: Option<u64>,
    /// For as long a record is waited for.
    timeout_ms: Option<u64>,
}

impl Limits {
    pub(crate) fn of(parsed: &Parsed) -> Limits {
        let number = |flag| parsed.number::<i64>(flag);
        Limits {
            messages_max: number("--max-messages")
                .filter(|count| *count != -1)
                .map(|count| u64::try_from(count).unwrap_or(0)),
            timeout_ms: number("--timeout-ms").and_then(|ms| u64::try_from(ms).ok()),
        }
    }

    pub(crate) fn are_reached(&self, count: u64) -> bool {
        self.messages_max.is_some_and(|max| count >= max)
    }

    /// Ends when no record may be waited for any more.
    pub(crate) async fn expiry(&self) {
        match self.timeout_ms {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => std::future::pending().await,
        }
    }
}
