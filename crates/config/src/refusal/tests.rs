use super::*;
use crate::table::Type;

fn check(pairs: &[(&str, &str)], supported: &Supported, expected: &[&str]) {
    let config = Config::of_pairs(pairs.iter().copied()).unwrap();
    let refusals = refusals(&config, supported);
    let names: Vec<&str> = refusals.iter().map(|refusal| refusal.name.as_str()).collect();
    assert_eq!(names, expected, "{pairs:?}");
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

#[test]
fn what_a_plaintext_node_refuses() {
    let plaintext = Supported::plaintext_node();
    let cases: [(Pairs<'_>, &[&str]); 12] = [
        (&[], &[]),
        (&[("authorizer.class.name", "")], &[]),
        (
            &[("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")],
            &["authorizer.class.name"],
        ),
        (
            &[("super.users", "User:admin"), ("allow.everyone.if.no.acl.found", "true")],
            &["allow.everyone.if.no.acl.found", "super.users"],
        ),
        (&[("offsets.topic.replication.factor", "3")], &[]),
        (&[("controller.quorum.voters", "1@a:1,2@b:1")], &[]),
        (&[("process.roles", "broker")], &[]),
        (
            &[
                ("listeners", "SSL://:9092,C://:9093"),
                ("listener.security.protocol.map", "SSL:SSL,C:PLAINTEXT"),
            ],
            &["listeners"],
        ),
        (&[("ssl.keystore.location", "/k")], &[]),
        (&[("log.cleaner.enable", "false")], &[]),
        (&[("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector")], &[]),
        (&[("replica.selector.class", "org.example.Nearest")], &["replica.selector.class"]),
    ];
    for (pairs, expected) in cases {
        check(pairs, &plaintext, expected);
    }
}

#[test]
fn what_is_supported_is_not_refused() {
    let both = Supported { protocols: vec![SecurityProtocol::Plaintext, SecurityProtocol::Ssl] };
    check(&[("listeners", "SSL://:9092,SASL_SSL://:9094")], &both, &["listeners"]);
}

#[test]
fn a_refusal_names_key_value_reason_and_remedy() {
    let config = Config::of_pairs([("delegation.token.secret.key", "s3cret")]).unwrap();
    let texts: Vec<String> =
        refusals(&config, &Supported::plaintext_node()).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "delegation.token.secret.key=[hidden] (--override) is refused: nobody is authenticated yet, so everybody could \
             pass for everybody. Remove it, or set it to its default (unset)."
        ]
    );
}

#[test]
fn internal_topics_that_cannot_be_created_are_pointed_out() {
    let config = Config::of_pairs([("offsets.topic.replication.factor", "1")]).unwrap();
    let texts: Vec<String> = cautions(&config).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["share.coordinator.state.topic", "transaction.state.log"].map(|topic| format!(
            "{topic}.replication.factor isn't set and is 3 by default: that topic can't be created before there are 3 brokers. \
             Set it to 1 if this is to be the only one"
        ))
    );
    for (key, value) in [("controller.quorum.voters", "1@a:1,2@b:1"), ("process.roles", "broker")] {
        assert_eq!(cautions(&Config::of_pairs([(key, value)]).unwrap()), [], "{key}={value}");
    }
}

/// A value that is not the row's default.
fn another_value(row: &Row) -> &'static str {
    match row.name {
        "security.inter.broker.protocol" => "SASL_PLAINTEXT",
        _ => match row.kind {
            Type::Boolean if row.default_text() == Some("true") => "false",
            Type::Boolean => "true",
            Type::Int | Type::Long | Type::Short | Type::Double => "12345",
            Type::String | Type::List | Type::Class | Type::Password => "something",
        },
    }
}

#[test]
fn each_key_that_must_not_be_neglected_is_refused_in_words_of_its_own() {
    let mut refused = String::new();
    for row in BROKER.iter().filter(|row| must_be_acted_on(row)) {
        let config = Config::of_pairs([(row.name, another_value(row))]).unwrap();
        let found = refusals(&config, &Supported::plaintext_node());
        let own: Vec<_> = found.iter().filter(|refusal| refusal.name == row.name).collect();
        assert_eq!(own.len(), 1, "{}", row.name);
        refused += &format!("{}\n", own[0]);
        let default = Config::of_pairs(row.default_text().map(|text| (row.name, text))).unwrap();
        assert_eq!(refusals(&default, &Supported::plaintext_node()), [], "{} with its default", row.name);
    }
    assert!(!refused.contains("nothing acts on it"), "each says what neglect would mean:\n{refused}");
    expect_test::expect_file!["../../testdata/refused.txt"].assert_eq(&refused);
}

#[test]
fn what_is_set_for_one_listener_is_refused_as_for_all() {
    let listeners = ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093");
    let names = |name: &str| {
        let config = Config::of_pairs([listeners, (name, "x.Y")]).unwrap();
        let refused = refusals(&config, &Supported::plaintext_node());
        refused.into_iter().map(|refusal| refusal.name).collect::<Vec<_>>()
    };
    assert_eq!(
        names("listener.name.plaintext.principal.builder.class"),
        ["listener.name.plaintext.principal.builder.class"]
    );
    // A listener that there is not has no clients.
    assert_eq!(names("listener.name.other.principal.builder.class"), Vec::<String>::new());
    assert_eq!(names("listener.name.plaintext.ssl.keystore.location"), Vec::<String>::new());
}
