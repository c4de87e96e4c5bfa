use std::collections::BinaryHeap;

/// Records of a share partition, from `first_offset` to `last_offset`, that stand alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateBatch {
    pub first_offset: i64,
    pub last_offset: i64,
    /// 0 available, 2 acknowledged, 4 archived.
    pub delivery_state: i8,
    pub delivery_count: i16,
}

impl StateBatch {
    fn rank(&self) -> (i16, i8) {
        (self.delivery_count, self.delivery_state)
    }
}

/// One list of batches in which no offset occurs twice, in the order of offsets. Where several cover an offset, the one
/// with the higher delivery count is right, and of these the one with the higher state. What lies before `start_offset`
/// is left out, unless that is -1. Neighbours that stand alike become one.
pub fn combine(so_far: &[StateBatch], new: &[StateBatch], start_offset: i64) -> Vec<StateBatch> {
    let clip =
        |batch: &StateBatch| StateBatch { first_offset: batch.first_offset.max(start_offset), ..*batch };
    let mut sorted: Vec<StateBatch> =
        so_far.iter().chain(new).map(clip).filter(|batch| batch.first_offset <= batch.last_offset).collect();
    sorted.sort_by_key(|batch| batch.first_offset);
    let mut coming = sorted.into_iter().peekable();
    let mut combined = Vec::new();
    // The batches that cover `at`, and maybe some that have ended before it, the best first.
    let mut covering: BinaryHeap<(i16, i8, i64)> = BinaryHeap::new();
    let mut at = i64::MIN;
    loop {
        while covering.peek().is_some_and(|(_, _, last)| *last < at) {
            covering.pop();
        }
        if covering.is_empty() {
            let Some(next) = coming.peek() else { return combined };
            at = at.max(next.first_offset);
        }
        while let Some(next) = coming.next_if(|batch| batch.first_offset <= at) {
            covering.push((next.delivery_count, next.delivery_state, next.last_offset));
        }
        let Some(&(delivery_count, delivery_state, last)) = covering.peek() else { continue };
        if last < at {
            continue;
        }
        // Up to where another one begins, which may be better.
        let end = coming.peek().map_or(last, |next| last.min(next.first_offset - 1));
        push(
            &mut combined,
            StateBatch { first_offset: at, last_offset: end, delivery_state, delivery_count },
        );
        let Some(next) = end.checked_add(1) else { return combined };
        at = next;
    }
}

fn push(combined: &mut Vec<StateBatch>, batch: StateBatch) {
    match combined.last_mut() {
        Some(last) if last.last_offset + 1 == batch.first_offset && last.rank() == batch.rank() => {
            last.last_offset = batch.last_offset;
        }
        _ => combined.push(batch),
    }
}
