//! Rust for one message: its structs, their defaults, and how they are read and written.
//!
//! A field becomes one call into `Decoder` and one into `Encoder`, where everything general lives: so the code that is
//! generated stays small enough to compile fast.

use std::fmt::Write as _;

use crate::names::{self, StructNames};
use crate::schema::{Field, Kind, Message, Versions};

/// The module of one message; `with_json`: with its form in JSON.
pub fn module(message: &Message, with_json: bool) -> String {
    let names = StructNames::new(message);
    let mut out = String::new();
    let module = names::snake(&message.name);
    let _ = writeln!(out, "/// `{}`, versions {}.\npub mod {module} {{", message.name, range(message.valid));
    out += "    use crate::generated::prelude::*;\n\n";
    let generator = Generator { message, names: &names, with_json };
    generator.structure(&message.name, None, &message.fields, message.valid, &mut out);
    let since = message.flexible.map_or("None".to_owned(), |f| format!("Some({})", f.low));
    let _ = writeln!(
        out,
        "impl crate::Message for {name} {{\n    const NAME: &'static str = \"{name}\";\n    \
         const VERSIONS: VersionRange = VersionRange::new({}, {});\n    \
         const FLEXIBLE_SINCE: Option<i16> = {since};\n}}",
        message.valid.low,
        message.valid.high,
        name = message.name
    );
    out += "}\n";
    out
}

struct Generator<'a> {
    message: &'a Message,
    names: &'a StructNames,
    with_json: bool,
}

