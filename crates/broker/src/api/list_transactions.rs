//! ListTransactions (KIP-664, KIP-994, KIP-1152): the transactions that this node coordinates.

use std::sync::Arc;

use ottla_wire::messages::list_transactions_request::ListTransactionsRequest;

use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<ListTransactionsRequest>) {
    let (context, request, answer) = call.into_parts();
    node.transactions.list_transactions(request, context.now, move |response| answer.reply(&response));
}
