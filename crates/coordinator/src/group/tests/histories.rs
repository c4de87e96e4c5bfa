//! What random histories of groups have in common: how a log goes on, and how one coordinator follows another.

use super::*;
use crate::group::state::StoredGroup;
use crate::testing::Choices;

impl Rig {
    /// Commits what was written, or all but the last of it.
    pub(super) fn commit_some(&self, choices: &mut Choices) {
        if let Some(to) = self.logs.commit_some(0, choices) {
            self.coordinator.high_watermark_updated(0, to);
        }
    }

    /// Another coordinator goes on, with some of what was not committed; its writes wait for their commit.
    pub(super) fn failed_over(&self, choices: &mut Choices) -> Rig {
        self.coordinator.on_resign(0, None);
        let next = self.taken_over_with(self.logs.log(0).survivor(choices));
        next.hold_commits();
        next
    }

    /// The log replays to what the coordinator has, also when it is compacted.
    #[track_caller]
    pub(super) fn check_replay(&self) {
        let log = self.logs.log(0);
        let (written, committed) = self.states();
        let replayed = |log: MemoryLog| Rig::with_log(config(), log).states().0;
        assert_eq!(written, replayed(log.truncated(log.end())), "the log replays to something else");
        let safe = log.truncated(log.high_watermark);
        for keeps_tombstones in [false, true] {
            let compacted = replayed(safe.compacted(keeps_tombstones));
            assert_eq!(
                without_names_alone(committed.clone()),
                without_names_alone(compacted),
                "the compacted log replays to something else"
            );
        }
        assert_eq!(committed, replayed(safe), "the committed log replays to something else");
    }
}

/// Groups of which nothing but the name is left, until they are removed, are gone with their last record.
fn without_names_alone(mut state: GroupState) -> GroupState {
    let is_name_alone = |(id, group): &(&Arc<str>, &StoredGroup)| {
        matches!(group, StoredGroup::Simple)
            && state.offsets.of_group(id).is_none()
            && !state.offsets.has_open_transactions(id)
    };
    let names: Vec<Arc<str>> = state.groups.iter().filter(is_name_alone).map(|(id, _)| id.clone()).collect();
    for name in names {
        state.groups.remove_mut(&name);
    }
    state
}