impl Generator<'_> {
    fn structure(
        &self,
        name: &str,
        holder: Option<&Field>,
        fields: &[Field],
        versions: Versions,
        out: &mut String,
    ) {
        let plain_default = fields.iter().all(is_plain_default);
        let _ = match holder {
            None => writeln!(out, "/// The whole message."),
            Some(field) => writeln!(out, "/// `{}`.", field.path),
        };
        let derived = if plain_default { ", Default" } else { "" };
        let _ = writeln!(out, "#[derive(Clone, Debug, PartialEq{derived})]\npub struct {name} {{");
        for field in fields {
            if let Some(doc) = self.doc(field, versions) {
                let _ = writeln!(out, "    /// {doc}");
            }
            let _ = writeln!(out, "    pub {}: {},", names::field(&field.name), self.rust_type(field));
        }
        if self.has_tags(versions) {
            out.push_str("    /// Tagged fields that this schema doesn't have.\n");
            out.push_str("    pub unknown_tagged_fields: TaggedFields,\n");
        }
        out.push_str("}\n\n");
        if !plain_default {
            self.default(name, fields, versions, out);
        }
        self.element(name, fields, versions, out);
        if self.with_json {
            self.json(name, fields, versions, out);
        }
        for field in fields.iter().filter(|f| f.kind == Kind::Struct) {
            self.structure(self.names.of(field), Some(field), &field.fields, field.versions, out);
        }
    }

    fn has_tags(&self, versions: Versions) -> bool {
        self.message.flexible.is_some_and(|f| f.intersect(versions).is_some())
    }

    fn doc(&self, field: &Field, holder: Versions) -> Option<String> {
        let mut parts = Vec::new();
        if field.versions != holder {
            parts.push(format!("versions {}", self.open_range(field.versions)));
        }
        if let Some(nullable) = field.nullable.filter(|&n| n != field.versions) {
            parts.push(format!("null in versions {}", self.open_range(nullable)));
        }
        if field.ignorable {
            parts.push("left out of versions that don't have it".to_owned());
        }
        let text = parts.join("; ");
        let (first, rest) = text.split_at_checked(1)?;
        Some(format!("{}{rest}.", first.to_uppercase()))
    }

    fn open_range(&self, versions: Versions) -> String {
        if versions.high == self.message.valid.high && versions.low != versions.high {
            format!("{}+", versions.low)
        } else {
            range(versions)
        }
    }

    fn element_type(&self, field: &Field) -> String {
        match field.kind {
            Kind::Bool => "bool",
            Kind::Int8 => "i8",
            Kind::Int16 => "i16",
            Kind::Uint16 => "u16",
            Kind::Int32 => "i32",
            Kind::Uint32 => "u32",
            Kind::Int64 => "i64",
            Kind::Float64 => "f64",
            Kind::Uuid => "Uuid",
            Kind::String => "String",
            Kind::Bytes => "Bytes",
            Kind::Records => "Records",
            Kind::Struct => self.names.of(field),
        }
        .to_owned()
    }

    fn in_request(&self) -> bool {
        self.message.name.ends_with("Request")
    }

    fn rust_type(&self, field: &Field) -> String {
        let element = self.element_type(field);
        match field.kind {
            Kind::Records if self.in_request() => "Option<Bytes>".to_owned(),
            Kind::Records => element,
            _ => {
                let value = if field.is_array { format!("Vec<{element}>") } else { element };
                if field.nullable.is_some() { format!("Option<{value}>") } else { value }
            }
        }
    }

    fn default(&self, name: &str, fields: &[Field], versions: Versions, out: &mut String) {
        let _ = writeln!(out, "impl Default for {name} {{\n    fn default() -> {name} {{\n        {name} {{");
        for field in fields {
            let _ =
                writeln!(out, "            {}: {},", names::field(&field.name), self.default_value(field));
        }
        if self.has_tags(versions) {
            out.push_str("            unknown_tagged_fields: Default::default(),\n");
        }
        out.push_str("        }\n    }\n}\n\n");
    }

    fn default_value(&self, field: &Field) -> String {
        if field.kind == Kind::Records {
            return match (self.in_request(), field.nullable) {
                (true, _) => "None",
                (false, Some(_)) => "Records::Null",
                (false, None) => "Records::EMPTY",
            }
            .to_owned();
        }
        if field.default == "null" {
            return "None".to_owned();
        }
        let value = if field.is_array {
            "Vec::new()".to_owned()
        } else {
            match field.kind {
                Kind::Bool => if field.default == "true" { "true" } else { "false" }.to_owned(),
                Kind::Float64 => "0.0".to_owned(),
                Kind::Uuid => "Uuid::ZERO".to_owned(),
                Kind::String => "String::new()".to_owned(),
                Kind::Bytes => "Bytes::new()".to_owned(),
                Kind::Records => unreachable!("done above"),
                Kind::Struct => format!("{}::default()", self.names.of(field)),
                _ if field.default.is_empty() => "0".to_owned(),
                _ => field.default.clone(),
            }
        };
        if field.nullable.is_some() { format!("Some({value})") } else { value }
    }

    /// A condition that holds when a field has its default value.
    fn is_default(&self, field: &Field) -> String {
        let name = format!("self.{}", names::field(&field.name));
        if field.kind == Kind::Records {
            return match (self.in_request(), field.nullable) {
                (true, _) => format!("{name}.is_none()"),
                (false, Some(_)) => format!("{name}.is_null()"),
                (false, None) => format!("{name}.is_empty()"),
            };
        }
        let is_long = field.is_array || matches!(field.kind, Kind::String | Kind::Bytes);
        match (field.nullable.is_some(), field.default == "null") {
            (true, true) => format!("{name}.is_none()"),
            (true, false) if is_long => format!("{name}.as_ref().is_some_and(|v| v.is_empty())"),
            (false, _) if is_long => format!("{name}.is_empty()"),
            _ if field.kind == Kind::Bool && field.default == "true" => name,
            _ if field.kind == Kind::Bool => format!("!{name}"),
            _ => format!("{name} == {}", self.default_value(field)),
        }
    }

    fn element(&self, name: &str, fields: &[Field], versions: Versions, out: &mut String) {
        let _ = writeln!(
            out,
            "impl Element for {name} {{\n    const WIRE_LEN_MIN: usize = {};\n",
            self.wire_len_min(fields, versions)
        );
        let params = "version: i16, flexible: bool, _: &'static str";
        let _ = writeln!(out, "    fn read(d: &mut Decoder, {params}) -> Decoded<Self> {{");
        self.read_body(name, fields, versions, out);
        out.push_str("    }\n\n");
        let _ = writeln!(out, "    fn write(&self, e: &mut Encoder, {params}) -> Encoded {{");
        self.write_body(fields, versions, out);
        out.push_str("    }\n}\n\n");
    }

    fn json(&self, name: &str, fields: &[Field], versions: Versions, out: &mut String) {
        let _ = writeln!(
            out,
            "impl ToJson for {name} {{\n    fn to_json(&self, version: i16) -> Json {{\n        \
             let mut members = Vec::with_capacity({});",
            fields.len()
        );
        for field in fields {
            let there = condition("version", field.versions, versions);
            let says_something = field.tag.is_some().then(|| format!("!({})", self.is_default(field)));
            let conditions: Vec<String> = there.into_iter().chain(says_something).collect();
            let push = format!(
                "members.push((\"{}\", self.{}.to_json(version)));",
                names::camel_lower(&field.name),
                names::field(&field.name)
            );
            let _ = match conditions.is_empty() {
                true => writeln!(out, "        {push}"),
                false => writeln!(out, "        if {} {{ {push} }}", conditions.join(" && ")),
            };
        }
        out.push_str("        Json::Object(members)\n    }\n}\n\n");
    }

    /// The smallest size that a struct has in any version.
    fn wire_len_min(&self, fields: &[Field], versions: Versions) -> usize {
        let size = |version: i16| -> usize {
            let flexible = self.message.flexible.is_some_and(|f| f.contains(version));
            let body = fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version));
            body.map(|f| self.field_len_min(f, version, flexible)).sum::<usize>() + usize::from(flexible)
        };
        (versions.low..=versions.high).map(size).min().unwrap_or_default()
    }

    fn field_len_min(&self, field: &Field, version: i16, flexible: bool) -> usize {
        let length = |long: usize| if flexible { 1 } else { long };
        if field.is_array {
            return length(4);
        }
        match field.kind {
            Kind::Bool | Kind::Int8 => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Int32 | Kind::Uint32 => 4,
            Kind::Int64 | Kind::Float64 => 8,
            Kind::Uuid => 16,
            Kind::String => length(2),
            Kind::Bytes | Kind::Records => length(4),
            Kind::Struct if field.nullable.is_some_and(|n| n.contains(version)) => 1,
            Kind::Struct => self.wire_len_min(&field.fields, Versions { low: version, high: version }),
        }
    }

    /// The versions with null, where not all versions of the field have it.
    fn nullable_limit(&self, field: &Field) -> Option<Versions> {
        field.nullable.filter(|&n| n != field.versions)
    }

    fn path(&self, field: &Field) -> String {
        format!("\"{}.{}\"", self.message.name, field.path)
    }

    fn read_body(&self, name: &str, fields: &[Field], versions: Versions, out: &mut String) {
        let tagged: Vec<&Field> = fields.iter().filter(|f| f.tag.is_some()).collect();
        let (open, close) = if tagged.is_empty() { ("Ok(", ")") } else { ("let mut value = ", ";") };
        let _ = writeln!(out, "        {open}{name} {{");
        for field in fields {
            let value = if field.tag.is_some() {
                self.default_value(field)
            } else {
                match condition("version", field.versions, versions) {
                    Some(condition) => {
                        let read = self.read_value(field);
                        format!("if {condition} {{ {read} }} else {{ {} }}", self.default_value(field))
                    }
                    None => self.read_value(field),
                }
            };
            let _ = writeln!(out, "            {}: {value},", names::field(&field.name));
        }
        if self.has_tags(versions) {
            let read = if tagged.is_empty() {
                format!("d.unknown_tags(flexible, \"{}\")?", self.message.name)
            } else {
                "TaggedFields::default()".to_owned()
            };
            let _ = writeln!(out, "            unknown_tagged_fields: {read},");
        }
        let _ = writeln!(out, "        }}{close}");
        if !tagged.is_empty() {
            self.read_tagged(&tagged, versions, out);
            out.push_str("        Ok(value)\n");
        }
    }

    fn read_tagged(&self, tagged: &[&Field], versions: Versions, out: &mut String) {
        let message = &self.message.name;
        let _ = writeln!(
            out,
            "        if flexible {{\n            for _ in 0..d.tag_count(\"{message}\")? {{\n                \
             let tag = d.tag(\"{message}\")?;\n                match tag.tag {{"
        );
        for field in tagged {
            let Some(tag) = field.tag else { continue };
            let guard =
                condition("version", field.versions, versions).map_or(String::new(), |c| format!(" if {c}"));
            let _ = writeln!(
                out,
                "                    {tag}{guard} => value.{} = {},",
                names::field(&field.name),
                self.read_value(field)
            );
        }
        let _ = writeln!(
            out,
            "                    _ => {{\n                        \
             d.unknown_tag(&tag, &mut value.unknown_tagged_fields, \"{message}\")?;\n                        \
             continue;\n                    }}\n                }}\n                \
             d.end_tag(&tag, \"{message}\")?;\n            }}\n        }}"
        );
    }

    fn read_value(&self, field: &Field) -> String {
        let path = self.path(field);
        if field.kind == Kind::Records {
            let allowed = match (field.nullable, self.nullable_limit(field)) {
                (None, _) => "false".to_owned(),
                (Some(_), None) => "true".to_owned(),
                (Some(_), Some(limit)) => {
                    condition("version", limit, field.versions).unwrap_or_else(|| "true".to_owned())
                }
            };
            if !self.in_request() {
                return format!("Records::read(d, flexible, {allowed}, {path})?");
            }
        }
        let nullable = if field.nullable.is_some() { "nullable_" } else { "" };
        let call = if field.is_array {
            format!("d.{nullable}array(version, flexible, {path})?")
        } else {
            match field.kind {
                Kind::String => format!("d.{nullable}string(flexible, {path})?"),
                Kind::Bytes | Kind::Records => format!("d.{nullable}bytes(flexible, {path})?"),
                Kind::Struct if field.nullable.is_some() && field.tag.is_some() => {
                    format!("d.tagged_nullable_struct(version, {path})?")
                }
                Kind::Struct if field.nullable.is_some() => {
                    format!("d.nullable_struct(version, flexible, {path})?")
                }
                Kind::Struct => format!("{}::read(d, version, flexible, {path})?", self.names.of(field)),
                kind => format!("d.{}({path})?", fixed(kind)),
            }
        };
        match self.nullable_limit(field).and_then(|limit| condition("version", limit, field.versions)) {
            Some(allowed) => {
                format!("{{ let value = {call}; d.null_if({allowed}, value, {path})? }}")
            }
            None => call,
        }
    }

    fn write_body(&self, fields: &[Field], versions: Versions, out: &mut String) {
        for field in fields.iter().filter(|f| f.tag.is_none()) {
            let write = self.write_value(field);
            let path = self.path(field);
            match condition("version", field.versions, versions) {
                None => {
                    let _ = writeln!(out, "        {write};");
                }
                Some(condition) if field.ignorable => {
                    let _ = writeln!(out, "        if {condition} {{ {write}; }}");
                }
                Some(condition) => {
                    let is_default = self.is_default(field);
                    let _ = writeln!(
                        out,
                        "        if {condition} {{ {write}; }} else {{ Encoder::absent({is_default}, version, {path})?; }}"
                    );
                }
            }
        }
        if self.has_tags(versions) {
            self.write_tagged(fields, versions, out);
        }
        out.push_str("        Ok(())\n");
    }

    fn write_tagged(&self, fields: &[Field], versions: Versions, out: &mut String) {
        let mut tagged: Vec<&Field> = fields.iter().filter(|f| f.tag.is_some()).collect();
        tagged.sort_by_key(|f| f.tag);
        for field in &tagged {
            let tag = field.tag.unwrap_or_default();
            let is_default = self.is_default(field);
            let present = condition("version", field.versions, versions);
            let there = present.as_ref().map_or("flexible".to_owned(), |p| format!("flexible && {p}"));
            let _ = writeln!(out, "        let tag_{tag} = {there} && !({is_default});");
            if !field.ignorable {
                let path = self.path(field);
                let there = if present.is_some() { format!("({there})") } else { there };
                let _ = writeln!(
                    out,
                    "        if !{there} {{ Encoder::absent({is_default}, version, {path})?; }}"
                );
            }
        }
        out.push_str("        if flexible {\n            e.uvarint(self.unknown_tagged_fields.len() as u32");
        for field in &tagged {
            let _ = write!(out, " + u32::from(tag_{})", field.tag.unwrap_or_default());
        }
        out.push_str(");\n");
        for field in &tagged {
            let tag = field.tag.unwrap_or_default();
            let write = self.write_value(field);
            let _ = writeln!(out, "            if tag_{tag} {{ e.tag({tag}, |e| {{ {write}; Ok(()) }})?; }}");
        }
        out.push_str("            e.unknown_tags(&self.unknown_tagged_fields);\n        }");
        let _ = writeln!(
            out,
            " else {{ Encoder::absent(self.unknown_tagged_fields.is_empty(), version, \"{}\")?; }}",
            self.message.name
        );
    }

    fn write_value(&self, field: &Field) -> String {
        let path = self.path(field);
        let name = format!("self.{}", names::field(&field.name));
        let nullable = if field.nullable.is_some() { "nullable_" } else { "" };
        let call = if field.is_array {
            let value =
                if field.nullable.is_some() { format!("{name}.as_deref()") } else { format!("&{name}") };
            format!("e.{nullable}array(version, flexible, {value}, {path})?")
        } else {
            match field.kind {
                Kind::String if field.nullable.is_some() => {
                    format!("e.nullable_string(flexible, {name}.as_deref(), {path})?")
                }
                Kind::String => format!("e.string(flexible, &{name}, {path})?"),
                Kind::Records if !self.in_request() => format!("e.records(flexible, &{name}, {path})?"),
                Kind::Records => format!("e.request_records(flexible, {name}.as_ref(), {path})?"),
                Kind::Bytes if field.nullable.is_some() => {
                    format!("e.nullable_bytes(flexible, {name}.as_deref(), {path})?")
                }
                Kind::Bytes => format!("e.bytes(flexible, &{name}, {path})?"),
                Kind::Struct if field.nullable.is_some() && field.tag.is_some() => {
                    format!("e.tagged_nullable_struct(version, {name}.as_ref(), {path})?")
                }
                Kind::Struct if field.nullable.is_some() => {
                    format!("e.nullable_struct(version, flexible, {name}.as_ref(), {path})?")
                }
                Kind::Struct => format!("{name}.write(e, version, flexible, {path})?"),
                kind => format!("e.{}({name})", fixed(kind)),
            }
        };
        let is_null = if field.kind == Kind::Records && !self.in_request() { "is_null" } else { "is_none" };
        let allowed = match self.nullable_limit(field) {
            Some(limit) => condition("version", limit, field.versions),
            None if field.kind == Kind::Records && field.nullable.is_none() => Some("false".to_owned()),
            None => None,
        };
        match allowed {
            Some(allowed) => {
                format!("Encoder::null_if({allowed}, {name}.{is_null}(), version, {path})?; {call}")
            }
            None => call,
        }
    }
}

