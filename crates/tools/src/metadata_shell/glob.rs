//! Paths with `*`, `?` and `{this,that}`, and the places in the tree that they mean.

use regex::Regex;

use super::tree::Node;

/// A place, and the way to it.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    path: Vec<String>,
    pub(super) node: Node<'a>,
}

impl Found<'_> {
    pub(super) fn name(&self) -> &str {
        self.path.last().map_or("/", String::as_str)
    }

    pub(super) fn absolute(&self) -> String {
        format!("/{}", self.path.join("/"))
    }
}

/// Parts of a path, without `.`, and without those that a `..` takes back.
pub(super) fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

/// The path as it is seen from the root.
pub(super) fn absolute(path: &str, working_directory: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{working_directory}/{path}") }
}

/// All that a path means; nothing if there is nothing.
pub(super) fn find<'a>(root: &Node<'a>, path: &str, working_directory: &str) -> Vec<Found<'a>> {
    let path = absolute(path, working_directory);
    let mut found = vec![Found { path: Vec::new(), node: root.clone() }];
    for part in parts(&path) {
        let pattern = pattern(part);
        found = found.iter().flat_map(|at| step(at, part, pattern.as_ref())).collect();
    }
    found
}

fn step<'a>(at: &Found<'a>, part: &str, pattern: Option<&Regex>) -> Vec<Found<'a>> {
    let below = |name: &str| {
        let path = at.path.iter().cloned().chain([name.to_owned()]).collect();
        Some(Found { path, node: at.node.child(name)? })
    };
    match pattern {
        None => below(part).into_iter().collect(),
        Some(pattern) => {
            let names = at.node.names();
            names.iter().filter(|name| pattern.is_match(name)).filter_map(|name| below(name)).collect()
        }
    }
}

/// `None`: it is a name as it stands, also where it would be a pattern and is none.
fn pattern(part: &str) -> Option<Regex> {
    let mut expression = String::from("^(?:");
    let (mut is_pattern, mut is_in_group) = (false, false);
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        let special = match c {
            '?' => ".",
            '*' => ".*",
            '{' if is_in_group => return None,
            '{' => "(?:",
            ',' if is_in_group => "|",
            '}' if is_in_group => ")",
            c => {
                let c = if c == '\\' { chars.next().unwrap_or(c) } else { c };
                expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
                continue;
            }
        };
        is_in_group = (is_in_group || c == '{') && c != '}';
        is_pattern = true;
        expression.push_str(special);
    }
    if !is_pattern || is_in_group {
        return None;
    }
    Regex::new(&format!("{expression})$")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (part, name, expected) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("a?c", "abc", true),
            ("{a,bc}d", "bcd", true),
            ("{a,bc}d", "bc,d", false),
            ("a.*", "abc", false),
            ("a\\**", "a*b", true),
            ("a\\**", "ab", false),
        ] {
            assert_eq!(pattern(part).unwrap().is_match(name), expected, "{part} {name}");
        }
        for part in ["plain", "a,b}", "{a,{b}}", "{a", "TOPIC:a"] {
            assert!(pattern(part).is_none(), "{part}");
        }
    }

    #[test]
    fn dots_are_taken_out() {
        assert_eq!(parts("/a/./b/../c//"), ["a", "c"]);
        assert_eq!(parts("/../.."), [""; 0]);
        assert_eq!(absolute("a", "/b"), "/b/a");
        assert_eq!(absolute("/a", "/b"), "/a");
    }
}
