//! What clients ask before the node serves them waits until it does. Only which process listens here is told at once
//! ([`ottla_broker::process_identity`]): controllers let a broker's next process in when they have heard that.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ottla_broker::exchange::{Connection, Handler, Reply, ReplySlot};
use ottla_broker::process_identity;
use ottla_types::Now;
use parking_lot::Mutex;

/// Of all requests that wait. Clients begin with small ones; who begins with more than there is room for is hung up on.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// In front of a node's handler.
pub struct Gate {
    handler: Arc<dyn Handler>,
    is_open: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// One of each connection at most.
    waiting: Vec<Waiting>,
    bytes: usize,
}

struct Waiting {
    connection: Arc<Connection>,
    frame: Bytes,
    reply: ReplySlot,
}

impl Gate {
    pub fn new(handler: Arc<dyn Handler>) -> Gate {
        Gate { handler, is_open: AtomicBool::new(false), queue: Mutex::default() }
    }

    /// All that waits is handled, and everything from then on.
    pub fn open(&self, now: Now) {
        // What comes meanwhile waits for the lock, and is not handled before what came first on its connection.
        let mut queue = self.queue.lock();
        for Waiting { connection, frame, reply } in std::mem::take(&mut *queue).waiting {
            self.handler.handle(&connection, frame, now, reply);
        }
        self.is_open.store(true, Ordering::Release);
    }

    fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }
}

impl Handler for Gate {
    fn handle(&self, connection: &Arc<Connection>, frame: Bytes, now: Now, reply: ReplySlot) {
        if !self.is_open() && !process_identity::is_question(&frame) {
            let mut queue = self.queue.lock();
            if !self.is_open() {
                if frame.len() > WAITING_BYTES_MAX - queue.bytes {
                    drop(queue);
                    return reply.send(Reply::Close(
                        "the node does not serve yet, and too much waits for it".to_owned(),
                    ));
                }
                connection.hold();
                queue.bytes += frame.len();
                // Not all that was read with it.
                let frame = Bytes::copy_from_slice(&frame);
                return queue.waiting.push(Waiting { connection: Arc::clone(connection), frame, reply });
            }
        }
        self.handler.handle(connection, frame, now, reply);
    }

    fn closed(&self, connection: &Connection) {
        if !self.is_open() {
            let mut queue = self.queue.lock();
            let is_its = |of: &mut Waiting| of.connection.id == connection.id;
            let given_up: Vec<_> = queue.waiting.extract_if(.., is_its).collect();
            queue.bytes -= given_up.iter().map(|of| of.frame.len()).sum::<usize>();
            drop(queue);
            drop(given_up);
        }
        self.handler.closed(connection);
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use ottla_broker::exchange::{Held, ReplySink};
    use ottla_wire::messages::{ApiVersionsRequest, MetadataRequest};
    use ottla_wire::{FRAME_LENGTH_BYTES, Request, encode_request};

    use super::*;

    /// What came, in order: connections and the correlation ids of their requests.
    #[derive(Debug, Default)]
    struct Seen(Mutex<Vec<(u64, i32)>>);

    impl Handler for Seen {
        fn handle(&self, connection: &Arc<Connection>, frame: Bytes, _: Now, reply: ReplySlot) {
            let id = frame.get(4..8).and_then(|id| id.try_into().ok()).map(i32::from_be_bytes);
            self.0.lock().push((connection.id, id.expect("a whole header")));
            reply.send(Reply::Nothing);
        }

        fn closed(&self, connection: &Connection) {
            self.0.lock().push((connection.id, -1));
        }
    }

    /// Counts what is answered.
    #[derive(Debug, Default)]
    struct Answers(Mutex<Vec<String>>);

    impl ReplySink for Answers {
        fn reply(&self, sequence: u64, reply: Reply) {
            self.0.lock().push(format!("{sequence} {reply:?}"));
        }
    }

    fn connection(id: u64) -> Arc<Connection> {
        Arc::new(Connection {
            id,
            listener: "PLAINTEXT".into(),
            is_controller_listener: false,
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: "/127.0.0.1".into(),
            software: Mutex::default(),
            held: Held::default(),
        })
    }

    fn frame<R: Request>(id: i32, request: &R, version: i16) -> Bytes {
        encode_request(id, Some("test"), request, version)
            .expect("it encodes")
            .bytes
            .slice(FRAME_LENGTH_BYTES..)
    }

    #[test]
    fn requests_wait_in_order_and_who_listens_is_told_at_once() {
        let (seen, answers) = (Arc::new(Seen::default()), Arc::new(Answers::default()));
        let gate = Gate::new(Arc::clone(&seen) as _);
        let ask = |connection: &Arc<Connection>, id: i32, frame| {
            let reply = ReplySlot::new(Arc::clone(&answers) as _, id.unsigned_abs().into());
            gate.handle(connection, frame, Now::default(), reply);
        };
        let [first, second, gone] = [1, 2, 3].map(connection);
        let mut question = ApiVersionsRequest::default();
        ask(&first, 1, frame(1, &question, 3));
        process_identity::ask(&mut question.unknown_tagged_fields);
        ask(&second, 2, frame(2, &question, 3));
        assert_eq!(std::mem::take(&mut *seen.0.lock()), [(2, 2)]);
        assert!(first.is_held() && !second.is_held());
        ask(&gone, 3, frame(3, &MetadataRequest::default(), 4));
        ask(&second, 4, frame(4, &MetadataRequest::default(), 4));
        gate.closed(&gone);
        assert_eq!(std::mem::take(&mut *seen.0.lock()), [(3, -1)]);
        assert_eq!(answers.0.lock().len(), 2, "the question, and that nobody answers who has gone");
        gate.open(Now::default());
        ask(&gone, 5, frame(5, &MetadataRequest::default(), 4));
        assert_eq!(*seen.0.lock(), [(1, 1), (2, 4), (3, 5)]);
    }

    #[test]
    fn who_waits_with_too_much_is_hung_up_on() {
        let (seen, answers) = (Arc::new(Seen::default()), Arc::new(Answers::default()));
        let gate = Gate::new(Arc::clone(&seen) as _);
        let send = |connection: &Arc<Connection>, id: u64, len: usize| {
            let reply = ReplySlot::new(Arc::clone(&answers) as _, id);
            gate.handle(connection, Bytes::from(vec![0; len]), Now::default(), reply);
        };
        let [first, second, third] = [1, 2, 3].map(connection);
        send(&first, 1, WAITING_BYTES_MAX - 8);
        send(&second, 2, 8);
        send(&third, 3, 9);
        let told = std::mem::take(&mut *answers.0.lock());
        assert!(matches!(told.as_slice(), [told] if told.starts_with("3 Close")), "{told:?}");
        gate.closed(&first);
        send(&third, 3, 9);
        gate.open(Now::default());
        assert_eq!(seen.0.lock().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
