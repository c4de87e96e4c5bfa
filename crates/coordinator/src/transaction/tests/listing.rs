use ottla_wire::messages::{ListTransactionsRequest, ListTransactionsResponse};

use super::producers::log_of;
use super::*;
use crate::transaction::metadata::{Status, TransactionMetadata};

fn list(rig: &Rig, request: ListTransactionsRequest) -> ListTransactionsResponse {
    Answer::of(|reply| rig.coordinator.list_transactions(request, rig.now(), reply)).now()
}

fn ids(response: &ListTransactionsResponse) -> Vec<&str> {
    assert_eq!(response.error_code, 0);
    response.transaction_states.iter().map(|state| state.transactional_id.as_str()).collect()
}

#[test]
fn transactions_are_listed_by_state_producer_duration_and_pattern() {
    let metadata = |id, status, start| TransactionMetadata {
        status,
        producer: producer(id, 0),
        start: Timestamp(start),
        ..TransactionMetadata::new(ProducerId(id), TIMEOUT_MS, Timestamp(start))
    };
    let log = log_of(&[
        ("a-1", metadata(1, Status::Ongoing, 990_000)),
        ("a-2", metadata(2, Status::CompleteCommit, 999_000)),
        ("b-1", metadata(3, Status::Ongoing, 999_999)),
    ]);
    let rig = Rig::with_log(2, log, 1, Arc::default());
    let all = ListTransactionsRequest { duration_filter: -1, ..ListTransactionsRequest::default() };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let pattern = |pattern: &str| ListTransactionsRequest {
        transactional_id_pattern: Some(pattern.to_owned()),
        ..all.clone()
    };
    let cases: &[(ListTransactionsRequest, &[&str])] = &[
        (all.clone(), &["a-1", "a-2", "b-1"]),
        (ListTransactionsRequest { state_filters: names(&["Ongoing"]), ..all.clone() }, &["a-1", "b-1"]),
        (ListTransactionsRequest { state_filters: names(&["Dead"]), ..all.clone() }, &[]),
        (ListTransactionsRequest { producer_id_filters: vec![2, 9], ..all.clone() }, &["a-2"]),
        (ListTransactionsRequest { duration_filter: 1_000, ..all.clone() }, &["a-1"]),
        (pattern("a-.*"), &["a-1", "a-2"]),
        (pattern("-1"), &[]),
        (pattern("b-1|a-2"), &["a-2", "b-1"]),
        (pattern(r"\Qa-\E."), &["a-1", "a-2"]),
        (pattern("(?x)a-1 # b"), &["a-1"]),
        (pattern(""), &["a-1", "a-2", "b-1"]),
    ];
    for (request, expected) in cases {
        let response = list(&rig, request.clone());
        assert_eq!(ids(&response), *expected, "{request:?}");
        assert!(response.unknown_state_filters.is_empty());
    }
    let request =
        ListTransactionsRequest { state_filters: names(&["Ongoing", "Gone", "Dead"]), ..all.clone() };
    let response = list(&rig, request);
    assert_eq!(
        (ids(&response), response.unknown_state_filters.clone()),
        (vec!["a-1", "b-1"], names(&["Gone"]))
    );
    for broken in ["(", "a)|(b", "[z"] {
        let response = list(&rig, pattern(broken));
        assert_eq!(error(response.error_code), ErrorCode::InvalidRegularExpression, "{broken}");
    }
}

#[test]
fn who_is_not_the_coordinator_says_so() {
    let rig =
        Rig::loading(TransactionCoordinatorConfig::default(), 2, MemoryLog::default(), 1, Arc::default());
    let all = ListTransactionsRequest { duration_filter: -1, ..ListTransactionsRequest::default() };
    assert_eq!(error(list(&rig, all.clone()).error_code), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(error(rig.describe(ID).error_code), ErrorCode::CoordinatorLoadInProgress);
    assert_eq!(rig.init(None), Err(ErrorCode::CoordinatorLoadInProgress));
    rig.load();
    rig.coordinator.on_resign(0, None);
    assert_eq!(rig.init(None), Err(ErrorCode::NotCoordinator));
    assert_eq!(rig.add(producer(1, 0), &[0]), Err(ErrorCode::NotCoordinator));
    rig.coordinator.stop();
    assert_eq!(error(list(&rig, all).error_code), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(rig.end_v1(producer(1, 0), true), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(error(rig.describe("").error_code), ErrorCode::InvalidRequest);
}
