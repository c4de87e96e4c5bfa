//! The table of all tools and their flags, `data/tools.tsv`.

/// The columns are explained in the file's first lines.
const TABLE: &str = include_str!("../../data/tools.tsv");

/// How a tool reads its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As joptsimple: long options only, which may be abbreviated.
    Options,
    /// As argparse4j: options with short forms, and sub-commands.
    Commands,
}

/// How many values a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    /// One, and the flag stands once.
    One,
    /// One, or none where an option follows.
    Perhaps,
    /// One each time.
    OneEachTime,
    /// As many as follow.
    Several {
        at_least: usize,
    },
}

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Text,
    Short,
    Integer,
    Long,
    Double,
}

impl Value {
    fn parse(text: &str) -> Value {
        match text.trim_end_matches(['+', '*']) {
            "Short" => Value::Short,
            "Integer" => Value::Integer,
            "Long" => Value::Long,
            "Double" => Value::Double,
            _ => Value::Text,
        }
    }

    /// Java's name of the type, as help shows it.
    pub fn java_name(self) -> &'static str {
        match self {
            Value::Text => "String",
            Value::Short => "Short",
            Value::Integer => "Integer",
            Value::Long => "Long",
            Value::Double => "Double",
        }
    }

    pub fn admits(self, text: &str) -> bool {
        let digits = text.strip_prefix('+').unwrap_or(text);
        match self {
            Value::Text => true,
            Value::Short => digits.parse::<i16>().is_ok(),
            Value::Integer => digits.parse::<i32>().is_ok(),
            Value::Long => digits.parse::<i64>().is_ok(),
            Value::Double => digits.parse::<f64>().is_ok(),
        }
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// With dashes; a positional argument has none.
    pub names: Vec<&'static str>,
    /// What help calls the value; empty without one.
    pub argument: &'static str,
    pub takes: Takes,
    pub value: Value,
    /// `yes`, `one of group N`, `at most one of group N`, or words for a rule that the tool checks.
    pub required: &'static str,
    pub default: Option<&'static str>,
    pub is_deprecated: bool,
    pub help: &'static str,
}

impl Flag {
    /// By which [`super::Parsed`] knows it.
    pub fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    pub fn is_positional(&self) -> bool {
        !self.name().starts_with('-')
    }

    /// The group of flags that exclude each other, and whether one of them must be there.
    pub fn group(&self) -> Option<(&'static str, bool)> {
        let (rule, group) = self.required.trim_end_matches(')').split_once("one of group ")?;
        Some((group, rule.is_empty()))
    }
}

/// A tool's flags.
#[derive(Clone, Debug)]
pub struct Grammar {
    pub tool: &'static str,
    pub style: Style,
    /// Those of the tool itself.
    pub flags: Vec<Flag>,
    /// Sub-commands with theirs.
    pub commands: Vec<(&'static str, Vec<Flag>)>,
}

impl Grammar {
    /// The grammar of a tool that the table has.
    pub fn of(tool: &str) -> Option<Grammar> {
        let mut grammar: Option<Grammar> = None;
        for row in rows().filter(|row| row.tool == tool) {
            let style = if row.flags == "--help, -h" { Style::Commands } else { Style::Options };
            let grammar = grammar.get_or_insert_with(|| Grammar {
                tool: row.tool,
                style,
                flags: Vec::new(),
                commands: Vec::new(),
            });
            match row.command {
                "" => grammar.flags.push(row.flag()),
                command => match grammar.commands.iter_mut().find(|(name, _)| *name == command) {
                    Some((_, flags)) => flags.push(row.flag()),
                    None => grammar.commands.push((command, vec![row.flag()])),
                },
            }
        }
        grammar
    }

    /// What it calls itself where it tells how it is used.
    pub fn program(&self) -> &'static str {
        match self.tool {
            "kafka-verifiable-producer" => "verifiable-producer",
            "kafka-verifiable-consumer" => "verifiable-consumer",
            tool => tool,
        }
    }

    /// Whether a line without anything is answered with help, and no misuse.
    pub fn helps_by_itself(&self) -> bool {
        ["kafka-producer-perf-test", "kafka-verifiable-producer", "kafka-verifiable-consumer"]
            .contains(&self.tool)
    }

    pub fn command(&self, name: &str) -> Option<&(&'static str, Vec<Flag>)> {
        self.commands.iter().find(|(command, _)| *command == name)
    }
}

/// Tools that the table has, each once, in its order.
pub fn tools() -> Vec<&'static str> {
    let mut tools: Vec<&str> = rows().map(|row| row.tool).collect();
    tools.dedup();
    tools
}

struct Row {
    tool: &'static str,
    command: &'static str,
    flags: &'static str,
    argument: &'static str,
    takes: &'static str,
    value: &'static str,
    required: &'static str,
    default: &'static str,
    deprecated: &'static str,
    help: &'static str,
}

impl Row {
    fn flag(&self) -> Flag {
        Flag {
            names: self.flags.split(", ").collect(),
            argument: self.argument,
            takes: match self.takes {
                "one" => Takes::One,
                "perhaps" => Takes::Perhaps,
                "each" => Takes::OneEachTime,
                "some" => Takes::Several { at_least: 1 },
                "any" => Takes::Several { at_least: 0 },
                _ => Takes::Nothing,
            },
            value: Value::parse(self.value),
            required: self.required,
            default: (!self.default.is_empty()).then_some(self.default),
            is_deprecated: self.deprecated == "yes",
            help: self.help,
        }
    }
}

fn rows() -> impl Iterator<Item = Row> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines.map(|line| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().unwrap_or_default();
        Row {
            tool: next(),
            command: next(),
            flags: next(),
            argument: next(),
            takes: next(),
            value: next(),
            required: next(),
            default: next(),
            deprecated: next(),
            help: next(),
        }
    })
}
