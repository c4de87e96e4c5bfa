//! AddRaftVoter and RemoveRaftVoter (KIP-853). The quorum's replica on a controller answers them, and changes the voters if it
//! leads; a broker passes them on to the active controller.

use std::sync::Arc;

use ottla_controller::Outcome;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    AddRaftVoterRequest, AddRaftVoterResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
};

use super::call::Call;
use super::forward::{default_due, fields, way};
use super::quorum;
use crate::node::Node;
use crate::quorum_channel::QuorumMessage;

pub(super) trait ChangesVoters: QuorumMessage {
    fn refused(code: ErrorCode) -> Self::Response;
    fn error_code(response: &Self::Response) -> i16;
}

macro_rules! changes_voters {
    ($($request:ident -> $response:ident),*) => {$(
        impl ChangesVoters for $request {
            fn refused(code: ErrorCode) -> $response {
                let (error_code, error_message) = fields(code);
                $response { error_code, error_message, ..$response::default() }
            }

            fn error_code(response: &$response) -> i16 {
                response.error_code
            }
        }
    )*};
}

changes_voters! {
    AddRaftVoterRequest -> AddRaftVoterResponse,
    RemoveRaftVoterRequest -> RemoveRaftVoterResponse
}

pub(super) fn handle<R: ChangesVoters>(node: &Arc<Node>, call: Call<R>) {
    if call.context.connection.is_controller_listener {
        return quorum::handle(node, call);
    }
    let here = Arc::clone(node);
    let due = default_due(node, &call.context);
    let (context, request, answer) = call.into_parts();
    let (way, asked) = (way(&context), request.clone());
    // The controller itself changes no voters: where it is on this node, it is this node's replica that is to be asked.
    let not_the_controller =
        |_: &mut _, _: &R, _| Outcome::answer(R::refused(ErrorCode::NotLeaderOrFollower));
    node.ask_controller(due, way, request, not_the_controller, move |result| match result {
        Ok(response) if R::error_code(&response) == ErrorCode::NotLeaderOrFollower.code() => {
            quorum::hand_over(&here, &context, asked, answer);
        }
        Ok(response) => answer.reply(&response),
        Err(code) => answer.reply(&R::refused(code)),
    });
}
