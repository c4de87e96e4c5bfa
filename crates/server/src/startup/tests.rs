use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ottla_broker::quorum::write_bootstrap;
use ottla_log::disk::{Disk, SimDisk};
use ottla_raft::{Endpoints, HostPort, LocalReplica, ReplicaKey, VoterNode, VoterSet};
use ottla_types::{NodeId, Now, Uuid};
use ottla_wire::records::{FeatureLevelRecord, MetadataRecord};

use super::quorum::{bootstrap, check_voters};
use super::{StartError, remedy_of_shortage};

fn written(records: &[MetadataRecord]) -> Arc<dyn Disk> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    let values = records.iter().map(|record| record.encode(0).unwrap()).collect();
    write_bootstrap(&disk, Path::new("/"), values, Now::default()).unwrap();
    disk
}

fn level(name: &str, feature_level: i16) -> MetadataRecord {
    MetadataRecord::FeatureLevel(FeatureLevelRecord {
        name: name.into(),
        feature_level,
        ..Default::default()
    })
}

#[test]
fn a_log_begins_with_what_formatting_left() {
    let records = [level("metadata.version", 25), level("group.version", 1)];
    let read = bootstrap(&*written(&records), Path::new("/")).unwrap();
    assert_eq!(read, records.map(|record| (record, 0)));
    let nothing = bootstrap(&SimDisk::new(1), Path::new("/")).unwrap();
    assert_eq!(nothing.first(), Some(&(level("metadata.version", 30), 0)));
}

#[test]
fn a_newer_metadata_version_is_refused() {
    let disk = written(&[level("metadata.version", 31)]);
    let error = bootstrap(&*disk, Path::new("/")).unwrap_err().to_string();
    assert_eq!(
        error,
        "/bootstrap.checkpoint: the directory was formatted for metadata.version 31, which is newer than this program \
         knows (up to 30 = 4.3-IV0): start a newer version"
    );
}

#[test]
fn a_record_that_is_none_is_told() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
    write_bootstrap(&disk, Path::new("/"), vec![Bytes::from_static(&[9])], Now::default()).unwrap();
    let error = bootstrap(&*disk, Path::new("/")).unwrap_err().to_string();
    assert!(error.starts_with("/bootstrap.checkpoint can't be read: "), "{error}");
}

#[test]
fn a_quorum_that_this_node_can_not_lead_is_refused() {
    let id = |byte| Uuid([byte; 16]);
    let voter = |node: i32, directory| VoterNode {
        key: ReplicaKey::new(NodeId(node), directory),
        listeners: Endpoints::new(),
        supported_kraft_version: (0, 1),
    };
    let local = LocalReplica {
        key: ReplicaKey::new(NodeId(1), id(1)),
        listeners: Endpoints::one("CONTROLLER", HostPort::new("h", 9093)),
        supported_kraft_version: (0, 1),
    };
    let check = |voters: Vec<VoterNode>, expected: &str| {
        let error = check_voters(&VoterSet::new(voters), &local, Path::new("/d")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(vec![], "controller.quorum.voters=1@h:9093");
    check(vec![voter(1, id(1)), voter(2, id(2))], "the voters of the metadata quorum in /d are 1-");
    check(vec![voter(1, id(2))], "but this node is 1-");
    for directory in [id(1), Uuid::ZERO] {
        assert!(check_voters(&VoterSet::new([voter(1, directory)]), &local, Path::new("/d")).is_ok());
    }
}

#[test]
fn what_the_system_refuses_is_told_with_what_to_do() {
    let address = "127.0.0.1:80".parse().unwrap();
    let bind = |source| StartError::Bind { listener: "L".into(), address, source };
    let dir = |source| StartError::Directory { dir: "/d".into(), source };
    let (emfile, enospc) = (|| io::Error::from_raw_os_error(24), || io::Error::from_raw_os_error(28));
    let cases = [
        (bind(io::ErrorKind::AddrNotAvailable.into()), "Write an address of this machine"),
        (bind(io::ErrorKind::PermissionDenied.into()), "Take a port from 1024 on"),
        (dir(io::ErrorKind::PermissionDenied.into()), "Make it one that this user may read and write"),
        (dir(emfile()), "Raise the limit of open files (ulimit -n)"),
        (StartError::Thread(emfile()), "Raise the limit of open files (ulimit -n)"),
        (dir(enospc()), "Make room on that disk"),
    ];
    for (error, expected) in cases {
        let text = format!("{error}. {}", remedy_of_shortage(&error).unwrap_or_default());
        assert!(text.contains(expected), "{text}");
        assert_eq!(text.contains("this user"), expected.contains("this user"), "{text}");
    }
}
