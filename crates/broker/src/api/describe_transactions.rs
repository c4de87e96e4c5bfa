//! DescribeTransactions (KIP-664): how the transactions stand that this node coordinates.

use std::sync::Arc;

use ottla_wire::messages::describe_transactions_request::DescribeTransactionsRequest;

use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeTransactionsRequest>) {
    let (context, request, answer) = call.into_parts();
    node.transactions.describe_transactions(request, context.now, move |response| answer.reply(&response));
}
