//! What a transactional producer's sender does beside sending: it has its transactions begun and ended, tells them of what
//! fails, and gives up what can't become part of them.

use ottla_types::MonoMs;

use super::{Action, Outcome, Sender};
use crate::error::ClientError;
use crate::producer::core::lane::{Identity, Lane};
use crate::producer::core::transactions::{GroupOffsets, Level, Next, Progress, Status, Transactions};

impl Sender {
    /// Whether anything may be sent; with what else is to be done.
    pub(super) fn transact(&mut self, now: MonoMs, wake: &mut MonoMs, actions: &mut Vec<Action>) -> bool {
        let Some(transactions) = &self.transactions else { return true };
        if transactions.gives_up() {
            self.drop_unsent();
        }
        self.ask(now, wake, actions);
        self.sends_as().is_some()
    }

    /// As far as sending has made something necessary.
    pub(super) fn transact_again(&mut self, now: MonoMs, wake: &mut MonoMs, actions: &mut Vec<Action>) {
        self.ask(now, wake, actions);
    }

    fn ask(&mut self, now: MonoMs, wake: &mut MonoMs, actions: &mut Vec<Action>) {
        let progress =
            Progress { is_flushed: self.accumulator.is_empty(), is_sending: !self.requests.is_empty() };
        let Some(transactions) = &mut self.transactions else { return };
        if transactions.gives_up() && !progress.is_sending && self.lanes.values_mut().any(Lane::wants_epoch) {
            transactions.has_gaps();
        }
        match transactions.next(progress, now) {
            Some(Next::Ask(asking)) => actions.push(Action::Ask(asking)),
            Some(Next::Wait(until)) => *wake = (*wake).min(until),
            None => {}
        }
        self.follow();
    }

    pub(super) fn sends_as(&self) -> Option<Identity> {
        self.transactions.as_ref().and_then(Transactions::sends_as)
    }

    pub(super) fn gives_up(&self) -> bool {
        self.transactions.as_ref().is_some_and(Transactions::gives_up)
    }

    pub(super) fn in_transaction(&mut self, outcome: Outcome) -> Outcome {
        in_transaction(&mut self.transactions, outcome)
    }

    /// Records are taken or refused as the transaction has it.
    fn follow(&mut self) {
        let Some(transactions) = &self.transactions else { return };
        let shut = transactions.shut();
        if self.shut != shut {
            self.accumulator.shut(shut.clone());
            self.shut = shut;
        }
    }

    /// What waits, or was to be sent again, is not part of the transaction any more. What is under way is waited for.
    fn drop_unsent(&mut self) {
        self.follow();
        let Some(transactions) = &self.transactions else { return };
        let refused = Outcome::Failed(transactions.refusal());
        for queue in self.accumulator.take_listed() {
            self.active.insert(queue.id);
            self.lanes.entry(queue.id).or_insert_with(|| Lane::new(queue));
        }
        self.active.retain(|id| {
            let Some(lane) = self.lanes.get_mut(id) else { return false };
            for batch in std::mem::take(&mut lane.retries) {
                lane.failed(&batch);
                self.accumulator.finish(
                    &batch.deliveries,
                    batch.number,
                    batch.reserved_bytes,
                    refused.clone(),
                );
            }
            while let Some(open) = lane.pop_waiting() {
                self.accumulator.finish(&open.deliveries, open.number, open.reserved_bytes, refused.clone());
            }
            !lane.is_idle()
        });
    }

    pub fn transaction(&self) -> Option<Status> {
        self.transactions.as_ref().map(Transactions::status)
    }

    pub fn transaction_level(&self) -> Option<Level> {
        self.transactions.as_ref().map(Transactions::level)
    }

    /// Nothing of a transaction is left to be settled.
    pub fn is_settled(&self) -> bool {
        self.transactions.as_ref().is_none_or(Transactions::is_settled)
    }

    pub fn begin_transaction(&mut self, number: u64, level: Level) {
        if let Some(transactions) = &mut self.transactions {
            transactions.begin(number, level);
            self.follow();
        }
    }

    pub fn end_transaction(&mut self, number: u64, commits: bool) {
        if let Some(transactions) = &mut self.transactions {
            transactions.end(number, commits);
            self.follow();
            // Ready when everything is answered: that is seen by the next tick.
            drop(self.accumulator.flush());
        }
    }

    pub fn commit_offsets(&mut self, number: u64, offsets: GroupOffsets) {
        if let Some(transactions) = &mut self.transactions {
            transactions.commit_offsets(number, offsets);
        }
    }

    /// What became of offsets that were to be committed.
    pub fn take_offsets_answers(&mut self) -> Vec<(u64, Result<(), ClientError>)> {
        self.transactions.as_mut().map(Transactions::take_answers).unwrap_or_default()
    }

    /// The answer to what a coordinator was asked for.
    pub fn step_answered(&mut self, result: Result<Option<Identity>, ClientError>, random: f64, now: MonoMs) {
        let Some(transactions) = &mut self.transactions else { return };
        let is_new = transactions.answered(result, random, now);
        let identity = transactions.identity();
        if let Some(identity) = identity.filter(|_| is_new) {
            for lane in self.lanes.values_mut() {
                lane.start_anew(identity);
            }
        }
        self.follow();
    }

    /// The producer is at its end, whatever its transaction is.
    pub(super) fn end_for_good(&mut self, error: &ClientError) {
        if let Some(transactions) = &mut self.transactions {
            transactions.end_for_good(error.clone());
            self.follow();
        }
    }
}

/// Whether a partition is part of the transaction, as far as it has to be.
pub(super) fn may_send_to(transactions: &mut Option<Transactions>, lane: &Lane) -> bool {
    let Some(transactions) = transactions else { return true };
    transactions.may_send_to(lane.queue.id, &lane.queue.topic, lane.queue.partition)
}

/// A record that failed takes the transaction with it.
pub(super) fn in_transaction(transactions: &mut Option<Transactions>, outcome: Outcome) -> Outcome {
    let Some(transactions) = transactions else { return outcome };
    match outcome {
        Outcome::Written { .. } => outcome,
        Outcome::Failed(error) => Outcome::Failed(transactions.fail(error)),
        Outcome::Refused { code, what, records } => {
            let told = records.iter().find_map(|(_, message)| message.clone());
            transactions.fail(ClientError::broker(code, told, std::sync::Arc::clone(&what)));
            Outcome::Refused { code, what, records }
        }
    }
}
