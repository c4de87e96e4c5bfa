//! The workspace as it stands keeps its own rules.

use ottla_xtask::{docs, layers, workspace_root};

#[test]
fn dependencies_point_down_only() {
    assert_eq!(layers::check(&workspace_root()).unwrap(), Vec::<String>::new());
}

#[test]
fn links_of_pages_lead_somewhere() {
    assert_eq!(docs::check(&workspace_root()).unwrap(), Vec::<String>::new());
}
