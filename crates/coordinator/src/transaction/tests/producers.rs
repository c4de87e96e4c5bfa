use super::*;
use crate::transaction::metadata::{Status, TransactionMetadata};
use crate::transaction::record::{self, TransactionRecord};

#[test]
fn a_new_id_gets_a_producer_and_every_instance_a_larger_epoch() {
    let rig = Rig::new();
    assert_eq!(rig.init(None), Ok(producer(1_001, 0)));
    assert_eq!(rig.init(None), Ok(producer(1_001, 1)));
    assert_eq!(rig.status(), "Empty");
    assert_eq!(rig.describe("another").error_code, ErrorCode::TransactionalIdNotFound.code());
}

#[test]
fn requests_are_checked_before_anything_is_looked_up() {
    let rig = Rig::new();
    let valid = InitProducerIdRequest {
        transactional_id: Some(ID.to_owned()),
        transaction_timeout_ms: TIMEOUT_MS,
        ..InitProducerIdRequest::default()
    };
    let cases = [
        (
            InitProducerIdRequest { transactional_id: Some(String::new()), ..valid.clone() },
            ErrorCode::InvalidRequest,
        ),
        (
            InitProducerIdRequest { transaction_timeout_ms: 0, ..valid.clone() },
            ErrorCode::InvalidTransactionTimeout,
        ),
        (
            InitProducerIdRequest { transaction_timeout_ms: 900_001, ..valid.clone() },
            ErrorCode::InvalidTransactionTimeout,
        ),
        (
            InitProducerIdRequest { enable2_pc: true, keep_prepared_txn: true, ..valid.clone() },
            ErrorCode::TransactionalIdAuthorizationFailed,
        ),
        (InitProducerIdRequest { keep_prepared_txn: true, ..valid }, ErrorCode::UnsupportedVersion),
    ];
    for (request, expected) in cases {
        assert_eq!(error(rig.send_init_request(request).now().error_code), expected);
    }
}

/// `transaction.two.phase.commit.enable`
#[test]
fn with_two_phase_commit_a_transaction_has_no_timeout() {
    let config =
        TransactionCoordinatorConfig { two_phase_commit: true, ..TransactionCoordinatorConfig::default() };
    let rig = Rig::loading(config, 2, MemoryLog::default(), 1, Arc::default());
    rig.load();
    let request = InitProducerIdRequest {
        transactional_id: Some(ID.to_owned()),
        transaction_timeout_ms: 1,
        enable2_pc: true,
        ..InitProducerIdRequest::default()
    };
    assert_eq!(rig.send_init_request(request).now().error_code, 0);
    assert_eq!(rig.add(producer(1_001, 0), &[0]), Ok(()));
    rig.pass(3_600_000);
    assert_eq!(rig.status(), "Ongoing");
}

#[test]
fn no_id_is_given_before_it_is_committed() {
    let rig = Rig::new();
    rig.hold_commits();
    let answer = rig.send_init(ID, None);
    answer.is_parked();
    rig.commit();
    assert_eq!(answer.now().producer_id, 1_001);
}

