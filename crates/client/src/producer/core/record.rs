//! A record to be sent.

use ottla_record::{Header, NewRecord};
use ottla_types::Timestamp;

/// A record to be sent. It borrows what it consists of: the bytes are copied once, into the batch that goes to the broker.
///
/// ```
/// use ottla_client::Record;
///
/// let record = Record::to("orders").key("customer-7").value("two apples");
/// assert_eq!(record.key, Some(&b"customer-7"[..]));
/// let deletion = Record::to("orders").key("customer-7");
/// assert_eq!(deletion.value, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub topic: &'a str,
    /// `None`: the partitioner decides.
    pub partition: Option<i32>,
    /// Milliseconds since the Unix epoch; `None`: now.
    pub timestamp: Option<Timestamp>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone: where a topic is compacted it deletes the key.
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
}

impl<'a> Record<'a> {
    /// A record without key and value.
    pub fn to(topic: &'a str) -> Record<'a> {
        Record { topic, partition: None, timestamp: None, key: None, value: None, headers: &[] }
    }

    #[must_use]
    pub fn partition(self, partition: i32) -> Record<'a> {
        Record { partition: Some(partition), ..self }
    }

    #[must_use]
    pub fn timestamp(self, timestamp: Timestamp) -> Record<'a> {
        Record { timestamp: Some(timestamp), ..self }
    }

    #[must_use]
    pub fn key<K: AsRef<[u8]> + ?Sized>(self, key: &'a K) -> Record<'a> {
        Record { key: Some(key.as_ref()), ..self }
    }

    #[must_use]
    pub fn value<V: AsRef<[u8]> + ?Sized>(self, value: &'a V) -> Record<'a> {
        Record { value: Some(value.as_ref()), ..self }
    }

    #[must_use]
    pub fn headers(self, headers: &'a [Header<'a>]) -> Record<'a> {
        Record { headers, ..self }
    }

    pub(crate) fn encodable(&self, timestamp: Timestamp) -> NewRecord<'a> {
        NewRecord { timestamp, key: self.key, value: self.value, headers: self.headers }
    }
}
