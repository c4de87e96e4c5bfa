//! The wait of a transactional batch for the coordinator's word that its transaction knows this partition (KIP-890).

use ottla_types::{ProducerEpoch, Timestamp};

/// Proof that a verification was asked for: the append that follows must bring the one that was handed out last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerificationGuard {
    /// None is needed: the transaction is under way already, or the batch is not transactional.
    #[default]
    NotNeeded,
    /// The n-th that this log handed out.
    Asked(u64),
}

/// A verification under way for one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationState {
    pub guard: VerificationGuard,
    pub started: Timestamp,
    /// Of the batches that were turned away meanwhile: nothing after it may be appended before it.
    pub lowest_sequence: i32,
    pub epoch: ProducerEpoch,
    /// The client bumps its epoch with each transaction, so a transaction starts with sequence number zero.
    pub supports_epoch_bump: bool,
}

impl VerificationState {
    pub(super) fn lower_to(&mut self, sequence: i32, epoch: ProducerEpoch) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.lowest_sequence = sequence;
        } else if epoch == self.epoch {
            self.lowest_sequence = self.lowest_sequence.min(sequence);
        }
    }
}
