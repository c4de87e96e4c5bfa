use std::collections::BTreeMap;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

/// Whom a quota is for: values by entity type (`user`, `client-id`, `ip`), `None` for the default of a type.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// Client quotas (KIP-546), by entity and quota name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuotasImage {
    by_entity: RedBlackTreeMapSync<QuotaEntity, Arc<BTreeMap<String, f64>>>,
}

impl QuotasImage {
    pub fn of(&self, entity: &QuotaEntity) -> Option<&Arc<BTreeMap<String, f64>>> {
        self.by_entity.get(entity)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&QuotaEntity, &Arc<BTreeMap<String, f64>>)> {
        self.by_entity.iter()
    }

    /// Sets, or with `None` removes.
    pub(super) fn set(&mut self, entity: QuotaEntity, key: &str, value: Option<f64>) {
        let mut quotas = self.by_entity.get(&entity).cloned().unwrap_or_default();
        let changed = Arc::make_mut(&mut quotas);
        match value {
            Some(value) => changed.insert(key.to_owned(), value),
            None => changed.remove(key),
        };
        if quotas.is_empty() {
            self.by_entity.remove_mut(&entity);
        } else {
            self.by_entity.insert_mut(entity, quotas);
        }
    }
}
