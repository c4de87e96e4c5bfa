//! Patterns that are made to be expensive.

use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ListTransactionsRequest};

use super::members::{Member, join_modern};
use super::*;

/// As a member says it that joins a group of its own.
fn by_pattern(group: String, pattern: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group,
        member_id: "m".to_owned(),
        rebalance_timeout_ms: LONG_MS,
        subscribed_topic_regex: Some(pattern.to_owned()),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

#[test]
fn hostile_patterns_are_refused_and_hurt_nobody() {
    let hostile = [
        // As long as a text can be: the answer must not be longer.
        r"\pL".repeat(10_922),
        r"[^\pN]".repeat(5_000),
        format!("(?i){}", r"[\x00-\x{10FFFF}]".repeat(1_500)),
        "((a{0,999}){0,999}){0,999}".to_owned(),
        format!("{}a{}", "(".repeat(16_000), ")".repeat(16_000)),
        format!("[{}]", "[a&&b]".repeat(5_000)),
    ];
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let stream = with_topic(&ottla);
    wait_for_coordinator(&stream, 0);
    wait_for_coordinator(&stream, 1);
    let before = peak_bytes(&ottla);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (ottla, hostile, is_over) = (&ottla, &hostile, &is_over);
            scope.spawn(move || {
                let stream = connect(ottla);
                for number in 0.. {
                    for pattern in hostile {
                        let begin: String = pattern.chars().take(20).collect();
                        let request = by_pattern(format!("hostile-{thread}-{number}"), pattern);
                        let refused = code(call(&stream, &request, 1).error_code);
                        assert_eq!(refused, ErrorCode::InvalidRegularExpression, "{begin}");
                        let request = ListTransactionsRequest {
                            transactional_id_pattern: Some(pattern.clone()),
                            ..ListTransactionsRequest::default()
                        };
                        let refused = code(call(&stream, &request, 2).error_code);
                        assert_eq!(refused, ErrorCode::InvalidRegularExpression, "{begin}");
                    }
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        // Meanwhile others live as ever, with patterns of their own.
        for offset in 0..50 {
            assert_eq!(commit(&stream, "quiet", offset), ErrorCode::None);
        }
        Member::new(&ottla, "other", LONG_MS).settle().unwrap();
        assert_eq!(code(join_modern(&stream, "modern", "m").error_code), ErrorCode::None);
        let joined = call(&stream, &by_pattern("friendly".to_owned(), r"(?i)[\p{L}]+"), 1);
        let topics = joined.assignment.expect("it is told what it has").topic_partitions;
        assert_eq!((code(joined.error_code), topics.len()), (ErrorCode::None, 1));
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(peak_bytes(&ottla) < before + 128 * MEGABYTE, "{} MB", (peak_bytes(&ottla) - before) / MEGABYTE);
    assert!(ottla.stop().success());
}
