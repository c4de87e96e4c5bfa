//! Questions to the cluster that several commands ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_client::admin::{Admin, OffsetSpec, Results};
use ottla_client::types::TopicPartition;
use ottla_client::wire::ErrorCode;
use ottla_client::{ClientError, Metadata, Topic, Topics};

use crate::error::{Exit, Failure};
use crate::expr::{Found, Known, Place};
use crate::suggest;

/// Topics by name, in the order in which they were named, each once.
///
/// # Errors
/// One of them isn't there; with the name that may have been meant.
pub async fn topics(admin: &Admin, names: &[String]) -> Result<Vec<Arc<Topic>>, Failure> {
    let mut seen = BTreeSet::new();
    let names: Vec<Arc<str>> =
        names.iter().filter(|name| seen.insert(*name)).map(|name| Arc::from(name.as_str())).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let metadata = admin.client().refresh(Topics::Named(names.clone())).await?;
    let mut found = Vec::new();
    for name in &names {
        match metadata.topic(name) {
            Some(topic) => found.push(Arc::clone(topic)),
            None => return Err(missing_topic(admin, name, &metadata).await),
        }
    }
    Ok(found)
}

async fn missing_topic(admin: &Admin, name: &str, metadata: &Metadata) -> Failure {
    let code = metadata.topic_error(name).unwrap_or(ErrorCode::UnknownTopicOrPartition);
    if code != ErrorCode::UnknownTopicOrPartition {
        return ClientError::broker(code, None, format!("topic {name}")).into();
    }
    let failure = Failure::new(Exit::NotFound, format!("there is no topic '{name}'"));
    let others = admin.list_topics().await.unwrap_or_default();
    match suggest::closest(name, others.iter().map(|topic| &*topic.name)) {
        Some(close) => failure.hint(format!("did you mean '{close}'?")),
        None => failure
            .hint(format!("ottla topic list shows those that there are; ottla topic create {name} makes it")),
    }
}

pub fn partitions_of(topic: &Topic) -> impl Iterator<Item = TopicPartition> + '_ {
    topic.partitions.iter().map(|partition| TopicPartition::new(Arc::clone(&topic.name), partition.index))
}

/// Of partitions that somebody leads: nobody else could answer.
pub fn led_partitions_of(topic: &Topic) -> impl Iterator<Item = TopicPartition> + '_ {
    let led = topic.partitions.iter().filter(|partition| partition.leader.is_some());
    led.map(|partition| TopicPartition::new(Arc::clone(&topic.name), partition.index))
}

/// `orders`, or `orders:0,2` for some of its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub topic: String,
    /// None: all of them.
    pub partitions: Vec<i32>,
}

impl Chosen {
    pub fn parse(text: &str) -> Result<Chosen, String> {
        let Some((topic, partitions)) = text.rsplit_once(':') else {
            return Ok(Chosen { topic: text.to_owned(), partitions: Vec::new() });
        };
        Ok(Chosen { topic: topic.to_owned(), partitions: parse_partitions(partitions)? })
    }

    pub fn has(&self, at: &TopicPartition) -> bool {
        *self.topic == *at.topic && (self.partitions.is_empty() || self.partitions.contains(&at.partition))
    }
}

/// `0,2,5-7`
pub fn parse_partitions(text: &str) -> Result<Vec<i32>, String> {
    const PARTITIONS_MAX: i32 = 100_000;
    let not_partitions =
        || format!("'{text}' names no partitions: they are numbers from 0 on, as in 0,2,5-7");
    let mut partitions = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<i32>().ok().filter(|number| *number >= 0);
        let (first, last) =
            (number(first).ok_or_else(not_partitions)?, number(last).ok_or_else(not_partitions)?);
        if first > last || last >= PARTITIONS_MAX {
            return Err(not_partitions());
        }
        partitions.extend(first..=last);
    }
    Ok(partitions.into_iter().collect())
}

/// Those of a topic that were chosen: all where none were.
pub fn chosen_of(topic: &Topic, partitions: &[i32]) -> Result<Vec<TopicPartition>, Failure> {
    let count = topic.partitions.len();
    if let Some(absent) =
        partitions.iter().find(|&&index| usize::try_from(index).map_or(true, |index| index >= count))
    {
        return Err(Failure::new(
            Exit::NotFound,
            format!("topic {} has no partition {absent}: it has {count}, from 0 on", topic.name),
        ));
    }
    Ok(partitions_of(topic)
        .filter(|at| partitions.is_empty() || partitions.contains(&at.partition))
        .collect())
}

