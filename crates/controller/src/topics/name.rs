//! Which names topics may have.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_metadata::image::TopicsImage;
use ottla_types::topic_name;
use ottla_wire::ErrorCode;

use crate::error::ApiError;

/// Whether any topic may have that name.
pub(crate) fn check_form(name: &str) -> Result<(), ApiError> {
    topic_name::check(name).map_err(|why| ApiError::new(ErrorCode::InvalidTopicException, why))
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
