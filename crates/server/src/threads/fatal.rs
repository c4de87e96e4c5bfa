//! How a thread tells that the process can't go on.

use tokio::sync::mpsc;

/// Any thread may hold one.
#[derive(Clone, Debug)]
pub struct Fatal(mpsc::UnboundedSender<String>);

/// Where the process hears of it.
#[derive(Debug)]
pub struct FatalReceiver(mpsc::UnboundedReceiver<String>);

impl Fatal {
    pub fn channel() -> (Fatal, FatalReceiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Fatal(sender), FatalReceiver(receiver))
    }

    pub fn tell(&self, reason: String) {
        // Without a receiver the process is ending already.
        let _ = self.0.send(reason);
    }

    /// To be held by a thread that a node can't do without.
    pub fn on_panic(&self, thread: &'static str) -> TellPanic {
        TellPanic { fatal: self.clone(), thread }
    }
}

/// Tells when the thread that holds it panics.
#[derive(Debug)]
pub struct TellPanic {
    fatal: Fatal,
    thread: &'static str,
}

impl Drop for TellPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.fatal.tell(format!("the thread {:?} has panicked", self.thread));
        }
    }
}

impl FatalReceiver {
    /// Waits for the first reason.
    pub async fn heard(&mut self) -> String {
        match self.0.recv().await {
            Some(reason) => reason,
            // Nobody is left who could fail.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_and_an_end_is_not() {
        let (fatal, mut heard) = Fatal::channel();
        let guard = fatal.on_panic("quiet");
        std::thread::spawn(move || drop(guard)).join().unwrap();
        assert!(heard.0.try_recv().is_err());
        let guard = fatal.on_panic("broken");
        let thread = std::thread::spawn(move || {
            let _guard = guard;
            panic!("as it should");
        });
        assert!(thread.join().is_err());
        assert_eq!(heard.0.try_recv().unwrap(), "the thread \"broken\" has panicked");
    }
}
