//! What a node runs with when nobody gives it a file.

/// Where the node of a start without a file lives and listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    pub data_dir: String,
    pub host: String,
    pub broker_port: u16,
    pub controller_port: u16,
}

impl Default for BuiltIn {
    fn default() -> BuiltIn {
        BuiltIn {
            data_dir: "./ottla-data".to_owned(),
            host: "127.0.0.1".to_owned(),
            broker_port: 9092,
            controller_port: 9093,
        }
    }
}

impl BuiltIn {
    /// One combined node, with the values of Kafka's own server.properties for a single node where they differ from the
    /// keys' defaults: internal topics have one replica. And a group's first member waits for no others: the 3 s that
    /// many members of one deployment are given would keep whoever tries a first consumer waiting.
    pub fn settings(&self) -> Vec<(String, String)> {
        let BuiltIn { data_dir, host, broker_port, controller_port } = self;
        let listeners = format!("PLAINTEXT://{host}:{broker_port},CONTROLLER://{host}:{controller_port}");
        let pairs = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("listeners", &listeners),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.bootstrap.servers", &format!("{host}:{controller_port}")),
            ("log.dirs", data_dir),
            ("num.recovery.threads.per.data.dir", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("offsets.topic.replication.factor", "1"),
            ("share.coordinator.state.topic.replication.factor", "1"),
            ("share.coordinator.state.topic.min.isr", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
        ];
        pairs.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }
}
