//! What decoding allocates is bounded by the size of what it reads. Alone in its binary, because it looks at the whole
//! process.
#![allow(clippy::unwrap_used, reason = "it is how a test fails")]

use bytes::Bytes;
use ottla_wire::messages::streams_group_heartbeat_request::ActiveTask;
use ottla_wire::messages::*;
use ottla_wire::{DecodeErrorKind, Decoder, Message, for_each_api};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Decodes all versions and returns the most memory that one of them took.
fn peak<M: Message>(frame: &Bytes) -> usize {
    let mut peak = 0;
    for version in M::VERSIONS.iter() {
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        let _ = M::decode(&mut Decoder::new(frame.clone()), version);
        peak = peak.max(ALLOCATOR.peak_usage().saturating_sub(before));
    }
    peak
}

#[test]
fn memory_is_bounded_by_the_frame() {
    const FRAME_LEN: usize = 64 << 10;
    // Compact lengths of 2^21 - 1, 64, 16 and 1; int32 lengths of all that fits and a little; empty elements.
    let patterns: [&[u8]; 7] =
        [&[0xff, 0xff, 0x7f], &[0x41], &[0x11], &[2], &[1], &[0, 0, 0xff, 0], &[0, 0, 0, 2]];
    let limit = 16 * FRAME_LEN + (1 << 20);
    macro_rules! check {
        ($(($key:ident, $request:ident, $response:ident))*) => {
            for pattern in patterns {
                for skip in 0..8 {
                    let body = pattern.iter().cycle().take(FRAME_LEN - skip);
                    let frame = Bytes::from(std::iter::repeat_n(&0, skip).chain(body).copied().collect::<Vec<u8>>());
                    $(
                        assert!(peak::<$request>(&frame) <= limit, "{}", stringify!($request));
                        assert!(peak::<$response>(&frame) <= limit, "{}", stringify!($response));
                    )*
                }
            }
        };
    }
    for_each_api!(check);
    dense_arrays_are_refused();
    large_frames_get_less_than_that();
}

/// Topics of six bytes that take a dozen times that in memory: what a small frame may have, and a large one may not.
fn large_frames_get_less_than_that() {
    let topics = |count: i32| {
        let head = [&(-1i16).to_be_bytes()[..], &[0; 6], &count.to_be_bytes()].concat();
        let body = std::iter::repeat_n(0, 6 * count as usize);
        ProduceRequest::decode(&mut Decoder::new(head.into_iter().chain(body).collect()), 3)
    };
    assert_eq!(topics(1000).unwrap().topic_data.len(), 1000);
    assert_eq!(topics(4_500_000).unwrap_err().kind, DecodeErrorKind::OverBudget);
}

/// Elements of three bytes that take 72 in memory, more of them than the budget has room for.
fn dense_arrays_are_refused() {
    let tasks = |count| StreamsGroupHeartbeatRequest {
        active_tasks: Some(vec![ActiveTask::default(); count]),
        ..Default::default()
    };
    let few = tasks(1000).to_bytes(0).unwrap();
    assert!(StreamsGroupHeartbeatRequest::from_bytes(few.clone(), 0).is_ok());
    let error = StreamsGroupHeartbeatRequest::decode(&mut Decoder::with_budget(few, 10_000), 0).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::OverBudget);

    let many = tasks(200_000).to_bytes(0).unwrap();
    assert!(peak::<StreamsGroupHeartbeatRequest>(&many) <= 16 * many.len() + (1 << 20));
    let error = StreamsGroupHeartbeatRequest::from_bytes(many, 0).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::OverBudget);
}
