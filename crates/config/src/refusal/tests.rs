use super::*;

fn check(pairs: &[(&str, &str)], supported: &Supported, expected: &[&str]) {
    let config = Config::of_pairs(pairs.iter().copied()).unwrap();
    let refusals = refusals(&config, supported);
    let names: Vec<&str> = refusals.iter().map(|refusal| refusal.name.as_str()).collect();
    assert_eq!(names, expected, "{pairs:?}");
}

type Pairs<'a> = &'a [(&'a str, &'a str)];

#[test]
fn what_a_single_plaintext_node_refuses() {
    let single = Supported::single_plaintext_node();
    let cases: [(Pairs<'_>, &[&str]); 10] = [
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
        (
            &[("offsets.topic.replication.factor", "3"), ("transaction.state.log.min.isr", "1")],
            &["offsets.topic.replication.factor"],
        ),
        (&[("controller.quorum.voters", "1@a:1,2@b:1")], &["controller.quorum.voters"]),
        (&[("process.roles", "broker")], &["process.roles"]),
        (
            &[
                ("listeners", "SSL://:9092,C://:9093"),
                ("listener.security.protocol.map", "SSL:SSL,C:PLAINTEXT"),
            ],
            &["listeners"],
        ),
        (&[("ssl.keystore.location", "/k")], &[]),
        (&[("log.cleaner.enable", "false")], &[]),
    ];
    for (pairs, expected) in cases {
        check(pairs, &single, expected);
    }
}

#[test]
fn what_is_supported_is_not_refused() {
    let all =
        Supported { cluster: true, protocols: vec![SecurityProtocol::Plaintext, SecurityProtocol::Ssl] };
    check(
        &[
            ("process.roles", "broker"),
            ("offsets.topic.replication.factor", "3"),
            ("listeners", "SSL://:9092,SASL_SSL://:9094"),
        ],
        &all,
        &["listeners"],
    );
}

#[test]
fn a_refusal_names_key_value_reason_and_remedy() {
    let config = Config::of_pairs([
        ("delegation.token.secret.key", "s3cret"),
        ("offsets.topic.replication.factor", "3"),
    ])
    .unwrap();
    let texts: Vec<String> =
        refusals(&config, &Supported::single_plaintext_node()).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "delegation.token.secret.key=[hidden] (--override) is refused: nothing acts on it yet, and to neglect it would \
             weaken security or lose data. Remove it, or set it to its default (unset).",
            "offsets.topic.replication.factor=3 (--override) is refused: this program runs as a single node so far, so \
             nothing could be replicated to others. Set it to 1.",
        ]
    );
}

#[test]
fn internal_topics_that_cannot_be_created_are_pointed_out() {
    let config = Config::of_pairs([("offsets.topic.replication.factor", "1")]).unwrap();
    let texts: Vec<String> =
        cautions(&config, &Supported::single_plaintext_node()).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["share.coordinator.state.topic", "transaction.state.log"].map(|topic| format!(
            "{topic}.replication.factor isn't set and is 3 by default: a single node can't create that topic. Set it to 1"
        ))
    );
}
