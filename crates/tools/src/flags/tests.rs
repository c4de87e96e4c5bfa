use expect_test::{Expect, expect};

use super::*;
use crate::testing::run;

/// What a command line means, or what is said of it.
#[track_caller]
fn check(line: &str, expected: Expect) {
    let mut words = line.split(' ').map(str::to_owned);
    let grammar = Grammar::of(&words.next().unwrap()).unwrap();
    let shown = match parse(&grammar, &words.collect::<Vec<_>>()) {
        Ok(parsed) => {
            let command = parsed.command().map(|command| format!("{command}: ")).unwrap_or_default();
            let found: Vec<String> =
                parsed.found.iter().map(|(flag, values)| format!("{flag}={}", values.join("|"))).collect();
            command + &found.join(" ")
        }
        Err(misuse) => {
            let hint = misuse.hint.map(|hint| format!(" [{hint}]")).unwrap_or_default();
            format!("error: {}{hint}", misuse.text)
        }
    };
    expected.assert_eq(&shown);
}

#[test]
fn options_have_values_behind_a_blank_or_an_equals_sign() {
    check("kafka-topics --create --topic a", expect!["--create= --topic=a"]);
    check("kafka-topics --topic=a=b -topic-id x", expect!["--topic=a=b --topic-id=x"]);
    check("kafka-topics --config a=b --config c=d", expect!["--config=a=b|c=d"]);
    check("kafka-topics --topic --list", expect!["--topic=--list"]);
    check("kafka-topics --list -- --create", expect!["--list="]);
    check("kafka-topics --list what is this", expect!["--list="]);
    check("kafka-consumer-groups --shift-by -2", expect!["--shift-by=-2"]);
}

#[test]
fn options_are_not_abbreviated() {
    check(
        "kafka-topics --des --boot a:1",
        expect![
            "error: des is not a recognized option [Did you mean --describe? Options can't be abbreviated.]"
        ],
    );
    check(
        "kafka-topics --topic x --topics",
        expect![
            "error: topics is not a recognized option [Did you mean --topics-with-overrides? Options can't be abbreviated.]"
        ],
    );
    check(
        "kafka-configs --bootstrap a:1",
        expect![
            "error: bootstrap is not a recognized option [It could be --bootstrap-server, --bootstrap-controller. Did you mean --bootstrap-server?]"
        ],
    );
    check(
        "kafka-topics --partition 3",
        expect!["error: partition is not a recognized option [How many there are to be is --partitions.]"],
    );
}

#[test]
fn values_that_may_be_missing_are_never_options() {
    check("kafka-consumer-groups --list --state", expect!["--list= --state="]);
    check("kafka-consumer-groups --state Stable,Dead --list", expect!["--list= --state=Stable,Dead"]);
    check("kafka-consumer-groups --state --list", expect!["--list= --state="]);
}

#[test]
fn what_options_can_t_be_is_said() {
    check("kafka-topics --topic", expect!["error: Option topic requires an argument"]);
    check(
        "kafka-topics --topic a --topic b",
        expect![
            "error: Found multiple arguments for option topic, but you asked for only one [Give --topic once.]"
        ],
    );
    check(
        "kafka-topics --partitions many",
        expect![
            "error: Cannot parse argument 'many' of option partitions [It must be a number of Java's type Integer.]"
        ],
    );
    check(
        "kafka-topics --zookeeper a:2181",
        expect![
            "error: zookeeper is not a recognized option [There is no ZooKeeper any more: name a broker with --bootstrap-server.]"
        ],
    );
    check(
        "kafka-topics --bootstarp-server a",
        expect!["error: bootstarp-server is not a recognized option [Did you mean --bootstrap-server?]"],
    );
    check(
        "kafka-topics --colour",
        expect!["error: colour is not a recognized option [All options: kafka-topics --help]"],
    );
    check(
        "kafka-topics -x",
        expect!["error: x is not a recognized option [All options: kafka-topics --help]"],
    );
}

