//! Random messages as bytes, made straight from the schema table: nothing of the code under test is used, so it can't
//! agree with itself by mistake.
//!
//! They are as Kafka would write them: shortest varints, tagged fields in order and only if not at their defaults.

use crate::schema::{Field, Kind, Message};

/// SplitMix64: a seed gives the same message everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// Some that mean something to a node, and some that nobody would write.
const WORDS: &[&str] = &[
    "Größe-of.a_topic ",
    "t",
    "group",
    "range",
    "consumer",
    "retention.ms",
    "cleanup.policy",
    "compact",
    "1000",
    "metadata.version",
    "__consumer_offsets",
];

/// Bytes of a message at a version.
pub fn message(schema: &Message, version: i16, random: &mut Random) -> Vec<u8> {
    let mut writer = Writer {
        out: Vec::new(),
        version,
        flexible: schema.flexible.is_some_and(|f| f.contains(version)),
        random: Some(random),
        depth: 0,
    };
    writer.fields(&schema.fields);
    writer.out
}

struct Writer<'a> {
    out: Vec<u8>,
    version: i16,
    flexible: bool,
    /// `None`: everything at its default.
    random: Option<&'a mut Random>,
    depth: u32,
}

impl Writer<'_> {
    fn fields(&mut self, fields: &[Field]) {
        let version = self.version;
        let present = |f: &&Field| f.versions.contains(version);
        for field in fields.iter().filter(present).filter(|f| f.tag.is_none()) {
            self.field(field);
        }
        if !self.flexible {
            return;
        }
        let mut tagged: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut known: Vec<&Field> = fields.iter().filter(present).filter(|f| f.tag.is_some()).collect();
        known.sort_by_key(|f| f.tag);
        for field in known {
            let default = self.apart(None, |w| w.field(field));
            let value = match self.random.take() {
                Some(random) => {
                    let value = self.apart(Some(random), |w| w.field(field));
                    self.random = Some(random);
                    value
                }
                None => default.clone(),
            };
            if value != default {
                tagged.push((field.tag.unwrap(), value));
            }
        }
        if self.one_in(10) {
            tagged.push((10_000, b"unknown".to_vec()));
        }
        self.uvarint(tagged.len() as u32);
        for (tag, value) in tagged {
            self.uvarint(tag);
            self.uvarint(value.len() as u32);
            self.out.extend(value);
        }
    }

    fn apart(&self, random: Option<&mut Random>, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut writer = Writer {
            out: Vec::new(),
            version: self.version,
            flexible: self.flexible,
            random,
            depth: self.depth,
        };
        write(&mut writer);
        writer.out
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.random.as_mut().is_some_and(|random| random.one_in(chances))
    }

    fn uvarint(&mut self, mut value: u32) {
        while value > 127 {
            self.out.push(value as u8 | 128);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn field(&mut self, field: &Field) {
        let can_be_null = field.nullable.is_some_and(|n| n.contains(self.version));
        let is_null = match self.random {
            Some(_) => can_be_null && self.one_in(4),
            // The default of records is null, whatever the table says.
            None => field.default == "null" || can_be_null && field.kind == Kind::Records,
        };
        if field.is_array {
            self.array(field, is_null);
        } else if field.kind == Kind::Struct {
            if field.nullable.is_some() {
                match (field.tag, is_null) {
                    (Some(_), is_null) => self.out.push(u8::from(!is_null)),
                    (None, true) => self.out.push(0xff),
                    (None, false) => self.out.push(1),
                }
            }
            if !is_null {
                self.fields(&field.fields);
            }
        } else {
            self.scalar(field, is_null);
        }
    }

    fn array(&mut self, field: &Field, is_null: bool) {
        let is_long = self.depth == 0 && field.kind != Kind::Struct && self.one_in(8);
        let count = match &mut self.random {
            _ if is_null => -1,
            _ if is_long => 130,
            Some(random) => random.below(if self.depth < 2 { 4 } else { 2 }) as i32,
            None => 0,
        };
        if self.flexible {
            self.uvarint((count + 1) as u32)
        } else {
            self.out.extend(count.to_be_bytes())
        }
        self.depth += 1;
        for _ in 0..count {
            if field.kind == Kind::Struct { self.fields(&field.fields) } else { self.scalar(field, false) }
        }
        self.depth -= 1;
    }

    fn scalar(&mut self, field: &Field, is_null: bool) {
        let default = || {
            let text = field.default.as_str();
            if let Some(hex) = text.strip_prefix("0x") {
                i64::from_str_radix(hex, 16).unwrap()
            } else if text.is_empty() {
                0
            } else {
                text.parse::<i64>().unwrap_or(0)
            }
        };
        let is_wide = self.one_in(2);
        let number = match &mut self.random {
            Some(random) if is_wide => random.next() as i64,
            Some(random) => random.below(3) as i64 - 1,
            None => default(),
        };
        match field.kind {
            Kind::Bool => match self.random {
                Some(_) => self.out.push((number & 1) as u8),
                None => self.out.push((field.default == "true").into()),
            },
            Kind::Int8 => self.out.extend((number as i8).to_be_bytes()),
            Kind::Int16 | Kind::Uint16 => self.out.extend((number as i16).to_be_bytes()),
            Kind::Int32 | Kind::Uint32 => self.out.extend((number as i32).to_be_bytes()),
            Kind::Int64 => self.out.extend(number.to_be_bytes()),
            Kind::Float64 => self.out.extend((number as f64 / 8.0).to_be_bytes()),
            Kind::Uuid => {
                let filler = number as u8;
                self.out.extend(if self.random.is_some() { [filler; 16] } else { [0; 16] });
            }
            Kind::String => {
                let text = match &mut self.random {
                    Some(random) => {
                        let word = WORDS[random.below(WORDS.len() as u64) as usize];
                        word.repeat([0, 0, 1, 1, 1, 20][random.below(6) as usize])
                    }
                    None => String::new(),
                };
                let length = if is_null { -1 } else { text.len() as i16 };
                if self.flexible {
                    self.uvarint((length + 1) as u32);
                } else {
                    self.out.extend(length.to_be_bytes());
                }
                if !is_null {
                    self.out.extend(text.as_bytes());
                }
            }
            Kind::Bytes | Kind::Records => {
                let bytes = match &mut self.random {
                    Some(random) => vec![random.next() as u8; [0, 1, 7, 200][random.below(4) as usize]],
                    None => Vec::new(),
                };
                let length = if is_null { -1 } else { bytes.len() as i32 };
                if self.flexible {
                    self.uvarint((length + 1) as u32);
                } else {
                    self.out.extend(length.to_be_bytes());
                }
                if !is_null {
                    self.out.extend(bytes);
                }
            }
            Kind::Struct => unreachable!("not scalar"),
        }
    }
}
