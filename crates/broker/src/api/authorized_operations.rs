//! What a client may do, as a field of bits (KIP-430): everything, since there is no authorizer to say otherwise.

/// Read, write, create, delete, alter, describe, describe and alter configs.
pub(super) const ON_TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);

/// Create, alter, describe, cluster action, describe and alter configs, idempotent write.
pub(super) const ON_CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

/// Nobody has asked.
pub(super) const NOT_ASKED: i32 = i32::MIN;

/// By the numbers that Kafka has for operations.
const fn bits(operations: &[u8]) -> i32 {
    let mut field = 0;
    let mut rest = operations;
    while let [operation, others @ ..] = rest {
        field |= 1 << *operation;
        rest = others;
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_a_broker_without_authorizer() {
        assert_eq!((ON_TOPIC, ON_CLUSTER), (3576, 8096));
    }
}
