//! The Kafka protocol: messages at all versions, API keys, error codes, stored records.
