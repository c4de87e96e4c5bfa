//! What asks a process of this program to end.

use super::StopRequests;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the kernel says of this process, with a line of the signals that are ignored.
const STATUS: &str = "/proc/self/status";

/// The signals that ask for an end: SIGTERM, SIGINT, and SIGHUP, which comes when a terminal goes away.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// None where it was ignored at the start: that is what `nohup` is for.
    hangup: Option<Signal>,
}

impl Signals {
    /// From now on they no longer end the process. To be called within a runtime of tokio.
    pub fn listen() -> std::io::Result<Signals> {
        let status = std::fs::read_to_string(STATUS).unwrap_or_default();
        let hangup = SignalKind::hangup();
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: if is_ignored(&status, hangup) { None } else { Some(signal(hangup)?) },
        })
    }
}

impl StopRequests for Signals {
    async fn next(&mut self) {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => drop(hangup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = hung_up => {}
        }
    }
}

/// Where the system does not tell, nothing is ignored.
fn is_ignored(status: &str, signal: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_known() {
        let check = |status: &str, ignored: [bool; 2]| {
            let signals = [SignalKind::hangup(), SignalKind::interrupt()];
            assert_eq!(signals.map(|signal| is_ignored(status, signal)), ignored, "{status}");
        };
        check("Name:\tottla\nSigBlk:\t0000000000000003\nSigIgn:\t0000000000001001\n", [true, false]);
        check("SigIgn:\t0000000000000002\n", [false, true]);
        check("SigIgn:\t0000000000000000\n", [false, false]);
        check("SigIgn:\twhat\n", [false, false]);
        check("", [false, false]);
    }
}
