//! Quotas of users, clients and IPs (KIP-546).

use std::collections::BTreeMap;

use ottla_wire::messages::{
    AlterClientQuotasRequest, DescribeClientQuotasRequest, alter_client_quotas_request,
    describe_client_quotas_request,
};

use super::{Admin, check};
use crate::client::Target;
use crate::error::ClientError;

/// Whose quotas: types (`user`, `client-id`, `ip`) with names; no name is the default of the type.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// Which entities of a type are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaMatch {
    Exact(String),
    Default,
    Any,
}

impl Admin {
    /// Quotas of the entities that have just these types, and match them.
    pub async fn describe_client_quotas(
        &self,
        filter: &[(String, QuotaMatch)],
    ) -> Result<BTreeMap<QuotaEntity, BTreeMap<String, f64>>, ClientError> {
        let component = |(kind, wanted): &(String, QuotaMatch)| {
            let (match_type, name) = match wanted {
                QuotaMatch::Exact(name) => (0, Some(name.clone())),
                QuotaMatch::Default => (1, None),
                QuotaMatch::Any => (2, None),
            };
            describe_client_quotas_request::Component {
                entity_type: kind.clone(),
                match_type,
                r#match: name,
                ..Default::default()
            }
        };
        let request = DescribeClientQuotasRequest {
            components: filter.iter().map(component).collect(),
            strict: true,
            ..Default::default()
        };
        let answer = self.ask(Target::AnyNode, &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || "describing quotas".to_owned())?;
        let entries = answer.entries.unwrap_or_default().into_iter().map(|entry| {
            let entity = entry.entity.into_iter().map(|of| (of.entity_type, of.entity_name)).collect();
            let values = entry.values.into_iter().map(|value| (value.key, value.value)).collect();
            (entity, values)
        });
        Ok(entries.collect())
    }

    /// Sets quotas of one entity, and removes those without value.
    pub async fn alter_client_quotas(
        &self,
        entity: &QuotaEntity,
        changes: &BTreeMap<String, Option<f64>>,
    ) -> Result<(), ClientError> {
        let part = |(kind, name): (&String, &Option<String>)| alter_client_quotas_request::Entity {
            entity_type: kind.clone(),
            entity_name: name.clone(),
            ..Default::default()
        };
        let op = |(key, value): (&String, &Option<f64>)| alter_client_quotas_request::Op {
            key: key.clone(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
            ..Default::default()
        };
        let entry = alter_client_quotas_request::Entry {
            entity: entity.iter().map(part).collect(),
            ops: changes.iter().map(op).collect(),
            ..Default::default()
        };
        let request = AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
        let code = |answer: &ottla_wire::messages::AlterClientQuotasResponse| {
            answer.entries.first().map_or(0, |entry| entry.error_code)
        };
        let answer = self.ask(Target::Controller, &request, code).await?;
        match answer.entries.into_iter().find(|entry| entry.error_code != 0) {
            Some(failed) => check(failed.error_code, failed.error_message, || "changing quotas".to_owned()),
            None => Ok(()),
        }
    }
}
