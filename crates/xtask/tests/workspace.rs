//! The workspace as it stands keeps its own rules.

use ottla_xtask::{docs, layers, mutants, settings, workspace_root};

#[test]
fn dependencies_point_down_only() {
    assert_eq!(layers::check(&workspace_root()).unwrap(), Vec::<String>::new());
}

#[test]
fn links_of_pages_lead_somewhere() {
    assert_eq!(docs::check(&workspace_root()).unwrap(), Vec::<String>::new());
}

#[test]
fn every_setting_that_is_acted_on_is_shown_by_a_test() {
    assert_eq!(settings::check(&workspace_root()).unwrap(), Vec::<String>::new());
}

#[test]
fn broken_variants_still_fit_and_have_their_tests() {
    assert_eq!(mutants::check(&workspace_root()).unwrap(), Vec::<String>::new());
}
