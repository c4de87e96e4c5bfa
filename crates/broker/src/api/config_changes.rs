//! What AlterConfigs and IncrementalAlterConfigs have in common: a broker judges what concerns itself, whose static
//! configuration it alone knows, and leaves the rest to the controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_config::Overrides;
use ottla_config::alter::{self, AlterError, AlterOp, Alteration, ResourceKind};
use ottla_controller::{Controller, Outcome};
use ottla_metadata::image::ResourceType;
use ottla_types::Now;
use ottla_wire::{ErrorCode, Request};

use super::call::{Call, Context};
use super::describe_configs::BROKER_LOGGER;
use super::forward;
use crate::loggers;
use crate::node::Node;
use crate::publisher::overrides;

/// A request of one of the two, by what they differ in.
pub(super) trait ChangesConfigs: Request {
    fn wanted(&self) -> Vec<Wanted<'_>>;
    fn validates_only(&self) -> bool;
    /// Leaves only those of its resources of which this says so; it is asked in their order.
    fn retain(&mut self, keep: impl FnMut() -> bool);
    /// What the controller made of the resources.
    fn outcomes(response: Self::Response) -> Vec<OfController>;
    fn response(judged: &[Judged]) -> Self::Response;
}

/// Judges what a broker can, has the controller do the rest, and answers.
pub(super) fn change<R: ChangesConfigs>(
    node: &Arc<Node>,
    call: Call<R>,
    operation: impl Fn(&mut Controller, &R, Now) -> Outcome<R::Response> + Send + 'static,
) {
    let (context, mut request, answer) = call.into_parts();
    let wanted = request.wanted();
    let mut judged = judge(node, &context, &wanted);
    if !request.validates_only() {
        change_loggers(node, &wanted, &judged);
    }
    if !judged.iter().any(Judged::is_open) {
        return answer.reply(&R::response(&judged));
    }
    let mut open = judged.iter().map(Judged::is_open);
    request.retain(|| open.next() == Some(true));
    let due = forward::default_due(node, &context);
    node.ask_controller(due, forward::way(&context), request, operation, move |result| {
        if result.as_ref().is_err_and(|code| *code == ErrorCode::NotController) {
            answer.mark_elsewhere();
        }
        complete(&mut judged, result.map(R::outcomes));
        answer.reply(&R::response(&judged));
    });
}

/// What a request wants of one resource.
pub(super) struct Wanted<'a> {
    pub resource_type: i8,
    pub resource_name: &'a str,
    /// Key, the operation's code, value.
    pub keys: Vec<(&'a str, i8, Option<&'a str>)>,
    /// Whether all other keys go.
    pub replaces: bool,
}

/// What became of one resource: named as in the request.
#[derive(Debug)]
pub(super) struct Judged {
    pub resource_type: i8,
    pub resource_name: String,
    outcome: Option<(i16, Option<String>)>,
}

impl Judged {
    /// Whether the controller is still to be asked.
    fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    /// The error's code and words.
    pub fn error(&self) -> (i16, Option<String>) {
        self.outcome.clone().unwrap_or_else(|| (ErrorCode::UnknownServerError.code(), None))
    }
}

/// Type and name of a resource, and what the controller made of it.
pub(super) type OfController = (i8, String, i16, Option<String>);

/// Judges what a broker can; the rest stays open.
fn judge(node: &Node, context: &Context, wanted: &[Wanted<'_>]) -> Vec<Judged> {
    let mut times: BTreeMap<(i8, &str), u32> = BTreeMap::new();
    for resource in wanted {
        *times.entry((resource.resource_type, resource.resource_name)).or_default() += 1;
    }
    let is_broker = !context.connection.is_controller_listener;
    let judge = |resource: &Wanted<'_>| {
        let is_unique = times.get(&(resource.resource_type, resource.resource_name)) == Some(&1);
        let judged = if !is_broker {
            // The controller judges duplicates too, and knows no loggers.
            Ok(Verdict::Open)
        } else if is_unique {
            check(node, resource)
        } else {
            Err(invalid_request("Each resource must appear at most once."))
        };
        let outcome = match judged {
            Ok(Verdict::Open) => None,
            Ok(Verdict::Done) => Some((ErrorCode::None.code(), None)),
            Err((code, message)) => {
                tracing::info!(
                    resource_type = resource.resource_type,
                    resource = resource.resource_name,
                    code = code.name(),
                    message,
                    "refusing to change settings"
                );
                Some((code.code(), Some(message)))
            }
        };
        let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.to_owned());
        Judged { resource_type, resource_name, outcome }
    };
    wanted.iter().map(judge).collect()
}

