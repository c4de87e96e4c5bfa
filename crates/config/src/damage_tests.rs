//! Settings with any value: accepted, or refused with a reason.

use std::collections::BTreeMap;

use ottla_testkit::cases;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::*;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(&[
            "", " ", "0", "-1", "-2", "1", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
            "2147483648", "1e3", "0.5", "NaN", "true", "TRUE", "null", "compact,delete", ",", ",,", "a,b", "*", "none",
            "PLAINTEXT://:9092", "PLAINTEXT://[::1]:9092", "A:PLAINTEXT,B:SSL", "1@localhost:9093", "1@:0", "@",
            "/a,/b", "producer", "zstd", "GZIP", "PLAINTEXT", "CONTROLLER", "broker,controller", "broker",
        ][..]).prop_map(str::to_owned),
        2 => "[-0-9a-zA-Z:/,.@=_ ]{0,16}",
        1 => any::<String>(),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => any::<Index>().prop_map(|at| at.get(&BROKER[..]).name.to_owned()),
        1 => any::<Index>().prop_map(|at| format!("listener.name.a.{}", at.get(&BROKER[..]).name)),
        1 => "[a-z.]{0,20}",
    ]
}

fn properties() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(key(), text(), 0..5)
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn any_settings_are_accepted_or_refused(set in properties(), file in vec(any::<u8>(), 0..40)) {
        let _ = Config::of_pairs(set.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let mut overrides: Vec<String> = set.iter().map(|(key, value)| format!("{key}={value}")).collect();
        overrides.push("process.roles=broker,controller".to_owned());
        let built_in = BuiltIn::default().settings();
        let inputs = Inputs {
            built_in: &built_in,
            file: Some(("file", &file)),
            environment: &[],
            overrides: &overrides,
        };
        match Config::load(&inputs) {
            Ok((config, warnings)) => {
                let _ = check_report(&config);
                let _ = warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
                let _ = TopicConfig::resolve(&config, &set);
            }
            Err(errors) => drop(errors.to_string()),
        }
    }

    #[test]
    fn any_settings_of_a_topic_are_accepted_or_refused(
        set in prop::collection::btree_map(any::<Index>().prop_map(|at| at.get(&TOPIC[..]).name.to_owned()), text(), 0..5),
    ) {
        let broker = Config::of_pairs([]).expect("the defaults are valid");
        let set: Overrides = set.into_iter().collect();
        if alter::validate_topic(&broker, &Overrides::default(), &set).is_ok() {
            let set: BTreeMap<String, String> = set.into_iter().collect();
            let _ = TopicConfig::resolve(&broker, &set);
        }
        let _ = alter::validate_group(&broker, &Overrides::default());
    }
}
