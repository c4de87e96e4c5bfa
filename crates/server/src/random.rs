//! Randomness of the process: the only place that asks the system for it on behalf of the rooms below.

use ottla_types::Uuid;
use thiserror::Error;

/// The system has no random bytes.
#[derive(Clone, Copy, Debug, Error)]
#[error("the system gives no random bytes: {0}")]
pub struct RandomError(#[from] getrandom::Error);

pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A random id as Kafka makes them: a UUID of version 4 whose text can't be taken for a flag.
pub fn uuid() -> Result<Uuid, RandomError> {
    loop {
        let mut bytes = bytes::<16>()?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let id = Uuid(bytes);
        if !id.to_string().starts_with('-') {
            return Ok(id);
        }
    }
}
