//! OpenTelemetry's `MetricsData` in protobuf: the few messages and fields of it that a client's metrics need.

use super::metrics::{Point, PointValue};

const DELTA: u64 = 1;
const CUMULATIVE: u64 = 2;

/// When the points count from and when they were made, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub start_ns: u64,
    pub now_ns: u64,
}

/// Points of metrics, of one resource that has no attributes: the broker knows who sends them.
pub(crate) fn metrics_data(points: &[Point], is_delta: bool, times: Times) -> Vec<u8> {
    let mut scope_metrics = Vec::new();
    for point in points {
        message(&mut scope_metrics, 2, &metric(point, is_delta, times));
    }
    let mut resource_metrics = Vec::new();
    message(&mut resource_metrics, 1, &[]);
    message(&mut resource_metrics, 2, &scope_metrics);
    let mut data = Vec::new();
    message(&mut data, 1, &resource_metrics);
    data
}

fn metric(point: &Point, is_delta: bool, times: Times) -> Vec<u8> {
    let mut data = Vec::new();
    let kind = match point.value {
        PointValue::Gauge(value) => {
            message(&mut data, 1, &data_point(point, value, None, times.now_ns));
            5
        }
        PointValue::Sum(value) => {
            message(&mut data, 1, &data_point(point, value, Some(times.start_ns), times.now_ns));
            number(&mut data, 2, if is_delta { DELTA } else { CUMULATIVE });
            number(&mut data, 3, 1); // it only goes up
            7
        }
    };
    let mut metric = Vec::new();
    message(&mut metric, 1, point.name.as_bytes());
    message(&mut metric, kind, &data);
    metric
}

fn data_point(point: &Point, value: f64, start_ns: Option<u64>, now_ns: u64) -> Vec<u8> {
    let mut data_point = Vec::new();
    if let Some(start_ns) = start_ns {
        fixed(&mut data_point, 2, start_ns.to_le_bytes());
    }
    fixed(&mut data_point, 3, now_ns.to_le_bytes());
    fixed(&mut data_point, 4, value.to_le_bytes());
    for (key, value) in &point.attributes {
        let mut any_value = Vec::new();
        message(&mut any_value, 1, value.as_bytes());
        let mut key_value = Vec::new();
        message(&mut key_value, 1, key.as_bytes());
        message(&mut key_value, 2, &any_value);
        message(&mut data_point, 7, &key_value);
    }
    data_point
}

/// A message, or text.
fn message(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn fixed(out: &mut Vec<u8>, field: u64, bytes: [u8; 8]) {
    varint(out, field << 3 | 1);
    out.extend_from_slice(&bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A field's number, and what it holds: numbers and fixed ones as eight bytes.
    type Field = (u64, Vec<u8>);

    fn read_varint(input: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = input[0];
            *input = &input[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    fn fields(mut input: &[u8]) -> Vec<Field> {
        let mut all = Vec::new();
        while !input.is_empty() {
            let tag = read_varint(&mut input);
            let bytes = match tag & 7 {
                0 => read_varint(&mut input).to_le_bytes().to_vec(),
                1 => {
                    let (bytes, rest) = input.split_at(8);
                    input = rest;
                    bytes.to_vec()
                }
                2 => {
                    let length = usize::try_from(read_varint(&mut input)).unwrap();
                    let (bytes, rest) = input.split_at(length);
                    input = rest;
                    bytes.to_vec()
                }
                other => panic!("wire type {other}"),
            };
            all.push((tag >> 3, bytes));
        }
        all
    }

    fn only(fields: &[Field], number: u64) -> Vec<u8> {
        let found: Vec<&Field> = fields.iter().filter(|(found, _)| *found == number).collect();
        assert_eq!(found.len(), 1, "field {number}");
        found[0].1.clone()
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    /// Each metric's name, kind and value, as a reader that knows the schema sees them.
    pub(crate) fn read(data: &[u8]) -> Vec<(String, &'static str, f64)> {
        let scope = only(&fields(&only(&fields(data), 1)), 2);
        let metric = |(number, bytes): Field| {
            assert_eq!(number, 2);
            let metric = fields(&bytes);
            let kind = if metric.iter().any(|(number, _)| *number == 5) { (5, "gauge") } else { (7, "sum") };
            let point = fields(&only(&fields(&only(&metric, kind.0)), 1));
            let value = f64::from_le_bytes(only(&point, 4).try_into().unwrap());
            (text(only(&metric, 1)), kind.1, value)
        };
        fields(&scope).into_iter().map(metric).collect()
    }

    #[test]
    fn a_reader_of_the_schema_finds_what_was_written() {
        let attributes = vec![("node_id", "node-1".to_owned())];
        let points = [
            Point { name: "a.avg".to_owned(), attributes: attributes.clone(), value: PointValue::Gauge(1.5) },
            Point { name: "a.total".to_owned(), attributes: Vec::new(), value: PointValue::Sum(300.0) },
        ];
        let times = Times { start_ns: 1, now_ns: 1 << 60 };
        for (is_delta, temporality) in [(true, 1), (false, 2)] {
            let data = metrics_data(&points, is_delta, times);
            let read = read(&data);
            assert_eq!(read, [("a.avg".to_owned(), "gauge", 1.5), ("a.total".to_owned(), "sum", 300.0)]);
            let scope = fields(&only(&fields(&only(&fields(&data), 1)), 2));
            let sum = fields(&only(&fields(&scope[1].1), 7));
            assert_eq!((only(&sum, 2)[0], only(&sum, 3)[0]), (temporality, 1));
            let point = fields(&only(&sum, 1));
            assert_eq!(only(&point, 3), (1_u64 << 60).to_le_bytes());
            assert_eq!(only(&point, 2), 1_u64.to_le_bytes());
            let gauge = fields(&only(&fields(&only(&fields(&scope[0].1), 5)), 1));
            let attribute = fields(&only(&gauge, 7));
            assert_eq!(text(only(&attribute, 1)), "node_id");
            assert_eq!(text(only(&fields(&only(&attribute, 2)), 1)), "node-1");
        }
    }
}
