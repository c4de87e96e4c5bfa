use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl $name {
            /// "None", as Kafka writes it on the wire and on disk.
            pub const NONE: $name = $name(-1);

            pub const fn value(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$int> for $name {
            fn from(value: $int) -> $name {
                $name(value)
            }
        }
    };
}

id!(
    /// A broker's or controller's `node.id`.
    NodeId(i32)
);
id!(
    /// Counts the leaders that a partition has had (KIP-101); stored in every record batch.
    LeaderEpoch(i32)
);
id!(
    /// Counts a broker's registrations: the offset of its registration record in the metadata log (KIP-631).
    BrokerEpoch(i64)
);
id!(
    /// An idempotent or transactional producer (KIP-98).
    ProducerId(i64)
);
id!(
    /// Fences older instances of one producer id (KIP-98).
    ProducerEpoch(i16)
);
