//! DeleteTopics (KIP-4, KIP-516).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_metadata::image::TopicImage;
use ottla_types::Uuid;
use ottla_wire::ErrorCode;
use ottla_wire::messages::delete_topics_request::DeleteTopicsRequest;
use ottla_wire::messages::delete_topics_response::{DeleteTopicsResponse, Response};
use ottla_wire::records::{MetadataRecord, RemoveTopicRecord};

use crate::controller::Controller;
use crate::error::ApiError;
use crate::outcome::Outcome;

/// The first version in which "deletion is disabled" has a code of its own.
const DELETION_DISABLED_SINCE: i16 = 3;

/// How a request names a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Name(String),
    Id(Uuid),
}

impl Controller {
    /// Deletes what can be deleted. A topic that is named twice, whether by name or by id, stays.
    pub fn delete_topics(
        &self,
        request: &DeleteTopicsRequest,
        api_version: i16,
    ) -> Outcome<DeleteTopicsResponse> {
        if !self.settings.delete_topic_enable {
            return self.refuse_deletion(request, api_version);
        }
        let mut responses = Vec::new();
        let mut order = Vec::new();
        for named in named(request, &mut responses) {
            if !order.contains(&named) {
                order.push(named);
            }
        }
        let duplicates = duplicates(request);
        let mut found: BTreeMap<Uuid, Vec<Named>> = BTreeMap::new();
        let mut topics: Vec<Arc<TopicImage>> = Vec::new();
        for named in order {
            if duplicates.contains(&named) {
                responses.push(duplicate(&named));
                continue;
            }
            match self.find(&named) {
                Ok(topic) => {
                    let names = found.entry(topic.id).or_default();
                    if names.is_empty() {
                        topics.push(Arc::clone(topic));
                    }
                    names.push(named);
                }
                Err(error) => responses.push(refused(&named, error)),
            }
        }
        let mut records = self.records();
        for topic in topics {
            let twice = found.get(&topic.id).is_some_and(|names| names.len() > 1)
                || duplicates.contains(&Named::Id(topic.id));
            let mut response =
                Response { name: Some(topic.name.to_string()), topic_id: topic.id, ..Response::default() };
            if twice {
                response.error_code = ErrorCode::InvalidRequest.code();
                response.error_message =
                    Some("The provided topic name maps to an ID that was already supplied.".into());
            } else {
                tracing::info!(topic = %topic.name, topic_id = %topic.id, partitions = topic.partitions.len(),
                    "deleting a topic");
                records.push(MetadataRecord::RemoveTopic(RemoveTopicRecord {
                    topic_id: topic.id,
                    ..RemoveTopicRecord::default()
                }));
            }
            responses.push(response);
        }
        records.with(DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() })
    }

    fn refuse_deletion(
        &self,
        request: &DeleteTopicsRequest,
        api_version: i16,
    ) -> Outcome<DeleteTopicsResponse> {
        let code = if api_version < DELETION_DISABLED_SINCE {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::TopicDeletionDisabled
        };
        tracing::info!(
            topics = request.topics.len() + request.topic_names.len(),
            "refusing to delete topics: delete.topic.enable is false"
        );
        let by_name = request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::ZERO));
        let either = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
        let responses = by_name
            .chain(either)
            .map(|(name, topic_id)| Response {
                name,
                topic_id,
                error_code: code.code(),
                ..Response::default()
            })
            .collect();
        Outcome::answer(DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() })
    }

    fn find(&self, named: &Named) -> Result<&Arc<TopicImage>, ApiError> {
        match named {
            Named::Name(name) => self
                .image
                .topics
                .by_name(name)
                .ok_or_else(|| ApiError::of(ErrorCode::UnknownTopicOrPartition)),
            Named::Id(id) => {
                self.image.topics.by_id(*id).ok_or_else(|| ApiError::of(ErrorCode::UnknownTopicId))
            }
        }
    }
}

/// All that the request names well; answers to the rest go into `responses`.
fn named(request: &DeleteTopicsRequest, responses: &mut Vec<Response>) -> Vec<Named> {
    let mut named: Vec<Named> = request.topic_names.iter().cloned().map(Named::Name).collect();
    for topic in &request.topics {
        let message = match (&topic.name, topic.topic_id.is_zero()) {
            (Some(name), true) => {
                named.push(Named::Name(name.clone()));
                continue;
            }
            (None, false) => {
                named.push(Named::Id(topic.topic_id));
                continue;
            }
            (None, true) => "Neither topic name nor id were specified.",
            (Some(_), false) => "You may not specify both topic name and topic id.",
        };
        responses.push(Response {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            error_code: ErrorCode::InvalidRequest.code(),
            error_message: Some(message.into()),
            ..Response::default()
        });
    }
    named
}

fn duplicates(request: &DeleteTopicsRequest) -> BTreeSet<Named> {
    let mut seen = BTreeSet::new();
    named(request, &mut Vec::new()).into_iter().filter(|named| !seen.insert(named.clone())).collect()
}

fn duplicate(named: &Named) -> Response {
    let message = match named {
        Named::Name(_) => "Duplicate topic name.",
        Named::Id(_) => "Duplicate topic id.",
    };
    refused(named, ApiError::new(ErrorCode::InvalidRequest, message))
}

fn refused(named: &Named, error: ApiError) -> Response {
    let (name, topic_id) = match named {
        Named::Name(name) => (Some(name.clone()), Uuid::ZERO),
        Named::Id(id) => (None, *id),
    };
    Response {
        name,
        topic_id,
        error_code: error.code.code(),
        error_message: error.message,
        ..Response::default()
    }
}
