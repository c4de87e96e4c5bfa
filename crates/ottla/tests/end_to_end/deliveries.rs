//! What a producer was told of each record.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, Message};

/// The context of a producer; its clones share what they are told.
#[derive(Clone, Default)]
pub struct Deliveries(Arc<Mutex<Vec<Delivery>>>);

#[derive(Clone, Debug)]
pub struct Delivery {
    pub partition: i32,
    pub value: Vec<u8>,
    /// The offset that the broker acknowledged.
    pub result: Result<i64, RDKafkaErrorCode>,
    pub at: Instant,
}

impl Deliveries {
    /// How many there have been, of either kind.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// All but the first so many, in the order in which they were told.
    pub fn since(&self, first: usize) -> Vec<Delivery> {
        self.0.lock().unwrap().get(first..).unwrap_or_default().to_vec()
    }

    /// All so far, in the order in which they were told.
    pub fn all(&self) -> Vec<Delivery> {
        self.0.lock().unwrap().clone()
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let (message, result) = match result {
            Ok(message) => (message, Ok(message.offset())),
            Err((error, message)) => {
                (message, Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)))
            }
        };
        let value = message.payload().unwrap_or_default().to_vec();
        self.0.lock().unwrap().push(Delivery {
            partition: message.partition(),
            value,
            result,
            at: Instant::now(),
        });
    }
}
