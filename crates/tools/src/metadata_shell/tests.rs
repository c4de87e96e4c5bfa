//! Against what Apache Kafka printed: see testdata/metadata-shell/write-expected.

use std::fs;

use ottla_metadata::MetadataImage;

use super::commands::{Session, Shell};
use super::line::{completions, words};
use super::tree::Node;
use crate::segment_files::File;
use crate::testing::run;
use crate::tool::Output;

#[test]
fn trees_are_those_that_apache_kafka_shows() {
    let invocations = fs::read_to_string("testdata/metadata-shell/invocations").unwrap();
    for line in invocations.lines() {
        let (name, arguments) = line.split_once(' ').unwrap();
        let printed = run(&format!("kafka-metadata-shell {arguments}"));
        let expected = fs::read_to_string(format!("testdata/metadata-shell/{name}.expected")).unwrap();
        let expected: String = expected.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        let first = printed.lines().zip(expected.lines()).find(|(printed, expected)| printed != expected);
        assert_eq!(first, None, "{name}");
        assert_eq!(printed, expected, "{name}");
    }
}

fn image() -> MetadataImage {
    super::loading::load(&File::named("testdata/metadata-shell/metadata.checkpoint")).unwrap()
}

/// What a session prints.
fn session(lines: &[&str]) -> String {
    let image = image();
    let session = Session { width: 40, ..Session::default() };
    let mut shell = Shell::new(Node::root(&image), Some(session));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    for line in lines {
        shell.run(&words(line), &mut Output { out: &mut out, err: &mut err }).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn a_session_walks_through_the_tree() {
    let printed = session(&["pwd", "cd image/topics", "pwd", "cd ..", "ls", "cd nowhere", "cd provenance"]);
    expect_test::expect![[r#"
        /
        /image/topics
        acls          delegationToken  scram
        clientQuotas  features         topics
        cluster       producerIds      
        configs       provenance       
        cd: nowhere: no such directory.
        cd: provenance: not a directory.
    "#]]
    .assert_eq(&printed);
    let printed = session(&["cd /image/features", "cat 'metadataVersion'", "cd", "pwd", "exit now", "fly"]);
    expect_test::expect![[r#"
        Optional[4.3-IV0]
        /
        unrecognized arguments: 'now'
        invalid choice: 'fly' (choose from 'cat', 'cd', 'exit', 'find', 'help', 'history', 'ls', 'man', 'pwd', 'tree')
    "#]].assert_eq(&printed);
    let printed = session(&["help", "man ls", "man fly", "history x"]);
    expect_test::expect![[r#"
        Welcome to the Apache Kafka metadata shell.

        usage:  {cat,cd,exit,find,help,history,ls,man,pwd,tree} ...

        positional arguments:
          {cat,cd,exit,find,help,history,ls,man,pwd,tree}
            cat                  Show what files say.
            cd                   Go to another directory.
            exit                 Leave the shell.
            find                 List everything below directories.
            help                 Show the commands.
            history              Show the commands that were given before.
            ls                   List what is in directories.
            man                  Explain a command.
            pwd                  Say which directory this is.
            tree                 Show what all files below places say.
        ls: List what is in directories.

        usage: ls [targets ...]

        positional arguments:
          targets                The directories and files.
        man: unknown command fly. Type help to get a list of commands.
        argument numEntriesToShow: could not convert 'x' to Integer (For input string: "x")
    "#]]
    .assert_eq(&printed);
}

#[test]
fn words_may_be_quoted() {
    for (line, expected) in [
        ("  ls  a b ", &["ls", "a", "b"][..]),
        ("cat 'a b' \"c\\\"d\" e\\ f", &["cat", "a b", "c\"d", "e f"]),
        ("cat ''", &["cat", ""]),
        ("cat 'open", &["cat", "open"]),
        ("", &[]),
    ] {
        assert_eq!(words(line), expected, "{line}");
    }
}

#[test]
fn names_are_completed() {
    let image = image();
    let shell = Shell::new(Node::root(&image), Some(Session::default()));
    for (typed, start, expected) in [
        ("c", 0, &["cat ", "cd "][..]),
        ("ls /im", 3, &["/image/"]),
        ("ls image/fea", 3, &["image/features/"]),
        ("cat image/features/meta", 4, &["image/features/metadataVersion "]),
        ("man tr", 4, &["tree "]),
        ("ls /nowhere/a", 3, &[]),
    ] {
        assert_eq!(
            completions(&shell, typed),
            (start, expected.iter().map(ToString::to_string).collect()),
            "{typed}"
        );
    }
}
