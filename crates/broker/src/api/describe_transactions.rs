//! DescribeTransactions (KIP-664): how the transactions stand that this node coordinates.

use std::sync::Arc;

use ottla_wire::messages::describe_transactions_request::DescribeTransactionsRequest;

use super::bounds::keep_first_of_each_name;
use super::call::Call;
use crate::node::Node;

pub(super) fn handle(node: &Arc<Node>, call: Call<DescribeTransactionsRequest>) {
    let (context, mut request, answer) = call.into_parts();
    keep_first_of_each_name(&mut request.transactional_ids);
    node.transactions.describe_transactions(request, context.now, move |response| answer.reply(&response));
}
