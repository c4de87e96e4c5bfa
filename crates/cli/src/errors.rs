//! `ottla errors`: what error codes mean, and how to mend what they say.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use ottla_client::ClientError;
use ottla_client::wire::ErrorCode;

use crate::completion;
use crate::error::{Exit, Failure};
use crate::global::{Context, Global};
use crate::output::{Cell, Column, Details, Listing, column};
use crate::{remedies, suggest};

#[derive(Args, Debug)]
pub struct ErrorsArgs {
    #[command(flatten)]
    pub global: Global,
    /// A number, or a name as in NOT_ENOUGH_REPLICAS or NotEnoughReplicasException; without any, all are listed
    #[arg(value_name = "CODE", allow_negative_numbers = true, add = ArgValueCompleter::new(completion::error_codes))]
    codes: Vec<String>,
}

const LIST: &[Column<ErrorCode>] = &[
    column("code", |code| Cell::number(code.code())),
    column("name", |code| Cell::text(code.name())),
    column("retriable", |code| Cell::Flag(code.is_retriable())),
    column("meaning", |code| Cell::text(code.description())),
];

const FIELDS: &[Column<ErrorCode>] = &[
    column("code", |code| Cell::number(code.code())),
    column("name", |code| Cell::text(code.name())),
    column("meaning", |code| Cell::text(code.description())),
    column("remedy", |code| Cell::maybe(remedies::of(*code), Cell::text)),
    column("retriable", |code| Cell::Flag(code.is_retriable())),
    column("possibly_written", |code| Cell::Flag(as_error(*code).is_possibly_written())),
    column("fatal", |code| Cell::Flag(as_error(*code).is_fatal())),
];

fn as_error(code: ErrorCode) -> ClientError {
    ClientError::broker(code, None, "")
}

pub fn run(args: &ErrorsArgs, context: &mut Context) -> Result<(), Failure> {
    if args.codes.is_empty() {
        let all: Vec<ErrorCode> = ErrorCode::all().collect();
        return context.printer.listing(&Listing::of(LIST, &all));
    }
    let found: Result<Vec<ErrorCode>, Failure> = args.codes.iter().map(|text| find(text)).collect();
    let details: Vec<Details> = found?.iter().map(|code| Details::of(FIELDS, code)).collect();
    context.printer.details(&details)
}

/// By number, by Kafka's name, or by the name of Java's exception.
fn find(text: &str) -> Result<ErrorCode, Failure> {
    if let Ok(number) = text.parse::<i16>() {
        return ErrorCode::from_code(number).ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("there is no error code {number}"))
                .hint("ottla errors lists all of them")
        });
    }
    let plain = plain(text);
    let names: Vec<(String, ErrorCode)> =
        ErrorCode::all().map(|code| (self::plain(code.name()), code)).collect();
    if let Some((_, code)) = names.iter().find(|(name, _)| *name == plain) {
        return Ok(*code);
    }
    let failure = Failure::new(Exit::NotFound, format!("there is no error '{text}'"));
    let known = || names.iter().map(|(name, _)| name.as_str());
    let close = match suggest::closest(&plain, known()) {
        Some(close) => vec![close],
        None => suggest::begun(&plain, known()),
    };
    let close = names.iter().filter(|(name, _)| close.contains(&name.as_str()));
    let close: Vec<&str> = close.map(|(_, code)| code.name()).collect();
    Err(match close[..] {
        [] => failure.hint("ottla errors lists all of them"),
        _ => failure.hint(format!("did you mean {}?", close.join(" or "))),
    })
}

/// Letters and digits alone: `NotLeaderOrFollowerException` and `NOT_LEADER_OR_FOLLOWER` are the same.
fn plain(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let letters: String =
        last.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    letters.strip_suffix("exception").map(str::to_owned).unwrap_or(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_by_any_name() {
        for text in [
            "6",
            "NOT_LEADER_OR_FOLLOWER",
            "not_leader_or_follower",
            "NotLeaderOrFollowerException",
            "org.apache.kafka.common.errors.NotLeaderOrFollowerException",
        ] {
            assert_eq!(find(text).unwrap(), ErrorCode::NotLeaderOrFollower, "{text}");
        }
        assert_eq!(find("-1").unwrap(), ErrorCode::UnknownServerError);
        assert_eq!(find("INVALID_TOPIC_EXCEPTION").unwrap(), ErrorCode::InvalidTopicException);
        let Failure::Said(problem) = find("NOT_ENOUGH_REPLICA").unwrap_err() else { panic!() };
        assert_eq!(
            (problem.exit, problem.hints[0].as_str()),
            (Exit::NotFound, "did you mean NOT_ENOUGH_REPLICAS?")
        );
        let Failure::Said(problem) = find("NOT_ENOUG").unwrap_err() else { panic!() };
        assert_eq!(problem.hints, ["did you mean NOT_ENOUGH_REPLICAS or NOT_ENOUGH_REPLICAS_AFTER_APPEND?"]);
        assert_eq!(find("999").unwrap_err().exit(), Exit::NotFound);
    }

    #[test]
    fn no_two_errors_have_one_name() {
        let mut names: Vec<String> = ErrorCode::all().map(|code| plain(code.name())).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
