use std::sync::Arc;

use ottla_types::{Now, Uuid};

/// What a request brings with it beside its body.
#[derive(Clone, Debug)]
pub struct RequestContext {
    pub api_version: i16,
    pub client_id: String,
    /// The client's address as Kafka records and shows it: `/127.0.0.1`.
    pub client_host: Arc<str>,
    pub now: Now,
    /// Drawn at random for this request: the tail of the member id, if one is given out.
    pub fresh_id: Uuid,
}

impl RequestContext {
    /// As Java prints a UUID, which is what Kafka's member ids end in.
    pub(crate) fn fresh_id_text(&self) -> String {
        let hex: String = self.fresh_id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let (a, rest) = hex.split_at(8);
        let (b, rest) = rest.split_at(4);
        let (c, rest) = rest.split_at(4);
        let (d, e) = rest.split_at(4);
        format!("{a}-{b}-{c}-{d}-{e}")
    }
}
