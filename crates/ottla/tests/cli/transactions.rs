//! `ottla txn`

use ottla_client::{ProducerSettings, Record, TransactionalProducer};

use crate::{Terminal, field};

#[test]
fn an_open_transaction_is_found_and_ended() {
    let terminal = Terminal::open();
    terminal.well("topic create orders");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let settings = ProducerSettings {
            transactional_id: Some("shop".to_owned()),
            ..ProducerSettings::new(terminal.node.bootstrap())
        };
        let mut producer = TransactionalProducer::start(settings).await.unwrap();
        let transaction = producer.begin().await.unwrap();
        transaction.send(Record::to("orders").value("x")).await.unwrap().await.unwrap();
        assert_eq!(field(&terminal.well("txn list -o jsonl"), "state"), ["Ongoing"]);
        assert_eq!(terminal.well("txn list --state CompleteCommit --no-headers"), "");
        assert_eq!(terminal.well("txn list --longer-than 1h --no-headers"), "");
        let described: serde_json::Value =
            serde_json::from_str(&terminal.well("txn describe shop -o jsonl")).unwrap();
        assert_eq!(
            (&described["state"], &described["partitions"][0]["topic"]),
            (&"Ongoing".into(), &"orders".into())
        );
        assert!(described["open_for"].is_number(), "{described}");
        let producers = terminal.well("txn producers orders --open -o jsonl");
        assert_eq!(field(&producers, "open_since_offset"), ["0"]);
        assert_eq!(terminal.well("consume orders -o jsonl -X isolation.level=read_committed"), "");
        terminal.well("txn abort shop");
        assert_eq!(field(&terminal.well("txn list -o jsonl"), "state"), ["Ongoing"]);
        terminal.well("txn abort shop --execute");
        assert_eq!(terminal.well("txn producers orders --open --no-headers"), "");
        assert!(transaction.commit().await.is_err());
        let over: serde_json::Value =
            serde_json::from_str(&terminal.well("txn describe shop -o jsonl")).unwrap();
        assert!(over["state"] != "Ongoing" && over["open_for"].is_null(), "{over}");
    });
    let misspelt = terminal.run("txn describe shpo");
    assert!(misspelt.code == 4 && misspelt.err.contains("did you mean 'shop'?"), "{misspelt:?}");
}
