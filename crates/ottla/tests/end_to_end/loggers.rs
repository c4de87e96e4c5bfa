//! What the process logs changes while it runs (KIP-412).

use std::net::TcpStream;

use ottla_testkit::Ottla;
use ottla_wire::ErrorCode;
use ottla_wire::messages::describe_configs_request::{DescribeConfigsRequest, Resource as Described};
use ottla_wire::messages::incremental_alter_configs_request::{
    Config, IncrementalAlterConfigsRequest, Resource as Altered,
};

use super::bad_input::{call, connect};
use super::launch;
use super::network::{Heard, PATIENCE, ask, until};

const BROKER_LOGGER: i8 = 8;
const SERVER: &str = "ottla_server";

fn level(stream: &TcpStream, logger: &str) -> Option<String> {
    let resource = Described {
        resource_type: BROKER_LOGGER,
        resource_name: "1".to_owned(),
        configuration_keys: None,
        ..Described::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
    let described = call(stream, &request, 4).results.remove(0);
    assert_eq!(described.error_code, 0, "{:?}", described.error_message);
    let found = described.configs.into_iter().find(|config| config.name == logger)?;
    assert_eq!((found.config_source, found.read_only), (6, false));
    found.value
}

/// Sets a level, or deletes it.
fn alter(stream: &TcpStream, logger: &str, level: Option<&str>, validate_only: bool) -> ErrorCode {
    let config = Config {
        name: logger.to_owned(),
        config_operation: i8::from(level.is_none()),
        value: level.map(str::to_owned),
        ..Config::default()
    };
    let resource = Altered {
        resource_type: BROKER_LOGGER,
        resource_name: "1".to_owned(),
        configs: vec![config],
        ..Altered::default()
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![resource],
        validate_only,
        ..IncrementalAlterConfigsRequest::default()
    };
    ErrorCode::from_code(call(stream, &request, 1).responses[0].error_code).unwrap()
}

/// Connections that end are told of on level DEBUG.
fn debug_lines(ottla: &Ottla) -> usize {
    ottla.log().lines().filter(|line| line.contains("DEBUG ottla_server")).count()
}

#[test]
fn levels_are_described_and_changed() {
    let dir = tempfile::tempdir().unwrap();
    let ottla = launch(dir.path()).start();
    let stream = connect(&ottla);
    assert_eq!(level(&stream, "root").as_deref(), Some("INFO"));
    assert_eq!(level(&stream, SERVER).as_deref(), Some("INFO"));
    assert_eq!(level(&stream, "kafka.server"), None);
    assert_eq!(alter(&stream, "kafka.server", Some("DEBUG"), false), ErrorCode::InvalidConfig);
    assert_eq!(alter(&stream, SERVER, Some("LOUD"), false), ErrorCode::InvalidConfig);
    assert_eq!(alter(&stream, "root", None, false), ErrorCode::InvalidRequest);
    assert_eq!(alter(&stream, SERVER, Some("DEBUG"), true), ErrorCode::None);
    assert_eq!(level(&stream, SERVER).as_deref(), Some("INFO"), "that was to be validated only");
    assert_eq!(debug_lines(&ottla), 0);
    assert_eq!(alter(&stream, SERVER, Some("DEBUG"), false), ErrorCode::None);
    assert_eq!(level(&stream, SERVER).as_deref(), Some("DEBUG"));
    assert_eq!(ask(&connect(&ottla), PATIENCE), Heard::Answer);
    until(|| debug_lines(&ottla) > 0);
    assert_eq!(alter(&stream, SERVER, None, false), ErrorCode::None);
    assert_eq!(level(&stream, SERVER).as_deref(), Some("INFO"));
    let before = debug_lines(&ottla);
    assert_eq!(ask(&connect(&ottla), PATIENCE), Heard::Answer);
    assert!(ottla.stop().success());
    let log = std::fs::read_to_string(dir.path().join("ottla.log")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("DEBUG ottla_server")).count(), before);
}
