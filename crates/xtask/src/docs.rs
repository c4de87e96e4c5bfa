//! Documentation that must not rot: every relative link of a Markdown page names a file that exists, and the code
//! map of ARCHITECTURE.md has every crate.

use std::fs;
use std::path::{Path, PathBuf};

use crate::ChoreError;

/// Directories that hold no pages of ours.
const SKIPPED: &[&str] = &["target", ".git", "node_modules", "ottla-data"];

/// One finding a link that leads nowhere, or a crate that is on no map.
pub fn check(root: &Path) -> Result<Vec<String>, ChoreError> {
    let mut findings = check_links(root)?;
    findings.extend(check_code_map(root)?);
    Ok(findings)
}

fn check_code_map(root: &Path) -> Result<Vec<String>, ChoreError> {
    let map = read(&root.join("ARCHITECTURE.md"))?;
    let crates = root.join("crates");
    let failed = |source| ChoreError::Io { what: format!("reading {}", crates.display()), source };
    let mut findings = Vec::new();
    for entry in fs::read_dir(&crates).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.path().join("Cargo.toml").exists() && !map.contains(&format!("(crates/{name})")) {
            findings.push(format!("ARCHITECTURE.md: the code map lacks crates/{name}"));
        }
    }
    findings.sort();
    Ok(findings)
}

fn read(path: &Path) -> Result<String, ChoreError> {
    fs::read_to_string(path)
        .map_err(|source| ChoreError::Io { what: format!("reading {}", path.display()), source })
}

fn check_links(root: &Path) -> Result<Vec<String>, ChoreError> {
    let mut pages = Vec::new();
    markdown_files(root, &mut pages)?;
    pages.sort();
    let mut findings = Vec::new();
    for page in pages {
        let text = read(&page)?;
        let directory = page.parent().unwrap_or(root);
        for (line, target) in relative_links(&text) {
            if !directory.join(&target).exists() {
                let shown = page.strip_prefix(root).unwrap_or(&page).display();
                findings.push(format!("{shown}:{line}: the link to {target} leads nowhere"));
            }
        }
    }
    Ok(findings)
}

fn markdown_files(directory: &Path, pages: &mut Vec<PathBuf>) -> Result<(), ChoreError> {
    let failed = |source| ChoreError::Io { what: format!("reading {}", directory.display()), source };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !path.is_symlink() {
            if !SKIPPED.contains(&name) {
                markdown_files(&path, pages)?;
            }
        } else if name.ends_with(".md") {
            pages.push(path);
        }
    }
    Ok(())
}

/// The targets of `[text](target)` outside code blocks that name a file, with their line, without fragments.
fn relative_links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for rest in line.split("](").skip(1) {
            let Some((target, _)) = rest.split_once(')') else { continue };
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                links.push((index + 1, target.to_owned()));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found_with_their_lines() {
        let text =
            "see [a](docs/a.md)\n[web](https://example.org) [frag](#x) [b](b.md#part)\n```\n[c](c.md)\n```\n";
        assert_eq!(relative_links(text), [(1, "docs/a.md".into()), (2, "b.md".into())]);
    }
}
