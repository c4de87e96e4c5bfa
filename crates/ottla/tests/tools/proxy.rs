//! What stands between a tool and a node: it keeps what is asked, and answers itself what would change anything, so that the node is
//! the same for everybody.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use ottla_wire::messages::{self as m, api_versions_response};
use ottla_wire::{
    ApiKey, Decoder, ErrorCode, Message, RequestHeader, Response, decode_request_header, decode_response,
    encode_response,
};

/// A request, and at which of the proxy's addresses its connection came in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    pub api: &'static str,
    pub address: usize,
    pub client_id: Option<String>,
    pub body: Bytes,
}

/// Two addresses for one node.
#[derive(Debug)]
pub struct Proxy {
    pub addresses: [String; 2],
    asked: Arc<Mutex<Vec<Asked>>>,
    passes_all: Arc<AtomicBool>,
}

impl Proxy {
    /// It passes everything on, to a node at this address.
    pub fn start(node: &str) -> Proxy {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [0, 1].map(|at: usize| listeners[at].local_addr().unwrap());
        let port = addresses[0].port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let passes_all = Arc::new(AtomicBool::new(true));
        for (address, listener) in listeners.into_iter().enumerate() {
            let (asked, node, passes_all) = (Arc::clone(&asked), node.to_owned(), Arc::clone(&passes_all));
            thread::spawn(move || {
                for client in listener.incoming() {
                    let (client, node) = (client.unwrap(), node.clone());
                    let (asked, passes_all) = (Arc::clone(&asked), Arc::clone(&passes_all));
                    // It ends with either side.
                    thread::spawn(move || carry(client, &node, (address, port), &asked, &passes_all));
                }
            });
        }
        Proxy { addresses: addresses.map(|address| address.to_string()), asked, passes_all }
    }

    /// From now on nothing is changed any more.
    pub fn close(&self) {
        self.passes_all.store(false, Ordering::Relaxed);
        self.take();
    }

    /// What was asked since this was last called.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn carry(
    mut client: TcpStream,
    node: &str,
    (address, port): (usize, u16),
    asked: &Mutex<Vec<Asked>>,
    passes_all: &AtomicBool,
) -> io::Result<()> {
    let mut node = TcpStream::connect(node)?;
    client.set_nodelay(true)?;
    node.set_nodelay(true)?;
    loop {
        let frame = read(&mut client)?;
        let mut d = Decoder::new(frame.clone());
        let header = decode_request_header(&mut d).unwrap();
        let (api, client_id, body) = (header.api_key.facts().name, header.client_id.clone(), d.rest());
        asked.lock().unwrap().push(Asked { api, address, client_id, body: body.clone() });
        let own = if passes_all.load(Ordering::Relaxed) { None } else { own_answer(&header, body) };
        let answer = match own {
            Some(answer) => answer,
            None => {
                write(&mut node, &frame)?;
                altered(read(&mut node)?, &header, port)
            }
        };
        write(&mut client, &answer)?;
    }
}

fn read(from: &mut TcpStream) -> io::Result<Bytes> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
    from.read_exact(&mut frame)?;
    Ok(frame.into())
}

fn write(to: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    to.write_all(&i32::try_from(frame.len()).unwrap().to_be_bytes())?;
    to.write_all(frame)
}

fn encoded<R: Response>(response: &R, header: &RequestHeader) -> Bytes {
    let whole = encode_response(header.correlation_id, response, header.api_version).unwrap().bytes;
    // Without its length.
    whole.slice(4..)
}

/// So that nobody goes to the node itself, and everything is asked.
fn altered(answer: Bytes, header: &RequestHeader, port: u16) -> Bytes {
    let port = i32::from(port);
    match header.api_key {
        ApiKey::ApiVersions => alter(answer, header, with_all),
        ApiKey::Metadata => alter(answer, header, |answer: &mut m::MetadataResponse| {
            answer.brokers.iter_mut().for_each(|broker| broker.port = port);
        }),
        ApiKey::DescribeCluster => alter(answer, header, |answer: &mut m::DescribeClusterResponse| {
            answer.brokers.iter_mut().for_each(|broker| broker.port = port);
        }),
        ApiKey::FindCoordinator => alter(answer, header, |answer: &mut m::FindCoordinatorResponse| {
            answer.coordinators.iter_mut().for_each(|coordinator| coordinator.port = port);
        }),
        _ => answer,
    }
}

fn alter<R: Response>(answer: Bytes, header: &RequestHeader, change: impl FnOnce(&mut R)) -> Bytes {
    // One of a version that the node doesn't know is of the first version.
    let Ok((_, mut response)) = decode_response::<R>(answer.clone(), header.api_version) else {
        return answer;
    };
    change(&mut response);
    encoded(&response, header)
}

