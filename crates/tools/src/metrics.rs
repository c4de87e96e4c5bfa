//! Metrics of a client as Kafka's tools print them. Of Java's hundreds there are those that the tools know themselves.

use crate::java;
use crate::tool::{Failure, Output};

/// One of a client's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Metric {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) value: f64,
}

/// In the order of their names.
pub(crate) fn print(client_id: &str, metrics: &[Metric], output: &mut Output<'_>) -> Result<(), Failure> {
    let mut rows: Vec<(String, f64)> = metrics
        .iter()
        .map(|metric| (format!("{}:{}:{{client-id={client_id}}}", metric.group, metric.name), metric.value))
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    output.line(format_args!("\n{:width$}   Value", "Metric Name"))?;
    rows.iter()
        .try_for_each(|(name, value)| output.line(format_args!("{name:width$} : {}", java::fixed(*value, 3))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_a_table() {
        let metric = |name, value| Metric { group: "g", name, value };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output { out: &mut out, err: &mut err };
        print("c", &[metric("two", 2.5), metric("a", 1.0)], &mut output).unwrap();
        let expected =
            "\nMetric Name           Value\ng:a:{client-id=c}   : 1.000\ng:two:{client-id=c} : 2.500\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
