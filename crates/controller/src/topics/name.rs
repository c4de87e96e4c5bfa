//! Which names topics may have.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::image::TopicsImage;
use ottla_wire::ErrorCode;

use crate::error::ApiError;

/// The log of the metadata itself, which is no topic that anybody creates.
pub(crate) const CLUSTER_METADATA: &str = "__cluster_metadata";

/// In UTF-16 units, as a name is a file name with a partition's number behind it.
const MAX_LEN: usize = 249;

/// Whether any topic may have that name.
pub(crate) fn check_form(name: &str) -> Result<(), ApiError> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let why = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." => "'.' is not allowed".to_owned(),
        ".." => "'..' is not allowed".to_owned(),
        _ if name.encode_utf16().count() > MAX_LEN => {
            format!("the length of '{name}' is longer than the max allowed length {MAX_LEN}")
        }
        _ if !name.chars().all(is_legal) => {
            format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )
        }
        _ => return Ok(()),
    };
    Err(ApiError::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {why}")))
}

/// Metrics' names can't tell `.` from `_`, so two topics may not differ in that alone.
fn unified(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

/// Judges the names of new topics beside those that there are.
pub(super) struct NameRules<'a> {
    topics: &'a TopicsImage,
    /// By unified name; built when the first name that may collide comes.
    unified: Option<BTreeMap<String, Arc<str>>>,
}

impl<'a> NameRules<'a> {
    pub fn new(topics: &'a TopicsImage) -> NameRules<'a> {
        NameRules { topics, unified: None }
    }

    pub fn check(&mut self, name: &str) -> Result<(), ApiError> {
        if self.topics.by_name(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(ApiError::new(ErrorCode::TopicAlreadyExists, message));
        }
        if let Some(other) = self.colliding(name) {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(ApiError::new(ErrorCode::InvalidTopicException, message));
        }
        check_form(name)
    }

    fn colliding(&mut self, name: &str) -> Option<&Arc<str>> {
        let wanted = unified(name)?;
        let topics = self.topics;
        let existing = self.unified.get_or_insert_with(|| {
            topics.iter().filter_map(|topic| Some((unified(&topic.name)?, Arc::clone(&topic.name)))).collect()
        });
        existing.get(&wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_kafkas_form() {
        let refused = |name: &str| check_form(name).map_err(|error| error.message.unwrap_or_default());
        for fine in ["a", "A-1_b.c", "...", &"x".repeat(249)] {
            assert_eq!(refused(fine), Ok(()));
        }
        for (name, why) in [
            ("", "Topic name is invalid: the empty string is not allowed"),
            (".", "Topic name is invalid: '.' is not allowed"),
            ("..", "Topic name is invalid: '..' is not allowed"),
            (
                "a/b",
                "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
            ),
        ] {
            assert_eq!(refused(name), Err(why.to_owned()));
        }
        assert!(refused(&"x".repeat(250)).is_err());
    }
}
