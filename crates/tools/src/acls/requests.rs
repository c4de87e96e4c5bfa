//! Access rules as brokers and controllers are asked for them.

use std::collections::BTreeSet;

use ottla_client::admin::Admin;
use ottla_client::{ClientError, Target};
use ottla_wire::messages::{
    CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, create_acls_request, delete_acls_request,
};
use ottla_wire::{ErrorCode, Request};

use super::plan::Rules;
use super::rules::{ANY, Entry, Resource};

async fn ask<R: Request>(
    admin: &Admin,
    request: &R,
    code: impl Fn(&R::Response) -> i16,
) -> Result<R::Response, ClientError> {
    let timeout_ms = admin.client().settings().default_api_timeout_ms;
    let code = |answer: &R::Response| ErrorCode::from_answer(code(answer));
    let answer = admin.client().call(Target::AnyNode, timeout_ms, |_| request.clone(), code).await?;
    Ok(answer.response)
}

fn check(code: i16, text: Option<String>, what: &'static str) -> Result<(), ClientError> {
    match ErrorCode::from_answer(code) {
        ErrorCode::None => Ok(()),
        code => Err(ClientError::broker(code, text, what)),
    }
}

/// Rules about what the resource says.
pub(super) async fn describe(admin: &Admin, resource: &Resource) -> Result<Rules, ClientError> {
    let request = DescribeAclsRequest {
        resource_type_filter: resource.kind,
        resource_name_filter: resource.name.clone(),
        pattern_type_filter: resource.pattern,
        operation: ANY,
        permission_type: ANY,
        ..Default::default()
    };
    let answer = ask(admin, &request, |answer| answer.error_code).await?;
    check(answer.error_code, answer.error_message, "listing access rules")?;
    let mut rules = Rules::new();
    for of in answer.resources {
        let resource =
            Resource { kind: of.resource_type, name: Some(of.resource_name), pattern: of.pattern_type };
        let entry = |of: ottla_wire::messages::describe_acls_response::Acl| Entry {
            principal: of.principal,
            host: of.host,
            operation: of.operation,
            permission: of.permission_type,
        };
        rules.entry(resource).or_default().extend(of.acls.into_iter().map(entry));
    }
    Ok(rules)
}

pub(super) async fn create(
    admin: &Admin,
    resource: &Resource,
    entries: &[&Entry],
) -> Result<(), ClientError> {
    let creation = |entry: &&Entry| create_acls_request::Creation {
        resource_type: resource.kind,
        resource_name: resource.name.clone().unwrap_or_default(),
        resource_pattern_type: resource.pattern,
        principal: entry.principal.clone(),
        host: entry.host.clone(),
        operation: entry.operation,
        permission_type: entry.permission,
        ..Default::default()
    };
    let request =
        CreateAclsRequest { creations: entries.iter().map(creation).collect(), ..Default::default() };
    let answer =
        ask(admin, &request, |answer| answer.results.first().map_or(0, |first| first.error_code)).await?;
    answer
        .results
        .into_iter()
        .try_for_each(|result| check(result.error_code, result.error_message, "adding access rules"))
}

/// Those that are named, or all of the resource.
pub(super) async fn delete(
    admin: &Admin,
    resource: &Resource,
    entries: &BTreeSet<Entry>,
) -> Result<(), ClientError> {
    let every = delete_acls_request::Filter {
        resource_type_filter: resource.kind,
        resource_name_filter: resource.name.clone(),
        pattern_type_filter: resource.pattern,
        operation: ANY,
        permission_type: ANY,
        ..Default::default()
    };
    let one = |entry: &Entry| delete_acls_request::Filter {
        principal_filter: Some(entry.principal.clone()),
        host_filter: Some(entry.host.clone()),
        operation: entry.operation,
        permission_type: entry.permission,
        ..every.clone()
    };
    let filters = if entries.is_empty() { vec![every.clone()] } else { entries.iter().map(one).collect() };
    let request = DeleteAclsRequest { filters, ..Default::default() };
    let code = |answer: &ottla_wire::messages::DeleteAclsResponse| {
        answer.filter_results.first().map_or(0, |first| first.error_code)
    };
    let answer = ask(admin, &request, code).await?;
    for result in answer.filter_results {
        check(result.error_code, result.error_message, "removing access rules")?;
        for rule in result.matching_acls {
            check(rule.error_code, rule.error_message, "removing access rules")?;
        }
    }
    Ok(())
}
