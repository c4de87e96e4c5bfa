//! What is to be done, and the records, the same for the programs in all languages.

use std::error::Error;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Load {
    Produce,
    Consume,
}

pub struct Options {
    pub load: Load,
    pub bootstrap: String,
    pub topic: String,
    pub partitions: i32,
    /// Counted; as many as `warm` come before them.
    pub records: usize,
    pub warm: usize,
    /// Bytes of a record's value.
    pub size: usize,
    /// A name of Kafka's codecs.
    pub codec: String,
    /// Records a second; none: as fast as it goes.
    pub rate: Option<u32>,
}

/// Of each of the programs.
pub const BATCH_SIZE_BYTES: usize = 128 * 1024;
pub const LINGER: Duration = Duration::from_millis(5);
pub const BUFFER_MEMORY_BYTES: usize = 32 * 1024 * 1024;

const VALUES: usize = 1000;

/// Of the values.
const FIELDS: [&str; 16] = [
    "order",
    "customer",
    "status",
    "price",
    "city",
    "country",
    "quantity",
    "created",
    "updated",
    "warehouse",
    "carrier",
    "currency",
    "discount",
    "category",
    "product",
    "weight",
];

impl Options {
    pub fn parse(
        mut arguments: impl Iterator<Item = String>,
    ) -> Result<Options, Box<dyn Error + Send + Sync>> {
        let load = match arguments.next().as_deref() {
            Some("produce") => Load::Produce,
            Some("consume") => Load::Consume,
            other => return Err(format!("{other:?} is no load: produce or consume").into()),
        };
        let mut options = Options {
            load,
            bootstrap: "localhost:9092".to_owned(),
            topic: "clients".to_owned(),
            partitions: 6,
            records: 1_000_000,
            warm: 100_000,
            size: 100,
            codec: "none".to_owned(),
            rate: None,
        };
        for argument in arguments {
            let (key, value) = argument.split_once('=').ok_or("options are key=value")?;
            match key {
                "bootstrap" => options.bootstrap = value.to_owned(),
                "topic" => options.topic = value.to_owned(),
                "partitions" => options.partitions = value.parse()?,
                "records" => options.records = value.parse()?,
                "warm" => options.warm = value.parse()?,
                "size" => options.size = value.parse()?,
                "codec" => options.codec = value.to_owned(),
                "rate" => options.rate = Some(value.parse()?),
                _ => return Err(format!("{key} is no option").into()),
            }
        }
        Ok(options)
    }

    /// The values that are sent, in turn: fields with numbers, as JSON has them, by a generator that the other programs have
    /// too.
    pub fn values(&self) -> Vec<Vec<u8>> {
        let mut state: u32 = 1;
        let mut value = || {
            let mut value = Vec::new();
            while value.len() < self.size {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (field, number) = (FIELDS[(state >> 28) as usize], (state >> 8) % 10_000);
                value.extend_from_slice(format!("\"{field}\":{number:04},").as_bytes());
            }
            value.truncate(self.size);
            value
        };
        (0..VALUES).map(|_| value()).collect()
    }

    /// When the record is due that comes as the `number`th after the warm ones, counted from the first.
    pub fn due(&self, number: usize) -> Option<Duration> {
        self.rate.map(|rate| Duration::from_secs_f64(number as f64 / f64::from(rate)))
    }
}
