//! What this broker tells the controller of itself, and the sending of it.

use std::sync::Arc;

use ottla_config::keys;
use ottla_metadata::Feature;
use ottla_metadata::image::BrokerRegistration;
use ottla_types::{BrokerEpoch, MonoMs, NodeId, Now, Uuid};
use ottla_wire::ErrorCode;
use ottla_wire::messages::broker_registration_request::{Feature as FeatureRange, Listener};
use ottla_wire::messages::{
    BrokerRegistrationRequest, ControllerRegistrationRequest, controller_registration_request,
};

use crate::lifecycle::ToSend;
use crate::node::Node;

/// A broker listener as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertisedListener {
    pub name: String,
    pub host: String,
    pub port: u16,
    /// Kafka's number for it: 0 is PLAINTEXT.
    pub security_protocol: i16,
}

/// What does not change while the process lives.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Random for each start of the process.
    pub incarnation_id: Uuid,
    pub listeners: Vec<AdvertisedListener>,
    pub rack: Option<String>,
    /// `directory.id` of each log directory that is online.
    pub log_dirs: Vec<Uuid>,
    /// Of the process before this one, if its stop was clean.
    pub previous_epoch: Option<BrokerEpoch>,
}

impl Registration {
    pub fn request(&self, node: NodeId, cluster_id: &str) -> BrokerRegistrationRequest {
        let listeners = self.listeners.iter().map(|listener| Listener {
            name: listener.name.clone(),
            host: listener.host.clone(),
            port: listener.port,
            security_protocol: listener.security_protocol,
            ..Listener::default()
        });
        let features = Feature::all().map(|facts| FeatureRange {
            name: facts.name.to_owned(),
            min_supported_version: facts.min_level,
            max_supported_version: facts.max_level,
            ..FeatureRange::default()
        });
        BrokerRegistrationRequest {
            broker_id: node.value(),
            cluster_id: cluster_id.to_owned(),
            incarnation_id: self.incarnation_id,
            listeners: listeners.collect(),
            features: features.collect(),
            rack: self.rack.clone(),
            log_dirs: self.log_dirs.clone(),
            previous_broker_epoch: self.previous_epoch.unwrap_or(BrokerEpoch::NONE).value(),
            ..BrokerRegistrationRequest::default()
        }
    }
}

/// What a controller tells of itself.
pub(crate) fn controller_registration(
    node: NodeId,
    incarnation_id: Uuid,
    listeners: &[AdvertisedListener],
) -> ControllerRegistrationRequest {
    let listeners = listeners.iter().map(|listener| controller_registration_request::Listener {
        name: listener.name.clone(),
        host: listener.host.clone(),
        port: listener.port,
        security_protocol: listener.security_protocol,
        ..controller_registration_request::Listener::default()
    });
    let features = Feature::all().map(|facts| controller_registration_request::Feature {
        name: facts.name.to_owned(),
        min_supported_version: facts.min_level,
        max_supported_version: facts.max_level,
        ..controller_registration_request::Feature::default()
    });
    ControllerRegistrationRequest {
        controller_id: node.value(),
        incarnation_id,
        zk_migration_ready: false,
        listeners: listeners.collect(),
        features: features.collect(),
        ..ControllerRegistrationRequest::default()
    }
}

impl Node {
    /// Sends what the broker's life with the controller asks for now.
    pub(crate) fn poll_lifecycle(self: &Arc<Self>, now: Now) {
        let metadata_offset = self.metadata.in_effect().provenance.last_offset;
        let to_send = self.lifecycle.lock().poll(metadata_offset, now);
        match to_send {
            None => {}
            Some(ToSend::Register) => self.register(now),
            Some(ToSend::Heartbeat(mut request)) => {
                request.broker_id = self.identity.node_id.value();
                let node = Arc::clone(self);
                self.ask_active_controller(request, self.lifecycle_due(now), move |result| {
                    let mut lifecycle = node.lifecycle.lock();
                    match result.map(|response| (ErrorCode::from_code(response.error_code), response)) {
                        Ok((Some(ErrorCode::None), response)) => {
                            let acts_on_it = node.acts_as_unfenced(lifecycle.epoch());
                            lifecycle.heard(&response, acts_on_it, now);
                        }
                        Ok((Some(ErrorCode::StaleBrokerEpoch), _)) => {
                            tracing::warn!("the controller no longer knows this broker's registration");
                            lifecycle.must_register_again(now);
                        }
                        Err(ErrorCode::KafkaStorageError) => lifecycle.refused(now),
                        Ok(_) | Err(_) => lifecycle.failed(now),
                    }
                    let is_fenced = lifecycle.is_fenced_as_it_wants();
                    drop(lifecycle);
                    if is_fenced {
                        let aside = Arc::clone(&node);
                        node.at_next_tick(move |now| {
                            aside.resign_coordinators(aside.replicas.stand_aside_everywhere(now));
                        });
                    }
                    (node.hooks.wake_at)(now.mono);
                });
            }
        }
    }

    fn register(self: &Arc<Self>, now: Now) {
        let registration = Registration { log_dirs: self.logs.online_dir_ids(), ..self.registration.clone() };
        let request = registration.request(self.identity.node_id, &self.identity.cluster_id);
        let node = Arc::clone(self);
        self.ask_active_controller(request, self.lifecycle_due(now), move |result| {
            let mut lifecycle = node.lifecycle.lock();
            match result {
                Ok(response) if response.error_code == ErrorCode::None.code() => {
                    lifecycle.registered(BrokerEpoch(response.broker_epoch), now);
                }
                Ok(response) => {
                    let code = ErrorCode::from_code(response.error_code).map_or("unknown", ErrorCode::name);
                    tracing::warn!(code, "the controller refused this broker's registration");
                    lifecycle.failed(now);
                }
                Err(ErrorCode::KafkaStorageError) => lifecycle.refused(now),
                Err(_) => lifecycle.failed(now),
            }
            drop(lifecycle);
            (node.hooks.wake_at)(now.mono);
        });
    }

    /// Whether the metadata stand still here. Others could do without this broker, if there are any.
    pub(crate) fn metadata_stand_still(&self, is_so: bool, now: Now) {
        let is_other =
            |broker: &BrokerRegistration| broker.id() != self.identity.node_id && broker.is_active();
        let is_out_of_touch = is_so && self.metadata.image().brokers.values().any(|broker| is_other(broker));
        self.lifecycle.lock().set_out_of_touch(is_out_of_touch, now);
        // The next heartbeat may be due.
        (self.hooks.wake_at)(now.mono);
    }

    /// Whether others do without this broker, since the metadata stand still here.
    pub(crate) fn is_left_behind(&self) -> bool {
        self.lifecycle.lock().is_left_behind()
    }

    /// Whether this node acts on an image in which its registration of this epoch is not fenced.
    fn acts_as_unfenced(&self, epoch: Option<BrokerEpoch>) -> bool {
        let image = self.metadata.in_effect();
        let registered = image.brokers.get(&self.identity.node_id);
        registered.is_some_and(|broker| Some(broker.epoch()) == epoch && !broker.is_fenced())
    }

    /// Later answers are of no use any more.
    fn lifecycle_due(&self, now: Now) -> MonoMs {
        now.mono.plus_ms(i64::from(self.config.get(keys::BROKER_SESSION_TIMEOUT_MS)))
    }
}