#[test]
fn commands_have_options_of_their_own() {
    check(
        "kafka-storage format -c f -t id --feature a=1 -f b=2 -g",
        expect!["format: --cluster-id=id --config=f --feature=a=1|b=2 --ignore-formatted="],
    );
    check(
        "kafka-storage format -cf --cluster=id -gs",
        expect!["format: --cluster-id=id --config=f --ignore-formatted= --standalone="],
    );
    check(
        "kafka-transactions --bootstrap-server a:1 abort --topic t --partition 0 --producer-id -1",
        expect!["abort: --bootstrap-server=a:1 --partition=0 --producer-id=-1 --topic=t"],
    );
    check("kafka-metadata-shell -s f ls /topics", expect!["--snapshot=f command=ls|/topics"]);
}

#[test]
fn what_commands_can_t_be_is_said() {
    check("kafka-storage", expect!["error: too few arguments"]);
    check(
        "kafka-storage fromat",
        expect![
            "error: invalid choice: 'fromat' (choose from 'info', 'format', 'version-mapping', 'feature-dependencies', 'random-uuid') [Did you mean format?]"
        ],
    );
    check("kafka-storage format -c f", expect!["error: argument --cluster-id/-t is required"]);
    check("kafka-storage format -c", expect!["error: argument --config/-c: expected one argument"]);
    check(
        "kafka-storage format -c f -t id -s -N",
        expect!["error: argument --no-initial-controllers/-N: not allowed with argument --standalone/-s"],
    );
    check(
        "kafka-storage format -c f -t id --stand-alone",
        expect!["error: unrecognized arguments: '--stand-alone' [Did you mean --standalone?]"],
    );
    check("kafka-storage random-uuid x", expect!["error: unrecognized arguments: 'x'"]);
    check(
        "kafka-metadata-quorum --bootstrap x describe",
        expect![
            "error: ambiguous option: --bootstrap could match --bootstrap-server, --bootstrap-controller"
        ],
    );
    check(
        "kafka-metadata-quorum describe",
        expect!["error: one of the arguments --bootstrap-server --bootstrap-controller is required"],
    );
    check(
        "kafka-features describe --bootstrap-server a:1",
        expect![
            "error: unrecognized arguments: '--bootstrap-server' [--bootstrap-server stands before describe.]"
        ],
    );
    check(
        "kafka-cluster --id 1",
        expect!["error: unrecognized arguments: '--id' [--id stands behind a command, such as unregister.]"],
    );
    check(
        "kafka-cluster unregister -b a:1 --id one",
        expect![r#"error: argument --id/-i: could not convert 'one' to Integer (For input string: "one")"#],
    );
}

#[test]
fn usage_is_laid_out_as_argparse4j_does() {
    let of = |tool, command| usage(&Grammar::of(tool).unwrap(), command);
    expect![[r#"
        usage: kafka-storage format [-h] --config CONFIG --cluster-id CLUSTER_ID
                             [--add-scram ADD_SCRAM] [--ignore-formatted]
                             [--release-version RELEASE_VERSION]
                             [--feature FEATURE] [--standalone |
                             --no-initial-controllers |
                             --initial-controllers INITIAL_CONTROLLERS]
    "#]]
    .assert_eq(&of("kafka-storage", Some("format")));
    expect![[r#"
        usage: kafka-metadata-quorum (--bootstrap-server BOOTSTRAP_SERVER |
                                     --bootstrap-controller BOOTSTRAP_CONTROLLER)
                                     remove-controller [-h]
                                     --controller-id CONTROLLER_ID
                                     --controller-directory-id CONTROLLER_DIRECTORY_ID
                                     [--dry-run]
    "#]]
    .assert_eq(&of("kafka-metadata-quorum", Some("remove-controller")));
    expect![[r#"
        usage: kafka-storage [-h]
                             {info,format,version-mapping,feature-dependencies,random-uuid}
                             ...
    "#]]
    .assert_eq(&of("kafka-storage", None));
}

#[test]
fn help_is_laid_out_as_joptsimple_does() {
    expect![[r#"
        -- stderr
        Prints what is in files of a log: segments, indexes, snapshots.
        Option                               Description
        ------                               -----------
        --cluster-metadata-decoder           Decode records of the metadata log.
        --deep-iteration                     Print records too, not only batches.
        --files <String: file1, file2, ...>  REQUIRED: The files, parted by commas.
        --help                               Print this.
        --index-sanity-check                 Check indexes as a start of the broker
                                               does, and print nothing of them.
        --key-decoder-class [String]         What keys are, see --value-decoder-class.
                                               (default:
                                               org.apache.kafka.tools.api.StringDecoder)
        --max-bytes <Integer: size>          How much of a segment is read at most.
                                               (default: 2147483647)
        --max-message-size <Integer: size>   How much of a segment an entry of an index
                                               may need. (default: 5242880)
        --offsets-decoder                    Decode records of __consumer_offsets.
        --print-data-log                     Print keys and values too, as all decoders
                                               do.
        --remote-log-metadata-decoder        Decode records of __remote_log_metadata.
        --share-group-state-decoder          Decode records of __share_group_state.
        --skip-record-metadata               Print keys and values only.
        --transaction-log-decoder            Decode records of __transaction_state.
        --value-decoder-class [String]       What values are: StringDecoder,
                                               IntegerDecoder, LongDecoder, or
                                               DefaultDecoder for bytes. (default:
                                               org.apache.kafka.tools.api.StringDecoder)
        --verify-index-only                  Check indexes and print nothing of them.
        --version                            Print which version of Kafka's tools this
                                               is like.
        -- exit 1
    "#]]
    .assert_eq(&run("kafka-dump-log --help"));
}

#[test]
fn help_of_commands_is_laid_out_as_argparse4j_does() {
    let grammar = Grammar::of("kafka-cluster").unwrap();
    expect![[r#"
        usage: kafka-cluster [-h] {cluster-id,unregister,list-endpoints} ...

        About.

        positional arguments:
          {cluster-id,unregister,list-endpoints}
            cluster-id           Print the id of the cluster.
            unregister           Take a broker that is gone out of the metadata.
            list-endpoints       Print the endpoints of brokers or controllers.

        optional arguments:
          -h, --help             show this help message and exit
    "#]]
    .assert_eq(&commands_help(&grammar, None, "About."));
    expect![[r#"
        usage: kafka-cluster unregister [-h] [--config CONFIG]
                             [--command-config COMMAND_CONFIG] --id ID
                             (--bootstrap-server BOOTSTRAP_SERVER |
                             --bootstrap-controller BOOTSTRAP_CONTROLLER)

        About.

        optional arguments:
          -h, --help             show this help message and exit
          --bootstrap-server BOOTSTRAP_SERVER, -b BOOTSTRAP_SERVER
                                 The brokers to ask first: host:port, several
                                 parted by commas.
          --bootstrap-controller BOOTSTRAP_CONTROLLER, -C BOOTSTRAP_CONTROLLER
                                 The controllers to ask first: host:port, several
                                 parted by commas.
          --config CONFIG        (deprecated) A file with settings of the client.
          --command-config COMMAND_CONFIG, -c COMMAND_CONFIG
                                 A file with settings of the client.
          --id ID, -i ID         REQUIRED: The id of the broker.
    "#]]
    .assert_eq(&commands_help(&grammar, Some("unregister"), "About."));
}

#[test]
fn the_version_is_the_kafka_that_is_understood() {
    assert_eq!(run("kafka-dump-log --version"), "4.3.1\n-- exit 0\n");
}

#[test]
fn a_wrong_line_ends_with_1() {
    expect![[r#"
        -- stderr
        filez is not a recognized option
        Did you mean --files?
        -- exit 1
    "#]]
    .assert_eq(&run("kafka-dump-log --filez x"));
}

#[test]
fn every_row_of_the_table_can_be_read() {
    for tool in tools() {
        let grammar = Grammar::of(tool).unwrap();
        let levels = std::iter::once(&grammar.flags).chain(grammar.commands.iter().map(|(_, flags)| flags));
        for flag in levels.flatten() {
            let has_value = flag.takes != Takes::Nothing;
            assert_eq!(
                has_value,
                !flag.argument.is_empty() || flag.value != Value::Text || has_value,
                "{flag:?}"
            );
            assert!(flag.names.iter().all(|name| !name.is_empty()), "{flag:?}");
            assert!(flag.default.is_none_or(|default| flag.value.admits(default)), "{flag:?}");
        }
    }
}
