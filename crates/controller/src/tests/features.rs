use ottla_metadata::Feature;
use ottla_metadata::image::{ResourceType, VersionedRecord};
use ottla_wire::messages::controller_registration_request::ControllerRegistrationRequest;
use ottla_wire::messages::update_features_request::{FeatureUpdate, UpdateFeaturesRequest};

use super::*;
use crate::features::bootstrap_records;

const UPGRADE: i8 = 1;
const SAFE: i8 = 2;
const UNSAFE: i8 = 3;

fn update(feature: &str, max_version_level: i16, upgrade_type: i8) -> FeatureUpdate {
    FeatureUpdate { feature: feature.into(), max_version_level, upgrade_type, ..FeatureUpdate::default() }
}

fn levels(records: &[VersionedRecord]) -> String {
    let line = |(record, version): &VersionedRecord| {
        assert_eq!(*version, 0);
        match record {
            MetadataRecord::FeatureLevel(record) => format!("{}={} ", record.name, record.feature_level),
            MetadataRecord::BeginTransaction(record) => {
                format!("begin({}) ", record.name.as_deref().unwrap_or(""))
            }
            MetadataRecord::EndTransaction(_) => "end ".into(),
            MetadataRecord::AbortTransaction(record) => {
                format!("abort({}) ", record.reason.as_deref().unwrap_or(""))
            }
            MetadataRecord::Config(record) => {
                format!(
                    "{}:{}:{}={} ",
                    record.resource_type,
                    record.resource_name,
                    record.name,
                    record.value.as_deref().unwrap_or("null")
                )
            }
            other => panic!("{other:?}"),
        }
    };
    records.iter().map(line).collect()
}

fn version(name: &str) -> MetadataVersion {
    MetadataVersion::from_name(name).expect("a version")
}

impl Cluster {
    fn update(&mut self, updates: &[FeatureUpdate], api_version: i16) -> (i16, String, usize) {
        let request = UpdateFeaturesRequest { feature_updates: updates.to_vec(), ..Default::default() };
        let outcome = self.controller.update_features(&request, api_version);
        let response = self.commit(outcome);
        assert_eq!(response.error_message.is_none(), response.error_code == 0);
        let message = response.error_message.unwrap_or_default();
        let prefix = "The update failed for all features since the following feature had an error: ";
        (response.error_code, message.trim_start_matches(prefix).to_owned(), response.results.len())
    }

    pub(crate) fn enable_elr(&mut self) {
        let answer = self.update(&[update("eligible.leader.replicas.version", 1, UPGRADE)], 2);
        assert_eq!(answer, (0, String::new(), 0));
    }
}

#[test]
fn formatting_begins_with_what_kafka_begins_with() {
    let formatted = |name, overrides: &[(Feature, i16)]| {
        levels(&bootstrap_records(version(name), overrides).expect("levels that exist"))
    };
    assert_eq!(formatted("3.9", &[]), "metadata.version=21 ");
    assert_eq!(formatted("4.0", &[]), "metadata.version=25 group.version=1 transaction.version=2 ");
    assert_eq!(
        formatted("4.3", &[]),
        "metadata.version=30 eligible.leader.replicas.version=1 group.version=1 share.version=1 streams.version=1 \
         transaction.version=2 "
    );
    assert_eq!(
        formatted("4.3", &[(Feature::GroupVersion, 0)]),
        "metadata.version=30 eligible.leader.replicas.version=1 share.version=1 streams.version=1 transaction.version=2 "
    );
}

#[test]
fn formatting_refuses_levels_that_cannot_be() {
    let refused = |name, feature, level| {
        bootstrap_records(version(name), &[(feature, level)]).unwrap_err().message.unwrap_or_default()
    };
    assert_eq!(refused("4.3", Feature::GroupVersion, 7), "No feature:group.version with feature level 7");
    assert_eq!(
        refused("3.9", Feature::EligibleLeaderReplicasVersion, 1),
        "eligible.leader.replicas.version could not be set to 1 because it depends on metadata.version level 23"
    );
}

#[test]
fn the_first_controller_writes_the_bootstrap_in_a_transaction() {
    let cluster =
        Cluster::from_image(&[("min.insync.replicas", "2")], MetadataImage::default(), Offset::ZERO);
    let bootstrap = bootstrap_records(version("4.3"), &[]).expect("levels that exist");
    assert_eq!(
        levels(&cluster.controller.activate(&bootstrap, false).records),
        "begin(Bootstrap records) metadata.version=30 eligible.leader.replicas.version=1 group.version=1 \
         share.version=1 streams.version=1 transaction.version=2 4::min.insync.replicas=2 end "
    );
    assert!(
        levels(&cluster.controller.activate(&bootstrap, true).records)
            .starts_with("abort(Controller failover) begin(Bootstrap records) ")
    );
    let old = bootstrap_records(version("3.5"), &[]).expect("levels that exist");
    assert_eq!(levels(&cluster.controller.activate(&old, false).records), "metadata.version=11 ");
}

#[test]
fn a_later_controller_only_aborts_what_was_left_open() {
    let cluster = Cluster::new(&[]);
    let bootstrap = bootstrap_records(version("4.3"), &[]).expect("levels that exist");
    assert_eq!(levels(&cluster.controller.activate(&bootstrap, false).records), "");
    assert_eq!(levels(&cluster.controller.activate(&bootstrap, true).records), "abort(Controller failover) ");
}