#[test]
fn without_producer_ids_and_without_a_log_there_is_an_error_to_retry() {
    let rig = Rig::new();
    *rig.ids.failure.lock() = Some(ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(rig.init(None), Err(ErrorCode::CoordinatorLoadInProgress));
    let in_log = [
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
    ];
    for (code, expected) in in_log {
        rig.fail_next_append(code);
        assert_eq!(rig.init(None), Err(expected));
        assert_eq!(rig.states().0, TransactionState::default());
    }
    assert!(rig.init(None).is_ok());
}

#[test]
fn a_producer_that_goes_on_bumps_its_own_epoch_and_others_are_fenced() {
    let rig = Rig::new();
    let first = rig.init(None).unwrap();
    let second = rig.init(Some(first)).unwrap();
    assert_eq!(second, producer(1_001, 1));
    assert_eq!(rig.init(Some(first)), Ok(second), "the same request again");
    let other = rig.init(None).unwrap();
    assert_eq!(other, producer(1_001, 2));
    for fenced in [first, second, producer(1_002, 2)] {
        assert_eq!(rig.init(Some(fenced)), Err(ErrorCode::ProducerFenced));
    }
}

#[test]
fn the_epochs_of_a_producer_id_run_out() {
    let rig = Rig::new();
    rig.init(None).unwrap();
    let at = |rig: &Rig, epoch| {
        let (state, _) = rig.states();
        let metadata =
            TransactionMetadata { producer: producer(1_001, epoch), ..(**state.get(ID).unwrap()).clone() };
        rig.coordinator.on_resign(0, None);
        let log = log_of(&[(ID, metadata)]);
        rig.taken_over(log)
    };
    let rig = at(&rig, i16::MAX - 2);
    let last = rig.init(None).unwrap();
    assert_eq!(last, producer(1_001, i16::MAX - 1));
    let next = rig.init(Some(last)).unwrap();
    assert_eq!(next, producer(1_002, 0));
    assert_eq!(rig.init(Some(last)), Ok(next), "the same request again, under the id before");
    assert_eq!(rig.init(None), Ok(producer(1_002, 1)));
}

#[test]
fn an_open_transaction_is_aborted_before_another_instance_gets_its_epoch() {
    for level in [0, 1, 2] {
        let rig = Rig::at_level(level);
        let first = rig.init(None).unwrap();
        assert_eq!(rig.add(first, &[0, 1]), Ok(()));
        assert_eq!(rig.init(None), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(rig.add(first, &[2]), Err(ErrorCode::ProducerFenced));
        assert_eq!(rig.init(None), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(rig.status(), "PrepareAbort");
        let markers = rig.deliver(ErrorCode::None);
        assert_eq!(markers.len(), 1);
        assert_eq!(markers[0].partitions, [data(0), data(1)]);
        assert_eq!(markers[0].marker.producer, producer(1_001, 1));
        assert!(!markers[0].marker.committed);
        assert_eq!(rig.status(), "CompleteAbort");
        assert_eq!(rig.init(None), Ok(producer(1_001, 2)));
    }
}

#[test]
fn partitions_are_added_once_and_only_by_the_producer() {
    let rig = Rig::new();
    assert_eq!(rig.add(producer(1, 0), &[0]), Err(ErrorCode::InvalidProducerIdMapping));
    let who = rig.init(None).unwrap();
    assert_eq!(rig.verify(who, 0), Ok(vec![ErrorCode::TransactionAbortable]));
    assert_eq!(rig.add(who, &[0]), Ok(()));
    let written = rig.logs.log(0).end();
    assert_eq!(rig.add(who, &[0]), Ok(()));
    assert_eq!(rig.logs.log(0).end(), written, "nothing new was added");
    assert_eq!(rig.add(who, &[0, 1]), Ok(()));
    assert_eq!(rig.verify(who, 1), Ok(vec![ErrorCode::None]));
    assert_eq!(rig.verify(who, 2), Ok(vec![ErrorCode::TransactionAbortable]));
    assert_eq!(rig.verify(producer(1_001, 1), 1), Err(ErrorCode::ProducerFenced));
    assert_eq!(rig.verify(producer(7, 0), 1), Err(ErrorCode::InvalidProducerIdMapping));
    let described = rig.describe(ID);
    assert_eq!(described.topics[0].partitions, [0, 1]);
    assert_eq!(described.transaction_start_time_ms, 1_000_000);
}

/// A log in which these were written last.
pub(super) fn log_of(records: &[(&str, TransactionMetadata)]) -> MemoryLog {
    let logs = MemoryLogs::new();
    for (id, metadata) in records {
        let record = TransactionRecord::new(&Arc::from(*id), Some(metadata.clone()), 2);
        let encoded = record::encode(&record).unwrap();
        logs.push(0, crate::testing::Content::Records(None, vec![encoded]));
    }
    logs.commit(0);
    logs.log(0)
}

#[test]
fn what_is_stored_is_what_kafka_stores() {
    let metadata = TransactionMetadata {
        status: Status::Ongoing,
        producer: producer(7, 3),
        ..TransactionMetadata::new(ProducerId(7), 60_000, Timestamp(5))
    };
    let metadata = metadata.with_partitions([data(1), data(0)], 2, Timestamp(6));
    for (level, version) in [(0, 0), (1, 1), (2, 1)] {
        let record = TransactionRecord::new(&Arc::from(ID), Some(metadata.clone()), level);
        let encoded = record::encode(&record).unwrap();
        assert_eq!(encoded.key[..2], [0, 0]);
        assert_eq!(encoded.value.as_ref().unwrap()[..2], [0, version]);
        let decoded = record::decode(encoded.key, encoded.value).unwrap();
        assert_eq!(decoded, Some(record));
    }
    let tombstone = TransactionRecord::new(&Arc::from(ID), None, 2);
    let encoded = record::encode(&tombstone).unwrap();
    assert_eq!(encoded.value, None);
    assert_eq!(record::decode(encoded.key, None).unwrap().unwrap().metadata, None);
}
