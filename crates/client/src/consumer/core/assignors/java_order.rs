//! The order in which Java's `HashMap` and `HashSet` hand out what was put into them. Where the Java client's outcome
//! depends on it, ours has to as well.
//!
//! Entries come by bucket, and in one bucket in the order in which they were put in. The table doubles when more than
//! three quarters of it are in use and never shrinks. (Buckets of eight and more are kept as trees by Java; hashes of
//! member ids, which end in random bits, don't come to that.)

const TABLE_MIN: usize = 16;

/// A set with the iteration order of a `HashSet` that was made empty.
#[derive(Clone, Debug)]
pub(super) struct JavaHashSet<T> {
    /// In the order of insertion, with Java's hash code.
    entries: Vec<(i32, T)>,
    table_len: usize,
}

impl<T> Default for JavaHashSet<T> {
    fn default() -> JavaHashSet<T> {
        JavaHashSet { entries: Vec::new(), table_len: TABLE_MIN }
    }
}

impl<T: PartialEq> JavaHashSet<T> {
    pub fn insert(&mut self, hash_code: i32, value: T) {
        if self.entries.iter().any(|(_, present)| *present == value) {
            return;
        }
        self.entries.push((hash_code, value));
        if self.entries.len() > self.table_len / 4 * 3 {
            self.table_len *= 2;
        }
    }

    pub fn remove(&mut self, value: &T) {
        self.entries.retain(|(_, present)| present != value);
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What an iterator would hand out first.
    pub fn first(&self) -> Option<&T> {
        let first = self.entries.iter().min_by_key(|(hash_code, _)| bucket(*hash_code, self.table_len));
        first.map(|(_, value)| value)
    }

    /// All, in the iterator's order.
    pub fn into_ordered(mut self) -> Vec<T> {
        self.entries.sort_by_key(|(hash_code, _)| bucket(*hash_code, self.table_len));
        self.entries.into_iter().map(|(_, value)| value).collect()
    }
}

fn bucket(hash_code: i32, table_len: usize) -> usize {
    let spread = hash_code as u32 ^ (hash_code as u32 >> 16);
    spread as usize & (table_len - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_types::java_string_hash;

    /// What `new HashSet<>(List.of(...))` printed in Java, after adding one by one.
    #[track_caller]
    fn check(inserted: &str, ordered: &str) {
        let mut set = JavaHashSet::default();
        for word in inserted.split(' ') {
            set.insert(java_string_hash(word), word);
        }
        assert_eq!(set.first().copied(), ordered.split(' ').next());
        assert_eq!(set.into_ordered().join(" "), ordered);
    }

    #[test]
    fn order_is_by_bucket_then_insertion() {
        check("b a c", "a b c");
        // The same bucket: "Aa" and "BB" have the same hash.
        check("BB Aa", "BB Aa");
        check("Aa BB", "Aa BB");
    }
}
