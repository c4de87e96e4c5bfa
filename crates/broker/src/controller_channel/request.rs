//! What nodes ask of the active controller for themselves.

use ottla_controller::{Controller, Outcome};
use ottla_types::Now;
use ottla_wire::messages::create_topics_response::Topic;
use ottla_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest, AlterPartitionResponse,
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest,
    BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    ControllerRegistrationRequest, ControllerRegistrationResponse, CreateTopicsRequest, CreateTopicsResponse,
};
use ottla_wire::{ErrorCode, Request};

use crate::peers::Channel;

/// A request of a node to the active controller.
pub(crate) trait ControllerRequest: Request {
    /// On which it is sent.
    const CHANNEL: Channel;

    fn run(controller: &mut Controller, request: &Self, now: Now) -> Outcome<Self::Response>;
    /// The answer where there is none of the controller.
    fn refused(request: &Self, code: ErrorCode) -> Self::Response;
    /// Whether the answer is that the node is not the active controller.
    fn is_elsewhere(response: &Self::Response) -> bool;
}

macro_rules! with_one_error {
    ($($request:ident -> $response:ident on $channel:ident: $run:expr;)*) => {$(
        impl ControllerRequest for $request {
            const CHANNEL: Channel = Channel::$channel;

            fn run(controller: &mut Controller, request: &Self, now: Now) -> Outcome<$response> {
                let run: fn(&mut Controller, &Self, Now) -> Outcome<$response> = $run;
                run(controller, request, now)
            }

            fn refused(_: &Self, code: ErrorCode) -> $response {
                $response { error_code: code.code(), ..$response::default() }
            }

            fn is_elsewhere(response: &$response) -> bool {
                response.error_code == ErrorCode::NotController.code()
            }
        }
    )*};
}

with_one_error! {
    AlterPartitionRequest -> AlterPartitionResponse on Controller:
        |controller, request, _| controller.alter_partition(request);
    BrokerRegistrationRequest -> BrokerRegistrationResponse on Heartbeat:
        |controller, request, now| controller.register_broker(request, now);
    BrokerHeartbeatRequest -> BrokerHeartbeatResponse on Heartbeat:
        |controller, request, now| controller.broker_heartbeat(request, now);
    ControllerRegistrationRequest -> ControllerRegistrationResponse on Controller:
        |controller, request, _| controller.register_controller(request);
    AllocateProducerIdsRequest -> AllocateProducerIdsResponse on Controller:
        |controller, request, _| controller.allocate_producer_ids(request);
    AssignReplicasToDirsRequest -> AssignReplicasToDirsResponse on Controller:
        |controller, request, _| controller.assign_replicas_to_dirs(request);
}

impl ControllerRequest for CreateTopicsRequest {
    const CHANNEL: Channel = Channel::Controller;

    fn run(controller: &mut Controller, request: &Self, _: Now) -> Outcome<CreateTopicsResponse> {
        controller.create_topics(request)
    }

    fn refused(request: &Self, code: ErrorCode) -> CreateTopicsResponse {
        let refused = |name: &String| Topic {
            name: name.clone(),
            error_code: code.code(),
            error_message: Some(code.description().to_owned()),
            ..Topic::default()
        };
        CreateTopicsResponse {
            topics: request.topics.iter().map(|topic| refused(&topic.name)).collect(),
            ..CreateTopicsResponse::default()
        }
    }

    fn is_elsewhere(response: &CreateTopicsResponse) -> bool {
        response.topics.iter().any(|topic| topic.error_code == ErrorCode::NotController.code())
    }
}
