//! Which topics the patterns of a group match. That is found out outside of the shard, however little it takes, for a
//! pattern comes from outside: the heartbeat that brings one, or that comes when it is time to look again, goes on when it is
//! known, and nobody else waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::MetadataImage;
use ottla_wire::ErrorCode;
use ottla_wire::messages::ConsumerGroupHeartbeatRequest;
use ottla_wire::records::ConsumerGroupRegularExpressionValue;
use tracing::warn;

use super::draft::Draft;
use super::group::ConsumerGroup;
use super::record::ConsumerContent;
use super::refusal::Refusal;
use crate::group::shard::{GroupShard, GroupTurn};
use crate::group::state::StoredGroup;
use crate::pattern::{Effort, NamePattern, PatternError};

/// How long patterns that are resolved stay as they are, at the least, whatever topics come and go: in milliseconds. So
/// that many new topics make one rebalance.
const REGEX_REFRESH_MIN_INTERVAL_MS: i64 = 10_000;

/// So much of a pattern is repeated to who has sent it, in characters.
const SHOWN_CHARS_MAX: usize = 1_000;

/// Patterns whose topics are to be found.
#[derive(Debug)]
pub(super) struct PatternJob {
    /// What the heartbeat brings: none of the group's others leave less for it, nor does it for them.
    said: Option<Arc<str>>,
    patterns: BTreeSet<Arc<str>>,
    image: Arc<MetadataImage>,
    token: Option<Arc<()>>,
}

/// The topics of some patterns, and which are none.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// The metadata's offset that they were found at.
    version: i64,
    topics: BTreeMap<Arc<str>, Result<Vec<String>, PatternError>>,
    /// While it lives, nobody else looks for those of the whole group.
    _token: Option<Arc<()>>,
}

impl PatternJob {
    pub(super) fn run(self) -> Resolved {
        let PatternJob { said, patterns, image, token } = self;
        let bytes = image.topics.iter().map(|topic| topic.name.len()).sum();
        let resolve = |regex: Arc<str>, effort: &mut Effort| {
            let topics = NamePattern::new(&regex, effort).and_then(|pattern| {
                effort.allow_names(bytes);
                // In the order of their names.
                let names = image.topics.iter().map(|topic| &*topic.name);
                let matching = pattern.all_matching(names, effort)?;
                Ok(matching.into_iter().map(str::to_owned).collect())
            });
            (regex, topics)
        };
        let said = said.map(|regex| resolve(regex, &mut Effort::default()));
        // Whoever matches has other things to do: a group may have as many patterns as it has members.
        let mut effort = Effort::default();
        let of_group = patterns.into_iter().map(|regex| resolve(regex, &mut effort));
        let topics = of_group.chain(said).collect();
        Resolved { version: image.provenance.last_offset.value(), topics, _token: token }
    }
}

impl Resolved {
    /// Refuses a pattern that somebody is the first to subscribe by.
    pub(super) fn check(&self, regex: &str) -> Result<(), Refusal> {
        let Some(Err(error)) = self.topics.get(regex) else { return Ok(()) };
        // No text in a response may be longer than one in a request, which this one may fill.
        let shown = shown(regex);
        let message = format!("SubscribedTopicRegex `{shown}` is not a valid regular expression: {error}.");
        Err(Refusal::new(ErrorCode::InvalidRegularExpression, message))
    }
}

fn shown(regex: &str) -> String {
    match regex.chars().nth(SHOWN_CHARS_MAX) {
        Some(_) => regex.chars().take(SHOWN_CHARS_MAX).chain("...".chars()).collect(),
        None => regex.to_owned(),
    }
}

impl GroupShard {
    /// What is to be found out before this heartbeat can go on: the topics of the pattern that it brings, those of patterns
    /// of its group that nobody has found yet, and of all when it is time for that.
    pub(super) fn pattern_job(
        &mut self,
        turn: &GroupTurn<'_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Option<PatternJob> {
        let group = match turn.state.groups.get(request.group_id.as_str()) {
            Some(StoredGroup::Consumer(group)) => Some(&**group),
            _ => None,
        };
        let is_known = |regex: &str| group.is_some_and(|group| group.resolved(regex).is_some());
        let of_group = group.filter(|_| !self.matching.contains(&request.group_id));
        let mut patterns = of_group.map(|group| self.due_patterns(turn, group)).unwrap_or_default();
        let token =
            (!patterns.is_empty()).then(|| self.matching.begin(&Arc::from(request.group_id.as_str())));
        let said = request.subscribed_topic_regex.as_deref().filter(|regex| !regex.is_empty());
        let said: Option<Arc<str>> = said.filter(|regex| !is_known(regex)).map(Arc::from);
        if let Some(said) = &said {
            patterns.remove(said);
        }
        let is_any = said.is_some() || !patterns.is_empty();
        is_any.then(|| PatternJob { said, patterns, image: Arc::clone(&self.image), token })
    }

    fn due_patterns(&self, turn: &GroupTurn<'_>, group: &ConsumerGroup) -> BTreeSet<Arc<str>> {
        if group.regexes().is_empty() {
            return BTreeSet::new();
        }
        let all = self.is_time_for_patterns(turn, group);
        group.regexes().names().filter(|regex| all || group.resolved(regex).is_none()).cloned().collect()
    }

    fn is_time_for_patterns(&self, turn: &GroupTurn<'_>, group: &ConsumerGroup) -> bool {
        let Some(last) = group.all_resolved().map(|(_, resolved)| resolved.resolved_at).max() else {
            return true;
        };
        let version = group.all_resolved().map(|(_, resolved)| resolved.version).min().unwrap_or(-1);
        let since_ms = turn.now.wall.value().saturating_sub(last.value());
        let has_new_topics = version < self.topics_changed_at.value();
        (has_new_topics && since_ms > REGEX_REFRESH_MIN_INTERVAL_MS)
            || since_ms > self.config.consumer.regex_refresh_interval_ms
    }

    /// Writes what the group's patterns were found to match. Answers whether that is something else than before.
    pub(super) fn write_resolved(turn: &GroupTurn<'_>, draft: &mut Draft, resolved: &Resolved) -> bool {
        let mut has_changed = false;
        let mut unusable = 0;
        for (regex, found) in &resolved.topics {
            let known = draft.group().resolved(regex).cloned();
            let is_outdated = known.as_ref().is_some_and(|known| known.version > resolved.version);
            if is_outdated || !draft.group().regexes().contains(regex) {
                continue;
            }
            let topics = found.clone().unwrap_or_else(|error| {
                // One that Kafka took and that can't be understood here matches nothing. Of many, the first is told of.
                if unusable == 0 {
                    warn!(group = %draft.group_id, regex = shown(regex), %error, "a pattern that is stored can't be used");
                }
                unusable += 1;
                known.iter().flat_map(|known| known.topics.iter().cloned()).collect()
            });
            has_changed |= match &known {
                Some(known) => !known.topics.iter().eq(&topics),
                None => !topics.is_empty(),
            };
            let value = ConsumerGroupRegularExpressionValue {
                topics,
                version: resolved.version,
                timestamp: turn.now.wall.value(),
                ..Default::default()
            };
            draft.write(ConsumerContent::Regex(Arc::clone(regex), Some(value)));
        }
        if unusable > 1 {
            warn!(group = %draft.group_id, unusable, "so many patterns that are stored can't be used");
        }
        has_changed
    }
}