/// Gives loggers the levels that were judged to be allowed: no record holds them.
fn change_loggers(node: &Node, wanted: &[Wanted<'_>], judged: &[Judged]) {
    for (wanted, judged) in wanted.iter().zip(judged) {
        let is_allowed = judged.outcome.as_ref().is_some_and(|(code, _)| *code == ErrorCode::None.code());
        if wanted.resource_type == BROKER_LOGGER
            && is_allowed
            && let Ok(changes) = loggers::changes(&*node.hooks.loggers, &wanted.keys)
        {
            tracing::info!(?changes, "changing levels of loggers");
            node.hooks.loggers.change(&changes);
        }
    }
}

/// Fills in what the controller said of the open ones.
fn complete(judged: &mut [Judged], answered: Result<Vec<OfController>, ErrorCode>) {
    let mut answers: BTreeMap<(i8, String), (i16, Option<String>)> = BTreeMap::new();
    let mut of_all = None;
    match answered {
        Ok(answered) => answers
            .extend(answered.into_iter().map(|(kind, name, code, message)| ((kind, name), (code, message)))),
        Err(code) => of_all = Some(super::forward::fields(code)),
    }
    for resource in judged.iter_mut().filter(|resource| resource.is_open()) {
        let key = (resource.resource_type, resource.resource_name.clone());
        resource.outcome = of_all.clone().or_else(|| answers.get(&key).cloned());
    }
}

enum Verdict {
    Open,
    Done,
}

type Refusal = (ErrorCode, String);

fn invalid_request(message: impl Into<String>) -> Refusal {
    (ErrorCode::InvalidRequest, message.into())
}

fn check(node: &Node, wanted: &Wanted<'_>) -> Result<Verdict, Refusal> {
    check_form(wanted)?;
    match ResourceType::from_code(wanted.resource_type) {
        Some(ResourceType::Broker) => check_broker(node, wanted).map(|()| Verdict::Open),
        Some(_) => Ok(Verdict::Open),
        None if wanted.resource_type == BROKER_LOGGER && !wanted.replaces => {
            check_node_id(node, wanted.resource_name)?;
            loggers::changes(&*node.hooks.loggers, &wanted.keys).map(|_| Verdict::Done)
        }
        None => Err(invalid_request(format!("Unknown resource type {}", wanted.resource_type))),
    }
}

fn check_form(wanted: &Wanted<'_>) -> Result<(), Refusal> {
    let names: BTreeSet<&str> = wanted.keys.iter().map(|(name, ..)| *name).collect();
    if names.len() < wanted.keys.len() {
        return Err(invalid_request("Error due to duplicate config keys"));
    }
    let is_missing = |(_, op, value): &&(&str, i8, Option<&str>)| {
        value.is_none() && AlterOp::of_id(*op) != Some(AlterOp::Delete)
    };
    let nulls: Vec<&str> = wanted.keys.iter().filter(is_missing).map(|(name, ..)| *name).collect();
    if nulls.is_empty() {
        Ok(())
    } else {
        Err(invalid_request(format!("Null value not supported for : {}", nulls.join(", "))))
    }
}

/// Whether this broker can run with what is wanted, for it or for all brokers.
fn check_broker(node: &Node, wanted: &Wanted<'_>) -> Result<(), Refusal> {
    let name = wanted.resource_name;
    if !name.is_empty() {
        check_node_id(node, name)?;
    }
    let current = overrides(&node.metadata.image(), ResourceType::Broker, name);
    let new = wanted_overrides(wanted, &current)?;
    let layers = node.dynamic_config.read().clone();
    alter::validate_broker(&layers, &new, !name.is_empty()).map_err(refusal)
}

fn wanted_overrides(wanted: &Wanted<'_>, current: &Overrides) -> Result<Overrides, Refusal> {
    let nothing = Overrides::new();
    let current = if wanted.replaces { &nothing } else { current };
    let mut alterations = Vec::with_capacity(wanted.keys.len());
    for (name, op, value) in &wanted.keys {
        let Some(op) = AlterOp::of_id(*op) else {
            return Err(invalid_request(format!("Unknown operations type {op}")));
        };
        alterations.push(Alteration { name, op, value: *value });
    }
    let changes = alter::changes(ResourceKind::Broker, current, &alterations).map_err(refusal)?;
    Ok(alter::applied(current, &changes))
}

fn check_node_id(node: &Node, name: &str) -> Result<(), Refusal> {
    let own = node.identity.node_id.value();
    match name.parse::<i32>() {
        Ok(id) if id == own => Ok(()),
        Ok(_) => Err(invalid_request(format!("Unexpected broker id, expected {own}, but received {name}"))),
        Err(_) => Err(invalid_request(format!("Node id must be an integer, but it is: {name}"))),
    }
}

fn refusal(error: AlterError) -> Refusal {
    match error {
        AlterError::InvalidRequest(message) => (ErrorCode::InvalidRequest, message),
        AlterError::InvalidConfig(message) => (ErrorCode::InvalidConfig, message),
    }
}
