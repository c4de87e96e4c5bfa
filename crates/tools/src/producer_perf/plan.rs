//! What a command line of kafka-producer-perf-test means.

use crate::client_config::ClientConfig;
use crate::deprecation::Deprecated;
use crate::flags::Parsed;
use crate::tool::{Failure, said};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(super) topic: String,
    pub(super) config: ClientConfig,
    pub(super) records: u64,
    /// The first so many don't count in what is told of the steady state.
    pub(super) warmup_records: u64,
    pub(super) payload: PayloadPlan,
    /// `None`: as fast as it goes.
    pub(super) records_per_s: Option<f64>,
    pub(super) prints_metrics: bool,
    pub(super) reporting_interval_ms: u64,
    pub(super) transactions: Transactions,
    /// Said before anything is done.
    pub(super) warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PayloadPlan {
    Random {
        bytes: usize,
    },
    /// The number of the record.
    Monotonic,
    InFile {
        path: String,
        delimiter: String,
    },
}

/// They are used if one of these, or a setting, says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transactions {
    pub(super) id: Option<String>,
    pub(super) duration_ms: Option<u64>,
}

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        let number = |flag| parsed.number::<i64>(flag);
        let records = positive(number("--num-records"), "--num-records")?;
        let warmup_records = u64::try_from(number("--warmup-records").unwrap_or(0)).unwrap_or(0);
        if warmup_records >= records {
            return usage(
                "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.",
            );
        }
        let payload = payload(parsed)?;
        let sources = [
            "--bootstrap-server",
            "--command-property",
            "--producer-props",
            "--producer.config",
            "--command-config",
        ];
        if !sources.into_iter().any(|flag| parsed.has(flag)) {
            return usage(
                "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config \
                 must be specified.",
            );
        }
        let mut deprecated = Deprecated::new(
            "{new} and {old} cannot be specified together.",
            "Option {old} has been deprecated and will be removed in a future version. Use {new} instead.",
        );
        let mut either = |old, new| deprecated.either(parsed, old, new).map_err(Failure::Usage);
        let single = either("--producer-props", "--command-property")?;
        let file = either("--producer.config", "--command-config")?;
        let duration_ms = match number("--transaction-duration-ms") {
            Some(ms) => Some(positive(Some(ms), "--transaction-duration-ms")?),
            None => None,
        };
        let reporting_interval_ms = positive(number("--reporting-interval"), "--reporting-interval")?;
        Ok(Plan {
            topic: parsed.value("--topic").unwrap_or_default().to_owned(),
            config: config(parsed, parsed.value(file), parsed.values(single))?,
            records,
            warmup_records,
            payload,
            records_per_s: parsed.number::<f64>("--throughput").filter(|rate| *rate >= 0.0),
            prints_metrics: parsed.has("--print-metrics"),
            reporting_interval_ms,
            transactions: Transactions {
                id: parsed.value("--transactional-id").map(str::to_owned),
                duration_ms,
            },
            warnings: deprecated.warnings(),
        })
    }
}

fn positive(number: Option<i64>, flag: &str) -> Result<u64, Failure> {
    let positive = number.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0);
    positive.ok_or_else(|| Failure::Usage(format!("{flag} should be greater than zero.")))
}

fn payload(parsed: &Parsed) -> Result<PayloadPlan, Failure> {
    if let Some(bytes) = parsed.number::<i64>("--record-size") {
        let bytes = positive(Some(bytes), "--record-size")?;
        return Ok(PayloadPlan::Random { bytes: usize::try_from(bytes).unwrap_or(usize::MAX) });
    }
    Ok(match parsed.value("--payload-file") {
        Some(path) => PayloadPlan::InFile {
            path: path.to_owned(),
            delimiter: match parsed.value("--payload-delimiter").unwrap_or("\\n") {
                "\\n" => "\n".to_owned(),
                other => other.to_owned(),
            },
        },
        None => PayloadPlan::Monotonic,
    })
}

fn config(parsed: &Parsed, file: Option<&str>, single: &[String]) -> Result<ClientConfig, Failure> {
    let is_pair = |text: &&String| text.split('=').filter(|part| !part.is_empty()).count() == 2;
    if let Some(wrong) = single.iter().find(|text| !is_pair(text)) {
        return Err(said(format_args!("Invalid property: {wrong}")));
    }
    let config = ClientConfig::new(file, single).or("client.id", "perf-producer-client");
    Ok(match parsed.value("--bootstrap-server") {
        Some(servers) => config.fix("bootstrap.servers", servers),
        None => config,
    })
}
