//! What stands between a tool and a node: it keeps what is asked, and answers itself what would change anything, so that the node is
//! the same for everybody.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use ottla_wire::messages::{self as m, api_versions_response};
use ottla_wire::{
    ApiKey, Decoder, Message, RequestHeader, Response, decode_request_header, decode_response,
    encode_response,
};

use crate::answers::{self, Own};
use crate::scene::Scene;
use crate::streams;

/// A request, and at which of the proxy's addresses its connection came in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    pub api: &'static str,
    pub address: usize,
    pub client_id: Option<String>,
    pub version: i16,
    pub body: Bytes,
}

/// What is done with requests.
#[derive(Clone, Debug)]
enum Manner {
    /// All are passed on.
    Open,
    /// What changes something is answered here, and some may go wrong.
    Closed(Scene),
}

/// What connections share.
#[derive(Debug)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    manner: Mutex<Manner>,
}

/// Two addresses for one node.
#[derive(Debug)]
pub struct Proxy {
    pub addresses: [String; 2],
    shared: Arc<Shared>,
}

impl Proxy {
    /// It passes everything on, to a node at this address.
    pub fn start(node: &str) -> Proxy {
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [0, 1].map(|at: usize| listeners[at].local_addr().unwrap());
        let port = addresses[0].port();
        let shared = Arc::new(Shared { asked: Mutex::new(Vec::new()), manner: Mutex::new(Manner::Open) });
        for (address, listener) in listeners.into_iter().enumerate() {
            let (shared, node) = (Arc::clone(&shared), node.to_owned());
            thread::spawn(move || {
                for client in listener.incoming() {
                    let (client, node, shared) = (client.unwrap(), node.clone(), Arc::clone(&shared));
                    // It ends with either side.
                    thread::spawn(move || carry(client, &node, (address, port), &shared));
                }
            });
        }
        Proxy { addresses: addresses.map(|address| address.to_string()), shared }
    }

    /// From now on nothing is changed any more, but for what the scene says. What was asked before is forgotten.
    pub fn close(&self, scene: &Scene) {
        *self.shared.manner.lock().unwrap() = Manner::Closed(scene.clone());
        self.take();
    }

    /// What was asked since this was last called.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }

    /// How many requests of a kind there were since what was asked was last taken.
    pub fn count(&self, api: &str) -> usize {
        self.shared.asked.lock().unwrap().iter().filter(|asked| asked.api == api).count()
    }
}

fn carry(
    mut client: TcpStream,
    node: &str,
    (address, port): (usize, u16),
    shared: &Shared,
) -> io::Result<()> {
    let mut node = TcpStream::connect(node)?;
    client.set_nodelay(true)?;
    node.set_nodelay(true)?;
    loop {
        let frame = read(&mut client)?;
        let mut d = Decoder::new(frame.clone());
        let header = decode_request_header(&mut d).unwrap();
        let (api, client_id, version) =
            (header.api_key.facts().name, header.client_id.clone(), header.api_version);
        let body = d.rest();
        shared.asked.lock().unwrap().push(Asked { api, address, client_id, version, body: body.clone() });
        let manner = shared.manner.lock().unwrap().clone();
        let own = match manner {
            Manner::Open => Own::None,
            Manner::Closed(scene) => answers::own_answer(&header, body.clone(), &scene),
        };
        let answer = match own {
            Own::Answer(answer) => answer,
            Own::Silence => continue,
            Own::None => {
                write(&mut node, &frame)?;
                altered(read(&mut node)?, &header, body, port)
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

pub fn encoded<R: Response>(response: &R, header: &RequestHeader) -> Bytes {
    let whole = encode_response(header.correlation_id, response, header.api_version).unwrap().bytes;
    // Without its length.
    whole.slice(4..)
}

/// So that nobody goes to the node itself, and everything is asked.
fn altered(answer: Bytes, header: &RequestHeader, body: Bytes, port: u16) -> Bytes {
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
        ApiKey::ListGroups => alter(answer, header, |answer: &mut m::ListGroupsResponse| {
            streams::list(&m::ListGroupsRequest::from_bytes(body, header.api_version).unwrap(), answer);
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
