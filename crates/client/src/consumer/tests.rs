//! What a consumer's owner may commit once its group has given it up.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ottla_types::TopicPartition;
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, OffsetCommitRequest};
use ottla_wire::{ApiKey, ErrorCode};

use super::{Consumer, ConsumerError, ConsumerEvent, ConsumerSettings, GroupProtocol, OffsetReset};
use crate::effects::{Fake, Fate};
use crate::{ClientSettings, Topics};

const RECORDS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// A member of a group in the cluster, which reads from the beginning and commits nothing by itself.
pub(super) fn member_of(fake: &Fake) -> ConsumerSettings {
    let client =
        ClientSettings { connector: Some(Arc::new(fake.clone())), ..ClientSettings::new("boot:9092") };
    ConsumerSettings {
        group_id: Some("g".to_owned()),
        enable_auto_commit: false,
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerSettings::new(client)
    }
}

/// A group that has a member with records in hand.
struct Group {
    fake: Fake,
    consumer: Consumer,
    heartbeat: ApiKey,
}

impl Group {
    async fn new(group_protocol: GroupProtocol) -> Group {
        let fake = Fake::new();
        fake.topic("t", 1);
        fake.load("t", 0, RECORDS);
        let settings = ConsumerSettings { group_protocol, heartbeat_interval_ms: 1_000, ..member_of(&fake) };
        let mut consumer = Consumer::connect(settings).await.unwrap();
        consumer.subscribe(["t"]).unwrap();
        assert_eq!(consumer.poll(PATIENCE).await.unwrap().len(), RECORDS);
        let heartbeat = match group_protocol {
            GroupProtocol::Classic => ApiKey::Heartbeat,
            GroupProtocol::Consumer => ApiKey::ConsumerGroupHeartbeat,
        };
        Group { fake, consumer, heartbeat }
    }

    /// Refuses the next heartbeat. All after it are taken, whoever says to be who.
    async fn give_up(&self) {
        Group::refuse_a_heartbeat(&self.fake, self.heartbeat).await;
    }

    async fn refuse_a_heartbeat(fake: &Fake, heartbeat: ApiKey) {
        let mut refused = false;
        fake.on_request(move |seen| {
            if seen.api != heartbeat || std::mem::replace(&mut refused, true) {
                return Fate::Answered;
            }
            Fate::Refused(ErrorCode::UnknownMemberId)
        });
        let before = fake.seen(heartbeat).len();
        fake.until_seen(heartbeat, before + 1).await;
        // Whoever joins again by itself has long done it.
        tokio::time::sleep(PATIENCE).await;
    }

    fn committed(&self) -> Vec<i64> {
        let offset = |request: OffsetCommitRequest| request.topics[0].partitions[0].committed_offset;
        self.fake.seen(ApiKey::OffsetCommit).iter().map(|seen| offset(seen.read())).collect()
    }
}

const PROTOCOLS: [GroupProtocol; 2] = [GroupProtocol::Classic, GroupProtocol::Consumer];

fn is_refused(result: Result<(), ConsumerError>) -> bool {
    matches!(result, Err(ConsumerError::NotAMember(_)))
}

