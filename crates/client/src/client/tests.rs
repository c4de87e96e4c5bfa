//! What is said when nobody can be asked.

use std::sync::Arc;

use crate::effects::{Dial, Fake};
use crate::{Client, ClientSettings};

/// Timeouts within the first attempt, between two attempts, and within later ones.
const TIMEOUTS_MS: [u64; 6] = [20, 150, 500, 1_000, 2_000, 9_000];

async fn check(dial: fn() -> Dial, servers: &str, expected: &[&str]) {
    for timeout_ms in TIMEOUTS_MS {
        let fake = Fake::new();
        fake.on_dial(move |_| dial());
        let settings = ClientSettings {
            connector: Some(Arc::new(fake)),
            default_api_timeout_ms: timeout_ms,
            request_timeout_ms: timeout_ms,
            ..ClientSettings::new(servers)
        };
        let error = Client::connect(settings).await.unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "within {timeout_ms} ms: {error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_nobodys_being_there_names_who_and_why() {
    check(|| Dial::Refused, "boot:9092", &["boot:9092", "connection refused"]).await;
    check(|| Dial::Unanswered, "boot:9092", &["boot:9092", "could not be connected to"]).await;
}
