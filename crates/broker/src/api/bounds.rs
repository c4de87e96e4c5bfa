//! How long an answer may become that tells much of each thing that a request names.
//!
//! A name takes two bytes of a request, and what is told of it hundreds or, of a group with a thousand members, hundreds of
//! thousands. So each is told of once, and no request names more than some hundred thousand.

use std::collections::HashSet;
use std::hash::Hash;

use ottla_wire::ApiKey;

/// Requests whose answers are much longer than they are.
const ANSWERED_AT_LENGTH: &[ApiKey] = &[
    ApiKey::ConsumerGroupDescribe,
    ApiKey::DeleteGroups,
    ApiKey::DescribeConfigs,
    ApiKey::DescribeGroups,
    ApiKey::DescribeProducers,
    ApiKey::DescribeShareGroupOffsets,
    ApiKey::DescribeTransactions,
    ApiKey::OffsetFetch,
    ApiKey::ShareGroupDescribe,
];

/// They may take so many bytes of memory once decoded: some 170,000 to 350,000 names, which are answered in 150 MB.
const DECODED_BYTES_MAX: usize = 8 << 20;

/// Bytes of memory that a decoded request of this API may take, where that is less than for others.
pub(super) fn decoded_bytes_max(key: ApiKey) -> Option<usize> {
    ANSWERED_AT_LENGTH.contains(&key).then_some(DECODED_BYTES_MAX)
}

/// What a request names again is answered once. What has no key stays.
pub(super) fn keep_first_of_each<T, K: Eq + Hash>(named: &mut Vec<T>, key: impl Fn(&T) -> Option<K>) {
    let mut seen = HashSet::with_capacity(named.len());
    named.retain(|one| key(one).is_none_or(|key| seen.insert(key)));
}

/// As [`keep_first_of_each`], of names alone.
pub(super) fn keep_first_of_each_name(names: &mut Vec<String>) {
    keep_first_of_each(names, |name| Some(name.clone()));
}

#[cfg(test)]
mod tests {
    use super::keep_first_of_each;

    #[test]
    fn the_first_of_each_stays_where_it_was() {
        let mut named = vec![("a", 1), ("b", 2), ("a", 3), ("-", 4), ("c", 5), ("b", 6), ("-", 7)];
        keep_first_of_each(&mut named, |(name, _)| Some(*name).filter(|name| *name != "-"));
        assert_eq!(named, [("a", 1), ("b", 2), ("-", 4), ("c", 5), ("-", 7)]);
    }
}