#[test]
fn features_go_up_and_down() {
    let mut cluster = Cluster::with_brokers(&[("min.insync.replicas", "2")], &[1]);
    assert_eq!(cluster.update(&[update("group.version", 1, UPGRADE)], 1), (0, String::new(), 1));
    assert_eq!(cluster.controller.image().features.level(Feature::GroupVersion), 1);
    cluster.enable_elr();
    assert_eq!(cluster.settings(ResourceType::Broker, ""), "min.insync.replicas=2 ");
    assert_eq!(cluster.update(&[update("group.version", 0, SAFE)], 2).0, 0);
    assert_eq!(cluster.controller.image().features.level(Feature::GroupVersion), 0);
}

#[test]
fn the_metadata_version_goes_back_only_where_nothing_is_lost() {
    let mut cluster = Cluster::new(&[]);
    cluster.append(&[metadata_version_record(version("4.2-IV1")).0]);
    assert_eq!(cluster.update(&[update("metadata.version", 25, SAFE)], 2).0, 0);
    let refused = |level, kind, why: &str| {
        let message = format!("Unsupported metadata.version downgrade from 25 to 22. {why}");
        assert_eq!(level, 22);
        (kind, message)
    };
    for (kind, message) in [
        refused(
            22,
            SAFE,
            "Refusing to perform the requested downgrade because it might delete metadata information.",
        ),
        refused(22, UNSAFE, "Unsafe metadata downgrade is not supported in this version."),
    ] {
        assert_eq!(cluster.update(&[update("metadata.version", 22, kind)], 2), (95, message, 0));
    }
}

#[test]
fn updates_are_refused_in_kafkas_words() {
    for (change, why) in [
        (update("group.version", 1, 0), "The controller does not support the given upgrade type."),
        (update("group.version", -1, UPGRADE), "A feature version cannot be less than 0."),
        (update("group.version", 2, UPGRADE), "Local controller 1 only supports versions 0-1"),
        (update("no.such.version", 1, UPGRADE), "Local controller 1 does not support this feature."),
        (update("share.version", 1, UPGRADE), "Broker 1 does not support this feature."),
        (
            update("metadata.version", 25, UPGRADE),
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        ),
        (update("group.version", 1, SAFE), "Can't downgrade to a newer version."),
    ] {
        let mut cluster = Cluster::with_brokers(&[], &[1]);
        let expected = format!(
            "Invalid update version {} for feature {}. {why}",
            change.max_version_level, change.feature
        );
        let group = update("transaction.version", 2, UPGRADE);
        assert_eq!(cluster.update(&[change, group], 1), (95, expected, 0));
        assert_eq!(cluster.controller.image().features.level(Feature::TransactionVersion), 0);
    }
}

/// The record is for the quorum, which writes what it says in its own way.
#[test]
fn the_version_of_the_quorum_rises_where_the_quorum_can() {
    let mut cluster = Cluster::new(&[]);
    let mut ask = |level, kind, quorum| {
        cluster.controller.set_quorum_version(quorum);
        let feature_updates = vec![update("kraft.version", level, kind)];
        let request = UpdateFeaturesRequest { feature_updates, ..Default::default() };
        let outcome = cluster.controller.update_features(&request, 2);
        (outcome.response.error_code, levels(&outcome.records))
    };
    let why = Some("one of them is too old");
    let raised = QuorumVersion { level: 1, cannot_rise: why };
    assert_eq!(
        ask(1, UPGRADE, QuorumVersion { level: 0, cannot_rise: None }),
        (0, "kraft.version=1 ".into())
    );
    assert_eq!(ask(1, UPGRADE, QuorumVersion { level: 0, cannot_rise: why }), (95, String::new()));
    assert_eq!(ask(1, UPGRADE, raised), (0, String::new()));
    assert_eq!(ask(0, SAFE, raised), (95, String::new()));
    assert_eq!(ask(2, UPGRADE, raised), (95, String::new()));
}

#[test]
fn every_controller_must_have_registered() {
    let voters = [("controller.quorum.voters", "1@a:1,2@b:2")];
    let mut cluster = Cluster::new(&voters);
    let change = update("group.version", 1, UPGRADE);
    let (code, message, _) = cluster.update(std::slice::from_ref(&change), 2);
    assert_eq!(code, 95);
    assert!(
        message.ends_with("controller 2 has not registered, and may not support this feature"),
        "{message}"
    );
    let mut request = ControllerRegistrationRequest { controller_id: 2, ..Default::default() };
    let outcome = cluster.controller.register_controller(&request);
    cluster.commit(outcome);
    assert!(
        cluster
            .update(std::slice::from_ref(&change), 2)
            .1
            .ends_with("Controller 2 does not support this feature.")
    );
    request.features = vec![ottla_wire::messages::controller_registration_request::Feature {
        name: "group.version".into(),
        max_supported_version: 1,
        ..Default::default()
    }];
    let outcome = cluster.controller.register_controller(&request);
    cluster.commit(outcome);
    assert_eq!(cluster.update(&[change], 2).0, 0);
}
