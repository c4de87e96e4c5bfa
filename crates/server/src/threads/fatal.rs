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
        tracing::error!("{reason}");
        // Without a receiver the process is ending already.
        let _ = self.0.send(reason);
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
