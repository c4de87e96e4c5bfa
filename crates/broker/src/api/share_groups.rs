//! What the handlers of share fetches and acknowledgements have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::Feature;
use ottla_replica::share::{AcknowledgeType, AcknowledgementBatch, SessionKey, SharePartitionId};
use ottla_types::{Now, Offset, Uuid};
use ottla_wire::ErrorCode;
use parking_lot::Mutex;

use super::partitions;
use crate::node::Node;

/// Java prints a UUID with so many characters.
const MEMBER_ID_LEN_MAX: usize = 36;

/// What was said of the records of one partition: offsets, and types as they came.
pub(super) type RawBatch = (i64, i64, Vec<i8>);

/// By topic id and partition.
pub(super) type PartitionErrors = BTreeMap<(Uuid, i32), ErrorCode>;

/// Whether share groups are switched on (`share.version`).
pub(super) fn is_enabled(node: &Node) -> bool {
    node.metadata.image().features.level(Feature::ShareVersion) >= 1
}

/// Whose request it is.
pub(super) fn session_key(
    group_id: Option<String>,
    member_id: Option<String>,
) -> Result<SessionKey, ErrorCode> {
    let group_id = group_id.ok_or(ErrorCode::InvalidRequest)?;
    let member_id = member_id.unwrap_or_default();
    if member_id.is_empty() || member_id.encode_utf16().count() > MEMBER_ID_LEN_MAX {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(SessionKey { group_id: Arc::from(group_id), member: Arc::from(member_id) })
}

/// Acknowledgements in ascending order that make sense by themselves. Renewals must be announced for the whole request.
pub(super) fn batches(raw: Vec<RawBatch>, may_renew: bool) -> Result<Vec<AcknowledgementBatch>, ErrorCode> {
    let mut last_of_all = 0;
    let mut batches = Vec::with_capacity(raw.len());
    for (first, last, types) in raw {
        let len = last.checked_sub(first).and_then(|distance| distance.checked_add(1));
        let fits = types.len() == 1 || len == i64::try_from(types.len()).ok();
        // One that begins where another ends is no matter of order: the record is acknowledged twice.
        if first > last || first < last_of_all || types.is_empty() || !fits {
            return Err(ErrorCode::InvalidRequest);
        }
        last_of_all = last;
        let types = types.iter().map(|code| AcknowledgeType::from_code(*code));
        let types: Option<Vec<AcknowledgeType>> = types.collect();
        let types = types.ok_or(ErrorCode::InvalidRequest)?;
        if !may_renew && types.contains(&AcknowledgeType::Renew) {
            return Err(ErrorCode::InvalidRequest);
        }
        batches.push(AcknowledgementBatch { first_offset: Offset(first), last_offset: Offset(last), types });
    }
    Ok(batches)
}

/// Takes the acknowledgements of one request, and answers with an outcome for each partition.
pub(super) fn acknowledge(
    node: &Arc<Node>,
    key: &SessionKey,
    asked: Vec<((Uuid, i32), Vec<RawBatch>)>,
    may_renew: bool,
    now: Now,
    done: impl FnOnce(PartitionErrors) + Send + 'static,
) {
    let waiting = Arc::new(Mutex::new(Waiting {
        // One for this function, so that nothing is answered before all was asked.
        missing: asked.len() + 1,
        outcomes: BTreeMap::new(),
        done: Some(Box::new(done)),
    }));
    for ((topic_id, partition), raw) in asked {
        let waiting = Arc::clone(&waiting);
        let told = move |result: Result<(), ErrorCode>| {
            Waiting::put(&waiting, Some(((topic_id, partition), result.err().unwrap_or(ErrorCode::None))));
        };
        let checked = batches(raw, may_renew)
            .and_then(|batches| partitions::by_id(node, topic_id, partition).map(|_| batches));
        match checked {
            Ok(batches) => {
                let id = SharePartitionId { group_id: Arc::clone(&key.group_id), topic_id, partition };
                node.share.partitions.acknowledge(&id, &key.member, &batches, now, Box::new(told));
            }
            Err(code) => told(Err(code)),
        }
    }
    Waiting::put(&waiting, None);
}

struct Waiting {
    missing: usize,
    outcomes: PartitionErrors,
    done: Option<Box<dyn FnOnce(PartitionErrors) + Send>>,
}

impl Waiting {
    fn put(of: &Mutex<Waiting>, outcome: Option<((Uuid, i32), ErrorCode)>) {
        let mut waiting = of.lock();
        waiting.outcomes.extend(outcome);
        waiting.missing -= 1;
        if waiting.missing > 0 {
            return;
        }
        let outcomes = std::mem::take(&mut waiting.outcomes);
        let done = waiting.done.take();
        drop(waiting);
        if let Some(done) = done {
            done(outcomes);
        }
    }
}

/// Ends a member's session, and gives what it has to others.
pub(super) fn end_session(node: &Node, key: &SessionKey, now: Now) {
    if let Some(ended) = node.share.sessions.end(key) {
        node.share.release(&ended, now, |_, _| {});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_in_order_and_complete() {
        let check = |raw: &[(i64, i64, &[i8])], may_renew| {
            let raw = raw.iter().map(|(first, last, types)| (*first, *last, types.to_vec())).collect();
            batches(raw, may_renew).map(|batches| batches.len())
        };
        assert_eq!(check(&[(0, 4, &[1]), (5, 6, &[0, 3])], false), Ok(2));
        assert_eq!(check(&[(0, 4, &[4])], true), Ok(1));
        type Raw = &'static [(i64, i64, &'static [i8])];
        assert_eq!(check(&[(0, 4, &[1]), (4, 5, &[1])], false), Ok(2), "4 is acknowledged twice");
        let refused: [(Raw, bool); 8] = [
            (&[(0, 4, &[4])], false),
            (&[(0, 4, &[])], false),
            (&[(0, 4, &[1, 1])], false),
            (&[(0, 4, &[5])], true),
            (&[(4, 3, &[1])], false),
            (&[(0, 4, &[1]), (3, 5, &[1])], false),
            (&[(5, 6, &[1]), (0, 1, &[1])], false),
            (&[(i64::MIN, i64::MAX, &[1, 1])], false),
        ];
        for (raw, may_renew) in refused {
            assert_eq!(check(raw, may_renew), Err(ErrorCode::InvalidRequest), "{raw:?}");
        }
    }
}
