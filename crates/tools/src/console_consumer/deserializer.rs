//! Bytes as the deserializers that come with Kafka read them, and as Java prints what they give.

use crate::java;

const PACKAGE: &str = "org.apache.kafka.common.serialization.";

/// One of Kafka's own; others would need a JVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deserializer {
    Boolean,
    ByteArray,
    ByteBuffer,
    Bytes,
    Double,
    Float,
    Integer,
    Long,
    Short,
    Text,
    Uuid,
}

impl Deserializer {
    /// By the name of its class.
    pub(crate) fn of_class(name: &str) -> Result<Deserializer, String> {
        Ok(match name.strip_prefix(PACKAGE).and_then(|name| name.strip_suffix("Deserializer")) {
            Some("Boolean") => Deserializer::Boolean,
            Some("ByteArray") => Deserializer::ByteArray,
            Some("ByteBuffer") => Deserializer::ByteBuffer,
            Some("Bytes") => Deserializer::Bytes,
            Some("Double") => Deserializer::Double,
            Some("Float") => Deserializer::Float,
            Some("Integer") => Deserializer::Integer,
            Some("Long") => Deserializer::Long,
            Some("Short") => Deserializer::Short,
            Some("String") => Deserializer::Text,
            Some("UUID") => Deserializer::Uuid,
            _ => {
                return Err(format!(
                    "Unable to instantiate a deserializer from {name}: there are those of {PACKAGE}*, for String, Integer, Long, \
                     Short, Double, Float, Boolean, UUID, Bytes, ByteArray and ByteBuffer; others would need a JVM"
                ));
            }
        })
    }

    /// Strings of bytes stay what they are.
    pub(crate) fn read(self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let text = match self {
            Deserializer::ByteArray => return Ok(bytes.to_vec()),
            Deserializer::Text => String::from_utf8_lossy(bytes).into_owned(),
            Deserializer::Bytes => printable(bytes),
            Deserializer::ByteBuffer => {
                let length = bytes.len();
                format!("java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]")
            }
            Deserializer::Boolean => match bytes {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                [other] => return Err(format!("Unexpected byte received by BooleanDeserializer: {other}")),
                _ => return Err(wrong_size("BooleanDeserializer", 1)),
            },
            Deserializer::Short => i16::from_be_bytes(exactly("ShortDeserializer", bytes)?).to_string(),
            Deserializer::Integer => i32::from_be_bytes(exactly("IntegerDeserializer", bytes)?).to_string(),
            Deserializer::Long => i64::from_be_bytes(exactly("LongDeserializer", bytes)?).to_string(),
            Deserializer::Float => java::float(f32::from_be_bytes(exactly("FloatDeserializer", bytes)?)),
            Deserializer::Double => java::double(f64::from_be_bytes(exactly("DoubleDeserializer", bytes)?)),
            Deserializer::Uuid => return uuid(bytes).map(String::into_bytes),
        };
        Ok(text.into_bytes())
    }
}

fn exactly<const N: usize>(who: &str, bytes: &[u8]) -> Result<[u8; N], String> {
    bytes.try_into().map_err(|_| wrong_size(who, N))
}

fn wrong_size(who: &str, size: usize) -> String {
    format!("Size of data received by {who} is not {size}")
}

/// Written with dashes; digits that are missing in front of a part are zeros.
fn uuid(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let invalid = || format!("Error parsing data into UUID: {text}");
    let parts: Option<Vec<u64>> = text.split('-').map(|part| u64::from_str_radix(part, 16).ok()).collect();
    match parts.ok_or_else(invalid)?[..] {
        [a, b, c, d, e] => Ok(format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")),
        _ => Err(invalid()),
    }
}

/// What isn't printable, in hexadecimal digits.
fn printable(bytes: &[u8]) -> String {
    let shown = bytes.iter().map(|byte| match byte {
        b'\\' | 0..=0x1f | 0x7f.. => format!("\\x{byte:02X}"),
        _ => char::from(*byte).to_string(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, bytes: &[u8]) -> String {
        let deserializer = Deserializer::of_class(&format!("{PACKAGE}{name}Deserializer")).unwrap();
        match deserializer.read(bytes) {
            Ok(text) => String::from_utf8(text).unwrap(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn values_are_shown_as_java_shows_them() {
        for (name, bytes, expected) in [
            ("String", &b"a"[..], "a"),
            ("ByteArray", b"a", "a"),
            ("Bytes", b"a\\\x00\xff", "a\\x5C\\x00\\xFF"),
            ("ByteBuffer", b"ab", "java.nio.HeapByteBuffer[pos=0 lim=2 cap=2]"),
            ("Boolean", &[1], "true"),
            ("Short", &[0xff, 0xfe], "-2"),
            ("Integer", &[0, 0, 1, 0], "256"),
            ("Long", &[0, 0, 0, 0, 0, 0, 0, 7], "7"),
            ("Float", &1.5f32.to_be_bytes(), "1.5"),
            ("Double", &1e10f64.to_be_bytes(), "1.0E10"),
            ("UUID", b"0f5a0b3e-6c1d-4d1b-8a11-0a0b0c0d0e0f", "0f5a0b3e-6c1d-4d1b-8a11-0a0b0c0d0e0f"),
        ] {
            assert_eq!(read(name, bytes), expected, "{name}");
        }
    }

    #[test]
    fn what_is_none_is_said() {
        assert_eq!(read("Integer", b"abc"), "error: Size of data received by IntegerDeserializer is not 4");
        assert_eq!(read("Boolean", &[2]), "error: Unexpected byte received by BooleanDeserializer: 2");
        assert!(read("UUID", b"x").starts_with("error: "));
        assert!(Deserializer::of_class("com.example.Mine").unwrap_err().contains("com.example.Mine"));
    }
}
