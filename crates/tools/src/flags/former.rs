//! What is no more: flags, classes and tools that earlier versions of Apache Kafka had, and what is said of them.

/// The columns are explained in the files' first lines.
const FORMS: &str = include_str!("../../data/former.tsv");
const TOOLS: &str = include_str!("../../data/former-tools.tsv");

/// What is said of a tool that is no more, or that is not here. `name` may end with `.sh`.
pub fn former_tool(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(".sh").unwrap_or(name);
    rows(TOOLS).find_map(|[tool, word]| (tool == name).then_some(word))
}

/// What is said of a tool's former flag, which is given with two dashes.
pub(super) fn former_flag(tool: &str, flag: &str) -> Option<&'static str> {
    let mut forms = forms().filter(|form| form.tools().any(|of| of == tool));
    forms.find(|form| form.last_word() == flag).map(|form| form.word)
}

/// What is said of a class that had another name.
pub(crate) fn former_class(name: &str) -> Option<&'static str> {
    forms().find(|form| form.last_word() == name).map(|form| form.word)
}

/// One row.
#[derive(Clone, Copy, Debug)]
struct Form {
    tools: &'static str,
    line: &'static str,
    word: &'static str,
}

impl Form {
    fn tools(self) -> impl Iterator<Item = &'static str> {
        self.tools.split(' ')
    }

    fn last_word(self) -> &'static str {
        self.line.rsplit(' ').next().unwrap_or_default()
    }
}

fn forms() -> impl Iterator<Item = Form> {
    rows(FORMS).map(|[tools, line, word]| Form { tools, line, word })
}

fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    let lines = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines.map(|line| {
        let mut cells = line.split('\t');
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Grammar, parse, tools};
    use super::*;
    use crate::testing::run;
    use crate::tool::Toolbox;

    /// Flags that a sentence names, each with the tool that it belongs to.
    fn named(tool: &str, word: &'static str) -> Vec<(String, &'static str)> {
        let mut tool = tool.to_owned();
        let mut flags = Vec::new();
        for part in word.split([' ', ':']).map(|part| part.trim_end_matches(['.', ',', ';'])) {
            if tools().contains(&part) {
                tool = part.to_owned();
            } else if part.starts_with("--") {
                flags.push((tool.clone(), part));
            }
        }
        flags
    }

    fn has(tool: &str, flag: &str) -> bool {
        let grammar = Grammar::of(tool).unwrap();
        let of_commands = grammar.commands.iter().flat_map(|(_, flags)| flags);
        grammar.flags.iter().chain(of_commands).any(|of| of.names.contains(&flag))
    }

    /// What is said of the line, by the whole tool where it is one of this crate.
    fn refused(tool: &str, line: &str) -> String {
        if Toolbox::with(&[]).find(tool).is_some() {
            let shown = run(&format!("{tool} {line}"));
            assert!(shown.ends_with("-- exit 1\n"), "{line}: {shown}");
            return shown;
        }
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        parse(&Grammar::of(tool).unwrap(), &words).unwrap_err().hint.unwrap()
    }

    #[test]
    fn every_former_form_is_answered_with_what_replaced_it() {
        for form in forms() {
            for tool in form.tools() {
                let line = format!("{tool} {}", form.line);
                let shown = refused(tool, form.line);
                assert!(shown.contains(form.word), "{line}: {shown}");
                for (of, flag) in named(tool, form.word) {
                    assert!(has(&of, flag), "{line}: {of} has no {flag}");
                }
            }
        }
    }

    #[test]
    fn former_forms_are_none_of_today() {
        for form in forms().filter(|form| form.last_word().starts_with("--")) {
            for tool in form.tools() {
                assert!(!has(tool, form.last_word()), "{tool} has {}", form.last_word());
            }
        }
    }

    #[test]
    fn former_tools_are_known_with_and_without_sh() {
        assert!(
            former_tool("kafka-preferred-replica-election.sh").unwrap().contains("kafka-leader-election")
        );
        assert_eq!(former_tool("kafka-topics"), None);
        for [tool, word] in rows(TOOLS) {
            for (of, flag) in named(tool, word).into_iter().filter(|(_, flag)| *flag != "--help") {
                assert!(has(&of, flag), "{tool}: {of} has no {flag}");
            }
        }
    }
}
