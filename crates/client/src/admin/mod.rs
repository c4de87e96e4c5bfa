//! Administration: topics, offsets, settings, log directories, groups and brokers.
//!
//! Each operation asks whom it must (the controller, leaders, coordinators, every broker), all at the same time, and again as
//! leaders and coordinators change, for as long as the timeout allows. What concerns several things answers for each of them: one
//! that fails takes no other with it.

mod cluster;
mod configs;
mod consumer_groups;
mod features;
mod group_members;
mod group_offsets;
mod groups;
mod leaders;
mod log_dirs;
mod offsets;
mod partitions;
mod quorum;
mod quotas;
mod reassignments;
mod scram;
mod share_groups;
mod streams_groups;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_types::NodeId;
use ottla_wire::{ErrorCode, Request};
use tokio::task::JoinSet;

use crate::client::{Answer, Client, Target};
use crate::error::ClientError;
use crate::telemetry::{Kind, Reporter};

pub use cluster::{BrokerApis, ClusterDescription, Endpoint, EndpointType};
pub use configs::{AlterOp, ConfigEntry, ConfigResource, ConfigSource, ConfigSynonym, ResourceType};
pub use consumer_groups::{ConsumerGroupDescription, GroupEpochs, GroupMemberDescription};
pub use features::{FeatureMetadata, FeatureRange, FeatureUpdate, FinalizedFeature, UpgradeType};
pub use group_offsets::GroupOffset;
pub use groups::GroupListing;
pub use leaders::ElectionType;
pub use log_dirs::{LogDirDescription, ReplicaInfo};
pub use offsets::{ListedOffset, OffsetSpec};
pub use quorum::{QuorumEndpoint, QuorumInfo, QuorumReplica};
pub use quotas::{QuotaEntity, QuotaMatch};
pub use reassignments::PartitionReassignment;
pub use scram::{ScramChange, ScramMechanism};
pub use share_groups::{ShareGroupDescription, ShareGroupOffset};
pub use streams_groups::{
    StreamsGroupDescription, StreamsMemberDescription, StreamsSubtopology, StreamsTasks,
};
pub use topics::{NewPartitions, NewTopic, PartitionDescription, TopicDescription, TopicListing};
pub use transactions::{ActiveProducer, MarkerToAbort, TransactionDescription, TransactionListing};

/// What came of each thing that was asked for.
pub type Results<K, V> = BTreeMap<K, Result<V, ClientError>>;

/// Administration of a cluster. Cloning copies a pointer.
///
/// ```no_run
/// use ottla_client::admin::{Admin, NewTopic};
/// use ottla_client::{Client, ClientSettings};
///
/// # async fn example() -> Result<(), ottla_client::ClientError> {
/// let admin = Admin::new(Client::connect(ClientSettings::new("localhost:9092")).await?);
/// admin.create_topic(&NewTopic::new("orders").partitions(6)).await?;
/// for topic in admin.list_topics().await? {
///     println!("{}", topic.name);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
    timeout_ms: u64,
    /// For as long as any clone of this is there.
    _reporter: Option<Arc<Reporter>>,
}

impl Admin {
    /// With `default.api.timeout.ms` for each operation.
    pub fn new(client: Client) -> Admin {
        let timeout_ms = client.settings().default_api_timeout_ms;
        let reporter = Reporter::start(&client, Kind::Admin).map(Arc::new);
        Admin { client, timeout_ms, _reporter: reporter }
    }

    /// How long an operation may take with all its attempts.
    pub fn within(self, timeout_ms: u64) -> Admin {
        Admin { timeout_ms, ..self }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What requests say that the broker may take.
    fn request_timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout_ms.min(self.client.settings().request_timeout_ms)).unwrap_or(i32::MAX)
    }

    /// One answer; `code` says what is wrong with it as a whole.
    async fn ask<R: Request>(
        &self,
        target: Target,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, ClientError> {
        Ok(self.ask_whom(target, request, code).await?.response)
    }

    /// As [`Admin::ask`], with who answered.
    async fn ask_whom<R: Request>(
        &self,
        target: Target,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<Answer<R::Response>, ClientError> {
        let made = |_| request.clone();
        let code = |answer: &R::Response| ErrorCode::from_answer(code(answer));
        self.client.call(target, self.timeout_ms, made, code).await
    }

    /// The same for several things, at the same time.
    async fn each<V, F>(&self, names: &[String], work: impl Fn(Admin, String) -> F) -> Results<String, V>
    where
        V: Send + 'static,
        F: Future<Output = Result<V, ClientError>> + Send + 'static,
    {
        let mut working = JoinSet::new();
        for name in names {
            let done = work(self.clone(), name.clone());
            let name = name.clone();
            working.spawn(async move { (name, done.await) });
        }
        let mut results = Results::new();
        while let Some(joined) = working.join_next().await {
            if let Ok((name, result)) = joined {
                results.insert(name, result);
            }
        }
        results
    }

    /// The same of several nodes, at the same time.
    async fn ask_nodes<R: Request>(
        &self,
        requests: impl IntoIterator<Item = (NodeId, R)>,
        code: fn(&R::Response) -> i16,
    ) -> Results<NodeId, R::Response> {
        let mut asked = JoinSet::new();
        for (node, request) in requests {
            let admin = self.clone();
            asked.spawn(async move { (node, admin.ask(Target::Node(node), &request, code).await) });
        }
        let mut answers = Results::new();
        while let Some(joined) = asked.join_next().await {
            if let Ok((node, answer)) = joined {
                answers.insert(node, answer);
            }
        }
        answers
    }

    /// Brokers that are alive, as the client knows them.
    fn nodes(&self) -> Vec<NodeId> {
        self.client.metadata().brokers().keys().copied().collect()
    }
}

/// Nothing, or what a broker's code and words make an error of.
fn check(code: i16, message: Option<String>, what: impl FnOnce() -> String) -> Result<(), ClientError> {
    let code = ErrorCode::from_answer(code);
    if code.is_error() { Err(ClientError::broker(code, message, what())) } else { Ok(()) }
}