/// With what the node doesn't serve, and this answers instead.
fn with_all(versions: &mut m::ApiVersionsResponse) {
    for api in ApiKey::all() {
        let range = api.facts().broker_versions;
        if let Some(range) = range.filter(|_| versions.api_keys.iter().all(|of| of.api_key != api.code())) {
            versions.api_keys.push(api_versions_response::ApiKey {
                api_key: api.code(),
                min_version: range.min,
                max_version: range.max,
                ..Default::default()
            });
        }
    }
}

macro_rules! own_answers {
    ($($api:ident $response:ident,)*) => {
        /// To what changes something, and to what the node doesn't serve: nothing went wrong, and nothing is there.
        fn own_answer(header: &RequestHeader, body: Bytes) -> Option<Bytes> {
            match header.api_key {
                $(ApiKey::$api => Some(encoded(&m::$response::default(), header)),)*
                _ => own_answer_to(header, body),
            }
        }
    };
}

own_answers! {
    DeleteTopics DeleteTopicsResponse,
    CreatePartitions CreatePartitionsResponse,
    AlterConfigs AlterConfigsResponse,
    IncrementalAlterConfigs IncrementalAlterConfigsResponse,
    AlterReplicaLogDirs AlterReplicaLogDirsResponse,
    ElectLeaders ElectLeadersResponse,
    AlterPartitionReassignments AlterPartitionReassignmentsResponse,
    OffsetDelete OffsetDeleteResponse,
    DeleteGroups DeleteGroupsResponse,
    DeleteShareGroupOffsets DeleteShareGroupOffsetsResponse,
    AlterShareGroupOffsets AlterShareGroupOffsetsResponse,
    UpdateFeatures UpdateFeaturesResponse,
    UnregisterBroker UnregisterBrokerResponse,
    AddRaftVoter AddRaftVoterResponse,
    RemoveRaftVoter RemoveRaftVoterResponse,
    AlterClientQuotas AlterClientQuotasResponse,
    AlterUserScramCredentials AlterUserScramCredentialsResponse,
    OffsetCommit OffsetCommitResponse,
    CreateAcls CreateAclsResponse,
    DeleteAcls DeleteAclsResponse,
    DescribeAcls DescribeAclsResponse,
    CreateDelegationToken CreateDelegationTokenResponse,
    RenewDelegationToken RenewDelegationTokenResponse,
    ExpireDelegationToken ExpireDelegationTokenResponse,
    DescribeDelegationToken DescribeDelegationTokenResponse,
    DescribeClientQuotas DescribeClientQuotasResponse,
    DescribeUserScramCredentials DescribeUserScramCredentialsResponse,
}

/// Where an answer without what was asked for would be waited for again.
fn own_answer_to(header: &RequestHeader, body: Bytes) -> Option<Bytes> {
    let version = header.api_version;
    match header.api_key {
        ApiKey::CreateTopics => {
            let topic = |topic: m::create_topics_request::Topic| {
                // It is there.
                let error = if topic.name == "t" { ErrorCode::TopicAlreadyExists } else { ErrorCode::None };
                let error_code = error.code();
                m::create_topics_response::Topic { name: topic.name, error_code, ..Default::default() }
            };
            let topics = m::CreateTopicsRequest::from_bytes(body, version).unwrap().topics;
            let topics = topics.into_iter().map(topic).collect();
            Some(encoded(&m::CreateTopicsResponse { topics, ..Default::default() }, header))
        }
        ApiKey::DeleteRecords => {
            let topic = |topic: m::delete_records_request::Topic| m::delete_records_response::Topic {
                name: topic.name,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|of| m::delete_records_response::Partition {
                        partition_index: of.partition_index,
                        low_watermark: of.offset,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            };
            let topics = m::DeleteRecordsRequest::from_bytes(body, version).unwrap().topics;
            let topics = topics.into_iter().map(topic).collect();
            Some(encoded(&m::DeleteRecordsResponse { topics, ..Default::default() }, header))
        }
        ApiKey::WriteTxnMarkers => {
            let topic = |topic: m::write_txn_markers_request::Topic| m::write_txn_markers_response::Topic {
                name: topic.name,
                partitions: topic
                    .partition_indexes
                    .iter()
                    .map(|index| m::write_txn_markers_response::Partition {
                        partition_index: *index,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            };
            let marker =
                |marker: m::write_txn_markers_request::Marker| m::write_txn_markers_response::Marker {
                    producer_id: marker.producer_id,
                    topics: marker.topics.into_iter().map(topic).collect(),
                    ..Default::default()
                };
            let markers = m::WriteTxnMarkersRequest::from_bytes(body, version).unwrap().markers;
            let markers = markers.into_iter().map(marker).collect();
            Some(encoded(&m::WriteTxnMarkersResponse { markers, ..Default::default() }, header))
        }
        _ => None,
    }
}
