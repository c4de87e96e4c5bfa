use std::path::Path;
use std::sync::Arc;

use expect_test::{Expect, expect};
use ottla_log::disk::{Disk, Open, SimDisk};
use ottla_log::files;
use ottla_record::Batches;
use ottla_types::{MonoMs, NodeId, Now, Timestamp};

use super::*;

const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";
const NOW: Now = Now { wall: Timestamp(0), mono: MonoMs(0) };

fn formatter(dirs: &[&str]) -> Formatter {
    Formatter {
        node_id: NodeId(1),
        cluster_id: CLUSTER.to_owned(),
        log_dirs: dirs.iter().map(|dir| (*dir).to_owned()).collect(),
        metadata_log_dir: dirs.first().copied().unwrap_or_default().to_owned(),
        controller_listener: "CONTROLLER".to_owned(),
        features: FeatureLevels::new(None, &[], true).unwrap(),
        scram_credentials: Vec::new(),
        initial_controllers: Some(DynamicVoters::parse("1@localhost:9093:07R5amHmR32VDA6jHkGbTA").unwrap()),
        ignores_formatted: false,
    }
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(SimDisk::new(1))
}

/// What the formatter tells, with the error at the end.
fn run(formatter: &Formatter, disk: &Arc<dyn Disk>, now: Now) -> String {
    let mut told = String::new();
    let result = formatter.run(disk, now, &mut |line| {
        if !line.starts_with("The metadata begins with ") {
            told += &format!("{line}\n");
        }
    });
    match result {
        Ok(()) => told,
        Err(error) => format!("{told}error: {error}\n"),
    }
}

/// The batches of a file without what differs between two runs: checksums and times.
fn without_times(bytes: &[u8]) -> Vec<u8> {
    let mut result = bytes.to_vec();
    let starts: Vec<usize> = Batches::new(bytes)
        .scan(0, |position, batch| {
            let start = *position;
            *position += batch.unwrap().size_in_bytes;
            Some(start)
        })
        .collect();
    for start in starts {
        result[start + 17..start + 21].fill(0);
        result[start + 27..start + 43].fill(0);
    }
    result
}

#[test]
fn files_are_kafkas() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/format-4.3.1");
    let bootstrap = std::fs::read(golden.join("bootstrap.checkpoint")).unwrap();
    let voters = std::fs::read(golden.join("00000000000000000000-0000000000.checkpoint")).unwrap();
    // The header's time is inside the record: ours is made to be the same.
    let at = i64::from_be_bytes(voters[0x49..0x51].try_into().unwrap());
    let now = Now { wall: Timestamp(at), mono: MonoMs(0) };

    let disk = disk();
    let mut formatter = formatter(&["/data", "/more"]);
    formatter.scram_credentials = [
        "SCRAM-SHA-256=[name=alice,iterations=8192,salt=\"N3E=\",saltedpassword=\"YCE=\"]",
        "SCRAM-SHA-512=[name=a,salt=\"N3E=\",password=b c]",
    ]
    .iter()
    .map(|argument| scram_credential(argument, &[]).unwrap())
    .collect();
    run(&formatter, &disk, now);

    let ours = |path: &str| files::read(&*disk, Path::new(path)).unwrap().unwrap();
    for dir in ["/data", "/more"] {
        assert_eq!(
            without_times(&ours(&format!("{dir}/bootstrap.checkpoint"))),
            without_times(&bootstrap),
            "{dir}"
        );
    }
    let path = "/data/__cluster_metadata-0/00000000000000000000-0000000000.checkpoint";
    assert_eq!(without_times(&ours(path)), without_times(&voters));
    assert!(!disk.exists(Path::new("/more/__cluster_metadata-0")).unwrap());
    let properties = String::from_utf8(ours("/data/meta.properties")).unwrap();
    assert_eq!(
        properties,
        format!("version=1\ncluster.id={CLUSTER}\nnode.id=1\ndirectory.id=07R5amHmR32VDA6jHkGbTA\n")
    );
}