#[tokio::test(start_paused = true)]
async fn what_was_read_as_another_member_is_not_committed() {
    for protocol in PROTOCOLS {
        let mut group = Group::new(protocol).await;
        let metadata = group.consumer.group_metadata().unwrap();
        group.give_up().await;
        // A transaction would commit what is done here again by whoever has the partition now.
        assert!(is_refused(group.consumer.group_metadata().map(drop)), "{protocol:?}");
        assert!(is_refused(group.consumer.commit().await), "{protocol:?}");
        let t0 = TopicPartition::new("t", 0);
        assert_eq!(group.consumer.next().await.unwrap(), ConsumerEvent::Lost(vec![t0.clone()]));
        assert_eq!(group.consumer.next().await.unwrap(), ConsumerEvent::Assigned(vec![t0]));
        assert_ne!(group.consumer.group_metadata().unwrap(), metadata, "{protocol:?}");
        assert_eq!(group.consumer.poll(PATIENCE).await.unwrap().len(), RECORDS, "{protocol:?}: read again");
        group.consumer.commit().await.unwrap();
        assert_eq!(group.committed(), [RECORDS as i64], "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_behind_a_fetch_that_waits_for_records() {
    let Group { fake, consumer, .. } = Group::new(GroupProtocol::Consumer).await;
    let partitions = [TopicPartition::new("t", 0)];
    // In the middle of a fetch, wherever that begins.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(333)).await;
        let asked_ms = fake.now_ms();
        let ends = consumer.end_offsets(partitions.clone()).await.unwrap();
        assert_eq!(ends[&partitions[0]].value(), RECORDS as i64);
        assert!(fake.now_ms() < asked_ms + 10, "after {} ms", fake.now_ms() - asked_ms);
    }
}

/// As in `select!`, where another branch is ready first.
#[tokio::test(start_paused = true)]
async fn a_loss_that_was_not_told_yet_is_no_time_to_commit() {
    for protocol in PROTOCOLS {
        let mut group = Group::new(protocol).await;
        let mut next = Box::pin(group.consumer.next());
        let waits = std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "all is read");
        Group::refuse_a_heartbeat(&group.fake, group.heartbeat).await;
        drop(next);
        assert!(is_refused(group.consumer.group_metadata().map(drop)), "{protocol:?}");
        assert!(is_refused(group.consumer.commit().await), "{protocol:?}");
        assert!(matches!(group.consumer.next().await.unwrap(), ConsumerEvent::Lost(_)), "{protocol:?}");
        assert!(group.consumer.group_metadata().is_ok(), "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_consumers_client_keeps_it_when_that_is_closed() {
    let group = Group::new(GroupProtocol::Classic).await;
    let client = group.consumer.client().clone();
    group.consumer.close(PATIENCE).await.unwrap();
    client.refresh(Topics::Named(vec!["t".into()])).await.unwrap();
    let open = |fake: &Fake| fake.with(|state| state.connections() - state.closed.len());
    assert!(open(&group.fake) > 0);
    drop(client);
    while open(&group.fake) > 0 {
        assert!(group.fake.now_ms() < 3_600_000, "the last one closes the connections");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_turn_comes_under_another_assignment_is_refused() {
    for protocol in PROTOCOLS {
        let mut group = Group::new(protocol).await;
        let heartbeat = group.heartbeat;
        let mut refused = false;
        // The coordinator takes commits only once the member is another one.
        group.fake.on_request(move |seen| match seen.api {
            ApiKey::OffsetCommit if !refused => Fate::Refused(ErrorCode::CoordinatorLoadInProgress),
            api if api == heartbeat && !std::mem::replace(&mut refused, true) => {
                Fate::Refused(ErrorCode::UnknownMemberId)
            }
            _ => Fate::Answered,
        });
        let positions = group.consumer.positions();
        let commit = group.consumer.commit_offsets_later(positions).unwrap();
        assert!(matches!(group.consumer.next().await.unwrap(), ConsumerEvent::Lost(_)));
        assert!(matches!(group.consumer.next().await.unwrap(), ConsumerEvent::Assigned(_)));
        assert!(is_refused(commit.await), "{protocol:?}");
    }
}

/// What a member that leaves says.
fn has_left(fake: &Fake) -> bool {
    let leaves = |seen: &crate::effects::Seen| seen.read::<ConsumerGroupHeartbeatRequest>().member_epoch < 0;
    !fake.seen(ApiKey::LeaveGroup).is_empty() || fake.seen(ApiKey::ConsumerGroupHeartbeat).iter().any(leaves)
}

#[tokio::test(start_paused = true)]
async fn a_task_that_asked_and_went_on_with_something_else_does_not_wait() {
    for protocol in PROTOCOLS {
        for is_stuck in [true, false] {
            let mut group = Group::new(protocol).await;
            let interval_ms = u64::try_from(group.consumer.settings().max_poll_interval_ms).unwrap();
            let polled = async {
                std::future::poll_fn(|cx| {
                    let event = group.consumer.poll_event(cx);
                    assert!(event.is_pending(), "all is read: {event:?}");
                    // What wakes this is for something else, from now on.
                    if is_stuck { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            };
            let _ = tokio::time::timeout(Duration::from_millis(interval_ms * 3), polled).await;
            let asked_ms = group.fake.now_ms();
            if is_stuck {
                while !has_left(&group.fake) {
                    assert!(group.fake.now_ms() < asked_ms + interval_ms * 2, "{protocol:?}");
                    tokio::time::sleep(Duration::from_millis(1_000)).await;
                }
                assert!(group.fake.now_ms() >= asked_ms + interval_ms, "{protocol:?}");
            } else {
                assert!(!has_left(&group.fake), "{protocol:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_again_and_again_is_told_once() {
    let Group { fake, mut consumer, .. } = Group::new(GroupProtocol::Consumer).await;
    fake.on_request(|seen| match seen.api {
        ApiKey::Fetch => Fate::Refused(ErrorCode::TopicAuthorizationFailed),
        _ => Fate::Answered,
    });
    let before = fake.seen(ApiKey::Fetch).len();
    fake.until_seen(ApiKey::Fetch, before + 100).await;
    let polls = std::future::poll_fn(|cx| {
        let mut fails = || match consumer.poll_event(cx) {
            Poll::Ready(Err(_)) => true,
            Poll::Ready(Ok(event)) => panic!("{event:?}"),
            Poll::Pending => false,
        };
        Poll::Ready([fails(), fails()])
    });
    assert_eq!(polls.await, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_is_matched_at_once_also_after_another_one() {
    let fake = Fake::new();
    let settings = member_of(&fake);
    let matched_again = Duration::from_millis(settings.client.metadata_max_age_ms);
    let mut consumer = Consumer::connect(settings).await.unwrap();
    for name in ["a", "b"] {
        fake.topic(name, 1);
        fake.load(name, 0, RECORDS);
        consumer.subscribe_pattern(&format!("{name}+")).unwrap();
        let records = consumer.poll(matched_again / 3).await.unwrap();
        let topics: Vec<&str> = records.iter().map(|record| &*record.topic_partition.topic).collect();
        assert_eq!(topics, [name; RECORDS]);
    }
}
