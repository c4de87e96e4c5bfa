//! Reads the tables under `schema/` into messages with nested fields. Tests read them through the same file.

/// Versions from `low` to `high`, both included; an open end is `i16::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub low: i16,
    pub high: i16,
}

impl Versions {
    /// "3-7", "2+", "5"; `None` for "none", "-" and "".
    pub fn parse(text: &str) -> Option<Versions> {
        let number = |text: &str| text.parse::<i16>().unwrap_or_else(|_| panic!("bad version '{text}'"));
        match text {
            "" | "none" | "-" => None,
            _ => Some(if let Some(low) = text.strip_suffix('+') {
                Versions { low: number(low), high: i16::MAX }
            } else if let Some((low, high)) = text.split_once('-') {
                Versions { low: number(low), high: number(high) }
            } else {
                Versions { low: number(text), high: number(text) }
            }),
        }
    }

    pub fn contains(self, version: i16) -> bool {
        self.low <= version && version <= self.high
    }

    pub fn intersect(self, other: Versions) -> Option<Versions> {
        let both = Versions { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct,
}

impl Kind {
    fn parse(text: &str) -> Kind {
        match text {
            "bool" => Kind::Bool,
            "int8" => Kind::Int8,
            "int16" => Kind::Int16,
            "uint16" => Kind::Uint16,
            "int32" => Kind::Int32,
            "uint32" => Kind::Uint32,
            "int64" => Kind::Int64,
            "float64" => Kind::Float64,
            "uuid" => Kind::Uuid,
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            "records" => Kind::Records,
            "struct" => Kind::Struct,
            _ => panic!("unknown type '{text}'"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Field {
    /// Kafka's name, without the `[]` of an array.
    pub name: String,
    /// The whole path as the table has it, for error messages.
    pub path: String,
    pub kind: Kind,
    pub is_array: bool,
    /// Within the message's valid versions.
    pub versions: Versions,
    /// Within `versions`.
    pub nullable: Option<Versions>,
    /// As the table has it: empty for the type's own default.
    pub default: String,
    pub tag: Option<u32>,
    pub ignorable: bool,
    /// Of a struct, or of an array of structs.
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub name: String,
    pub valid: Versions,
    /// Versions with compact types and tagged fields.
    pub flexible: Option<Versions>,
    pub fields: Vec<Field>,
    /// The table's columns before `valid_versions`, without the message's name.
    pub facts: Vec<String>,
}

/// The rows of a table, by column name. Lines that start with `#` are comments, the first other line names the columns.
pub fn rows(table: &str) -> Vec<Row> {
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    let columns: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .map(|line| Row {
            cells: columns.iter().map(|&c| c.to_owned()).zip(line.split('\t').map(str::to_owned)).collect(),
        })
        .collect()
}

pub struct Row {
    cells: Vec<(String, String)>,
}

impl Row {
    pub fn get(&self, column: &str) -> &str {
        match self.cells.iter().find(|(name, _)| name == column) {
            Some((_, value)) => value,
            None => panic!("no column '{column}'"),
        }
    }
}

/// Messages of a table in its order. `name` is the column with the message's name, `facts` are columns that say more
/// about the whole message.
pub fn messages(table: &str, name: &str, facts: &[&str]) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for row in rows(table) {
        if messages.last().is_none_or(|last| last.name != row.get(name)) {
            let Some(valid) = Versions::parse(row.get("valid_versions")) else { continue };
            messages.push(Message {
                name: row.get(name).to_owned(),
                valid,
                flexible: Versions::parse(row.get("flexible_versions")).and_then(|v| v.intersect(valid)),
                fields: Vec::new(),
                facts: facts.iter().map(|column| row.get(column).to_owned()).collect(),
            });
        }
        let Some(message) = messages.last_mut() else { continue };
        let path = row.get("field");
        if path.is_empty() {
            continue; // a message without fields
        }
        let Some(versions) = Versions::parse(row.get("versions")).and_then(|v| v.intersect(message.valid))
        else {
            continue; // a field of versions that are no longer valid
        };
        let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
        let kind = row.get("type");
        let field = Field {
            name: last.trim_end_matches("[]").to_owned(),
            path: path.to_owned(),
            kind: Kind::parse(kind.trim_start_matches("[]")),
            is_array: kind.starts_with("[]"),
            versions,
            nullable: Versions::parse(row.get("nullable_versions")).and_then(|v| v.intersect(versions)),
            default: row.get("default").to_owned(),
            tag: row.get("tag").parse().ok(),
            ignorable: row.get("ignorable") == "true",
            fields: Vec::new(),
        };
        insert(&mut message.fields, parent, field);
    }
    messages
}

fn insert(fields: &mut Vec<Field>, parent: &str, mut field: Field) {
    if parent.is_empty() {
        fields.push(field);
        return;
    }
    let (head, rest) = parent.split_once('.').unwrap_or((parent, ""));
    // A parent that no valid version has takes its fields with it.
    if let Some(outer) = fields.iter_mut().find(|f| f.name == head.trim_end_matches("[]")) {
        let Some(versions) = field.versions.intersect(outer.versions) else { return };
        field.versions = versions;
        field.nullable = field.nullable.and_then(|n| n.intersect(versions));
        insert(&mut outer.fields, rest, field);
    }
}