#[test]
fn what_the_metadata_begins_with_is_told_without_secrets() {
    let mut formatter = formatter(&["/data"]);
    formatter.scram_credentials =
        ["SCRAM-SHA-256=[name=alice,password=s3cret]", "SCRAM-SHA-512=[name=alice,password=s3cret]"]
            .iter()
            .map(|argument| scram_credential(argument, &[]).unwrap())
            .collect();
    let mut told = String::new();
    formatter.run(&disk(), NOW, &mut |line| told += &format!("{line}\n")).unwrap();
    expect![[r#"
        The metadata begins with these feature levels: metadata.version 30, eligible.leader.replicas.version 1, group.version 1, share.version 1, streams.version 1, transaction.version 2; users: alice.
        Formatting dynamic metadata voter directory /data with metadata.version 4.3-IV0.
    "#]]
    .assert_eq(&told);
}

#[test]
fn only_what_is_empty_is_formatted() {
    let disk = disk();
    let check = |change: &dyn Fn(&mut Formatter), expected: Expect| {
        let mut formatter = formatter(&["/a"]);
        change(&mut formatter);
        expected.assert_eq(&run(&formatter, &disk, NOW));
    };
    check(
        &|_| {},
        expect![[r#"
        Formatting dynamic metadata voter directory /a with metadata.version 4.3-IV0.
    "#]],
    );
    check(
        &|_| {},
        expect![[r#"
        error: Log directory /a is already formatted. Use --ignore-formatted to ignore this directory and format the others.
    "#]],
    );
    let both = |formatter: &mut Formatter| {
        formatter.ignores_formatted = true;
        formatter.log_dirs.insert("/b".to_owned());
    };
    check(
        &both,
        expect![[r#"
        Formatting data directory /b with metadata.version 4.3-IV0.
    "#]],
    );
    check(
        &both,
        expect![[r#"
        All of the log directories are already formatted.
    "#]],
    );
    check(
        &|f| f.cluster_id = "other".into(),
        expect![[r#"
        error: Invalid cluster.id in: /a/meta.properties. Expected other, but read 4L6g3nShT-eMCtK--X86sw: the directory belongs to another cluster. Remove it from log.dirs, or empty it if nothing in it is needed.
    "#]],
    );
    check(
        &|f| f.node_id = NodeId(2),
        expect![[r#"
        error: Stored node id 1 doesn't match previous node id 2 in /a/meta.properties. If you moved your data, make sure your configured node id matches. If you intend to create a new node, you should remove all data in your data directories.
    "#]],
    );
    check(
        &|f| f.log_dirs.clear(),
        expect![[r#"
        error: You must specify at least one directory to format
    "#]],
    );
}

#[test]
fn a_directory_is_described_by_its_part_in_the_quorum() {
    let check = |change: &dyn Fn(&mut Formatter), expected: &str| {
        let mut formatter = formatter(&["/a"]);
        change(&mut formatter);
        let told = run(&formatter, &disk(), NOW);
        assert_eq!(told, format!("Formatting {expected} /a with metadata.version 4.3-IV0.\n"));
    };
    check(&|_| {}, "dynamic metadata voter directory");
    check(&|f| f.node_id = NodeId(2), "dynamic metadata directory");
    check(&|f| f.initial_controllers = None, "metadata directory");
}

#[test]
fn a_directory_that_fails_is_left_out() {
    let disk = disk();
    disk.open(Path::new("/file"), Open::Create).unwrap();
    disk.create_dir_all(Path::new("/bad")).unwrap();
    files::replace(&*disk, Path::new("/bad/meta.properties"), b"version=9").unwrap();
    let told = run(&formatter(&["/a", "/bad"]), &disk, NOW);
    assert!(
        told.starts_with("I/O error trying to read log directory /bad. Ignoring...\nFormatting"),
        "{told}"
    );
    let told = run(&formatter(&["/bad"]), &disk, NOW);
    assert!(told.ends_with("error: No available log directories to format.\n"), "{told}");
}

#[test]
fn levels_follow_the_release_and_what_is_asked_for() {
    let check = |release: Option<&str>, features: &[&str], dynamic: bool, expected: &str| {
        let features: Vec<String> = features.iter().map(|text| (*text).to_owned()).collect();
        let told = match FeatureLevels::new(release, &features, dynamic) {
            Ok(levels) => {
                let mut formatter = formatter(&["/a"]);
                formatter.features = levels;
                let mut first = String::new();
                formatter
                    .run(&disk(), NOW, &mut |line| {
                        if let Some((_, levels)) = line.trim_end_matches('.').split_once("levels: ") {
                            first = levels.to_owned();
                        }
                    })
                    .unwrap();
                first.replace(", ", ",").replace(' ', "=").replace(',', " ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(told, expected);
    };
    check(
        None,
        &[],
        true,
        "metadata.version=30 eligible.leader.replicas.version=1 group.version=1 share.version=1 streams.version=1 \
         transaction.version=2",
    );
    check(Some("3.9"), &["group.version=1"], false, "metadata.version=21 group.version=1");
    check(
        None,
        &["metadata.version=25", "group.version=0"],
        false,
        "metadata.version=25 transaction.version=2",
    );
    check(
        Some("4.0"),
        &["metadata.version=25"],
        false,
        "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.",
    );
    check(
        None,
        &["foo=1"],
        true,
        "Unsupported feature: foo. Supported features are: eligible.leader.replicas.version, group.version, \
         kraft.version, share.version, streams.version, transaction.version",
    );
    check(None, &["group.version=9"], true, "No feature:group.version with feature level 9");
    check(
        None,
        &["metadata.version=99"],
        true,
        "No MetadataVersion with feature level 99. Valid feature levels are from 7 to 30.",
    );
    check(
        Some("3.8"),
        &["eligible.leader.replicas.version=1"],
        true,
        "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23",
    );
    check(None, &["abc"], true, "Can't parse feature=level string abc: equals sign not found.");
    check(
        None,
        &["group.version=x"],
        true,
        "Can't parse feature=level string group.version=x: unable to parse x as a short.",
    );
    for is_dynamic in [false, true] {
        assert_eq!(FeatureLevels::new(None, &[], is_dynamic), Ok(FeatureLevels::latest(is_dynamic)));
    }
    assert!(matches!(
        FeatureLevels::new(None, &["kraft.version=0".into()], true),
        Err(FeatureError::StaticKRaftOfDynamicQuorum)
    ));
    assert!(matches!(
        FeatureLevels::new(None, &["kraft.version=1".into()], false),
        Err(FeatureError::DynamicKRaftOfStaticQuorum(1))
    ));
    assert!(matches!(FeatureLevels::new(Some("3.0"), &[], true), Err(FeatureError::UnknownRelease(_))));
}

#[test]
fn versions_and_dependencies_are_told_as_kafka_does() {
    expect![[r#"
        metadata.version=25 (4.0)
        kraft.version=1
        transaction.version=2
        group.version=1
        eligible.leader.replicas.version=0
        share.version=0
        streams.version=0
    "#]]
    .assert_eq(&version_mapping(Some("4.0")).unwrap());
    assert!(version_mapping(None).unwrap().starts_with("metadata.version=30 (4.3-IV0)\n"));
    let check = |feature: &str, expected: &str| {
        let told = feature_dependencies(&[feature.to_owned()]).unwrap_or_else(|error| error.to_string());
        assert_eq!(told, expected);
    };
    check(
        "eligible.leader.replicas.version=1",
        "eligible.leader.replicas.version=1 requires:\n    metadata.version=23 (4.0-IV1)\n",
    );
    check("transaction.version=2", "transaction.version=2 has no dependencies.\n");
    check("metadata.version=30", "metadata.version=30 (4.3-IV0) has no dependencies.\n");
    check("metadata.version=99", "Unknown metadata.version 99");
    check("foo=1", "Unknown feature: foo");
    check("group.version=9", "Feature level 9 is not supported for feature group.version");
    check("group.version=x", "Invalid version format: x for feature group.version");
    check("abc", "Invalid feature format: abc. Expected format: 'feature=version' (e.g. 'group.version=1')");
}

#[test]
fn voters_are_parsed_strictly() {
    let check = |text: &str, expected: &str| {
        let told = DynamicVoters::parse(text).map_or_else(|error| error.to_string(), |_| "fine".to_owned());
        assert!(told.starts_with(expected), "{text}: {told}");
    };
    check("1@h:1:07R5amHmR32VDA6jHkGbTA", "fine");
    check("1@[::1]:1:07R5amHmR32VDA6jHkGbTA, 2@h:2:MvDxzVmcRsaTz33bUuRU6A,", "fine");
    check("", "No voters given.");
    check(",", "No voters given.");
    check("1", "No @ found in dynamic voter string.");
    check("1@", "No hostname found after node id.");
    check("1@h", "No colon following hostname could be found.");
    check("1@h:1", "No colon following port could be found.");
    check("1@h:x:07R5amHmR32VDA6jHkGbTA", "Failed to parse port in dynamic voter string.");
    check("1@h:99999:07R5amHmR32VDA6jHkGbTA", "Invalid port 99999 in dynamic voter string.");
    check("1@h:1:xx", "Failed to parse directory ID in dynamic voter string.");
    check("x@h:1:07R5amHmR32VDA6jHkGbTA", "Failed to parse node id in dynamic voter string.");
    check(
        "1@[::1:1:07R5amHmR32VDA6jHkGbTA",
        "Hostname began with left bracket, but no right bracket was found.",
    );
    check(
        "1@h:1:07R5amHmR32VDA6jHkGbTA,1@h:2:MvDxzVmcRsaTz33bUuRU6A",
        "Node id 1 was specified more than once.",
    );
}

#[test]
fn credentials_are_derived_or_refused() {
    let check = |argument: &str, expected: &str| {
        assert_eq!(scram_credential(argument, b"salt").unwrap_err().to_string(), expected);
    };
    check("x", "Failed to find equals sign in SCRAM argument 'x'");
    check("SCRAM-SHA-1=[name=a]", "The add-scram mechanism SCRAM-SHA-1 is not supported.");
    check("SCRAM-SHA-512=name=a", "Expected configuration string to start with [");
    check("SCRAM-SHA-512=[name=a", "Expected configuration string to end with ]");
    check("SCRAM-SHA-512=[nome=a]", "You must supply 'name' to add-scram");
    check("SCRAM-SHA-512=[name=a]", "You must supply one of 'password' or 'saltedpassword' to add-scram");
    check("SCRAM-SHA-512=[name=a,password=b,x=y]", "Unknown SCRAM configurations: x");
    check(
        "SCRAM-SHA-512=[name=a,password=b,iterations=1]",
        "The 'iterations' value must be >= 4096 for add-scram using SCRAM_SHA_512",
    );
    check(
        "SCRAM-SHA-256=[name=a,password=b,iterations=99999]",
        "The 'iterations' value must be <= 16384 for add-scram using SCRAM_SHA_256",
    );
    check(
        "SCRAM-SHA-512=[name=a,saltedpassword=YCE=]",
        "You must supply 'salt' with 'saltedpassword' to add-scram",
    );
    check("SCRAM-SHA-512=[name=a,password=b,iterations=q]", "Failed to parse iterations count: q");
    check("SCRAM-SHA-512=[name=a,password=b,salt=###]", "Failed to decode given salt: ###");
    check("SCRAM-SHA-512=[name=a,b]", "No equals sign found in SCRAM component: b");
    let credential = scram_credential("SCRAM-SHA-256=[name=alice,password=alice-secret]", b"salt").unwrap();
    assert_eq!((credential.iterations, &credential.salt[..]), (4096, &b"salt"[..]));

    let mut formatter = formatter(&["/a"]);
    formatter.scram_credentials = vec![credential];
    formatter.features = FeatureLevels::new(Some("3.4"), &[], true).unwrap();
    assert_eq!(
        run(&formatter, &disk(), NOW),
        "error: SCRAM is only supported in metadata.version 3.5-IV2 or later.\n"
    );
}

#[test]
fn info_tells_of_what_it_finds() {
    let disk = disk();
    run(&formatter(&["/a", "/b"]), &disk, NOW);
    disk.create_dir_all(Path::new("/c")).unwrap();
    disk.open(Path::new("/file"), Open::Create).unwrap();
    let found = info(&*disk, ["/file", "/c", "/a", "/none"]);
    assert!(found.has_problems());
    expect![[r#"
        Found log directories:
          /a
          /c

        Found metadata: {cluster.id=4L6g3nShT-eMCtK--X86sw, directory.id=07R5amHmR32VDA6jHkGbTA, node.id=1, version=1}

        Found problems:
          /c is not formatted.
          /file is not a directory
          /none does not exist

    "#]]
    .assert_eq(&found.text);
    assert!(!info(&*disk, ["/a", "/b"]).has_problems());

    let other = b"version=1\ncluster.id=other\nnode.id=1\n";
    files::replace(&*disk, Path::new("/c/meta.properties"), other).unwrap();
    let text = info(&*disk, ["/a", "/c"]).text;
    assert!(
        text.ends_with("Found problem:\n  Mismatched cluster IDs between storage directories.\n\n"),
        "{text}"
    );
    let other = format!("version=1\ncluster.id={CLUSTER}\nnode.id=2\n");
    files::replace(&*disk, Path::new("/c/meta.properties"), other.as_bytes()).unwrap();
    let text = info(&*disk, ["/a", "/c"]).text;
    assert!(
        text.ends_with("Found problem:\n  Mismatched node IDs between storage directories.\n\n"),
        "{text}"
    );
}

#[test]
fn ids_are_versioned_and_never_look_like_flags() {
    for _ in 0..200 {
        let id = crate::random::uuid().unwrap();
        assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (4, 2));
        assert!(!id.to_string().starts_with('-'));
    }
}