/// Where partitions start and end.
pub async fn ends(
    admin: &Admin,
    partitions: impl IntoIterator<Item = TopicPartition>,
    is_committed: bool,
) -> Result<BTreeMap<TopicPartition, Result<(i64, i64), ClientError>>, Failure> {
    let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
    let at = |spec: OffsetSpec| partitions.iter().map(|at| (at.clone(), spec)).collect::<BTreeMap<_, _>>();
    let (earliest, latest) = (at(OffsetSpec::Earliest), at(OffsetSpec::Latest));
    let (starts, mut ends) = tokio::try_join!(
        admin.list_offsets(&earliest, is_committed),
        admin.list_offsets(&latest, is_committed)
    )?;
    let both = starts.into_iter().filter_map(|(at, start)| {
        let end = ends.remove(&at)?;
        let both = start.and_then(|start| Ok((start.offset, end?.offset)));
        Some((at, both))
    });
    Ok(both.collect())
}

/// A place in a partition, with what was known when it was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    pub known: Known,
    pub found: Found,
}

/// Finds a place in each of these partitions.
///
/// # Errors
/// A partition can't be asked, or the place can't be found in it.
pub async fn locate(
    admin: &Admin,
    partitions: &[TopicPartition],
    place: Place,
    committed: &BTreeMap<TopicPartition, i64>,
    is_committed: bool,
) -> Result<BTreeMap<TopicPartition, Located>, Failure> {
    let ends = ends(admin, partitions.iter().cloned(), is_committed).await?;
    let mut at_time: Results<TopicPartition, i64> = Results::new();
    if let Some(time_ms) = place.time_ms() {
        let specs = partitions.iter().map(|at| (at.clone(), OffsetSpec::At(time_ms))).collect();
        let listed = admin.list_offsets(&specs, is_committed).await?;
        at_time = listed.into_iter().map(|(at, listed)| (at, listed.map(|listed| listed.offset))).collect();
    }
    let mut located = BTreeMap::new();
    for (at, ends) in ends {
        let (start, end) = ends?;
        let at_time = at_time.remove(&at).transpose()?.filter(|&offset| offset >= 0);
        let known = Known { start, end, at_time, committed: committed.get(&at).copied() };
        let found = place.find(known).map_err(|why| Failure::failed(format!("{place} of {at}: {why}")))?;
        located.insert(at, Located { known, found });
    }
    Ok(located)
}

/// What each thing came to, and what is wrong with the others.
pub fn sorted_out<K, V>(results: Results<K, V>) -> (Vec<(K, V)>, Vec<ClientError>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (key, result) in results {
        match result {
            Ok(value) => good.push((key, value)),
            Err(error) => bad.push(error),
        }
    }
    (good, bad)
}

/// Errors beside things that went well: said after these, and they count.
pub fn all_well(errors: Vec<ClientError>) -> Result<(), Failure> {
    let mut errors = errors.into_iter().map(Failure::from);
    let Some(first) = errors.next() else { return Ok(()) };
    let exit = first.exit();
    let mut texts: Vec<String> = Vec::new();
    for failure in std::iter::once(first).chain(errors) {
        if let Failure::Said(problem) = failure {
            texts.push(problem.shown());
        }
    }
    texts.iter().for_each(|text| crate::say(text));
    Err(Failure::Silent(exit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_as_they_are_written() {
        assert_eq!(parse_partitions("0"), Ok(vec![0]));
        assert_eq!(parse_partitions("5-7,0,2,6"), Ok(vec![0, 2, 5, 6, 7]));
        for text in ["", "a", "-1", "7-5", "0-2000000000", "1,"] {
            assert!(parse_partitions(text).is_err(), "{text}");
        }
    }

    #[test]
    fn topics_with_some_partitions() {
        let chosen = Chosen::parse("orders:0,2").unwrap();
        assert!(chosen.has(&TopicPartition::new("orders", 2)));
        assert!(!chosen.has(&TopicPartition::new("orders", 1)));
        assert!(Chosen::parse("orders").unwrap().has(&TopicPartition::new("orders", 1)));
        assert!(!Chosen::parse("orders").unwrap().has(&TopicPartition::new("other", 1)));
        assert!(Chosen::parse("orders:x").is_err());
    }
}