/// The codec functions of the types whose size is fixed.
fn fixed(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "bool",
        Kind::Int8 => "i8",
        Kind::Int16 => "i16",
        Kind::Uint16 => "u16",
        Kind::Int32 => "i32",
        Kind::Uint32 => "u32",
        Kind::Int64 => "i64",
        Kind::Float64 => "f64",
        Kind::Uuid => "uuid",
        Kind::String | Kind::Bytes | Kind::Records | Kind::Struct => unreachable!("sizes vary"),
    }
}

/// Does Rust's own default of the field's type equal Kafka's?
fn is_plain_default(field: &Field) -> bool {
    match (field.kind, field.nullable.is_some()) {
        (Kind::Records, nullable) => nullable,
        (_, true) => field.default == "null",
        (_, false) => matches!(field.default.as_str(), "" | "0" | "false" | "\"\""),
    }
}

/// What `variable` must meet to be one of `versions`, where it is known to be one of `known`. `None`: nothing.
fn condition(variable: &str, versions: Versions, known: Versions) -> Option<String> {
    if versions.low == versions.high && versions != known {
        return Some(format!("{variable} == {}", versions.low));
    }
    let low = (versions.low > known.low).then(|| format!("{variable} >= {}", versions.low));
    let high = (versions.high < known.high).then(|| format!("{variable} <= {}", versions.high));
    match (low, high) {
        (Some(low), Some(high)) => Some(format!("{low} && {high}")),
        (low, high) => low.or(high),
    }
}

pub fn range(versions: Versions) -> String {
    if versions.low == versions.high {
        versions.low.to_string()
    } else {
        format!("{}-{}", versions.low, versions.high)
    }
}
