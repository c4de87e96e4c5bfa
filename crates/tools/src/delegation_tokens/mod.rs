//! kafka-delegation-tokens: creates, renews, expires and describes delegation tokens.

mod plan;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ottla_client::admin::Admin;
use ottla_client::{ClientError, Target};
use ottla_wire::messages::{
    CreateDelegationTokenRequest, DescribeDelegationTokenRequest, DescribeDelegationTokenResponse,
    ExpireDelegationTokenRequest, RenewDelegationTokenRequest, create_delegation_token_request,
    describe_delegation_token_request,
};
use ottla_wire::{ErrorCode, Request};

use crate::date_format::DateFormat;
use crate::flags::Parsed;
use crate::java;
use crate::net::message;
use crate::tool::{Failure, Output, Run, Tool, said};
pub(crate) use plan::Plan;
use plan::{Action, Principal};

pub const TOOL: Tool = Tool { name: "kafka-delegation-tokens", run: Run::Flags(run) };

/// How points in time are written.
const DATES: &str = "yyyy-MM-dd'T'HH:mm";

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| match &plan.action {
        Action::Create { owner, renewers, life_ms } => {
            create(admin, owner.as_ref(), renewers, *life_ms, output).await
        }
        Action::Renew { hmac, period_ms } => renew(admin, hmac, *period_ms, output).await,
        Action::Expire { hmac, period_ms } => expire(admin, hmac, *period_ms, output).await,
        Action::Describe { owners } => describe(admin, owners, output).await,
    })
}

async fn ask<R: Request>(
    admin: &Admin,
    request: &R,
    code: impl Fn(&R::Response) -> i16,
    what: &'static str,
) -> Result<R::Response, Failure> {
    let failed = |error: ClientError| match error {
        ClientError::Unsupported { api, .. } => said(format_args!(
            "The node does not support {}: there are no delegation tokens in this cluster.",
            java::constant_name(api)
        )),
        error => said(message(&error)),
    };
    let timeout_ms = admin.client().settings().default_api_timeout_ms;
    let code_of = |answer: &R::Response| ErrorCode::from_answer(code(answer));
    let answered = admin.client().call(Target::AnyNode, timeout_ms, |_| request.clone(), code_of).await;
    let answer = answered.map_err(failed)?.response;
    match code_of(&answer) {
        ErrorCode::None => Ok(answer),
        code => Err(failed(ClientError::broker(code, None, what))),
    }
}

fn listed(principals: &[Principal]) -> String {
    let shown: Vec<String> = principals.iter().map(ToString::to_string).collect();
    format!("[{}]", shown.join(", "))
}

async fn create(
    admin: &Admin,
    owner: Option<&Principal>,
    renewers: &[Principal],
    life_ms: i64,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    output.line(format_args!(
        "Calling create token operation with renewers :{} , max-life-time-period :{life_ms}",
        listed(renewers)
    ))?;
    let renewer = |of: &Principal| create_delegation_token_request::Renewer {
        principal_type: of.kind.clone(),
        principal_name: of.name.clone(),
        ..Default::default()
    };
    let request = CreateDelegationTokenRequest {
        owner_principal_type: owner.map(|of| of.kind.clone()),
        owner_principal_name: owner.map(|of| of.name.clone()),
        renewers: renewers.iter().map(renewer).collect(),
        max_lifetime_ms: life_ms,
        ..Default::default()
    };
    let token = ask(admin, &request, |answer| answer.error_code, "creating a delegation token").await?;
    output.line(format_args!("Created delegation token with tokenId : {}", token.token_id))?;
    let row = Row {
        id: token.token_id,
        hmac: token.hmac,
        owner: format!("{}:{}", token.principal_type, token.principal_name),
        requester: format!(
            "{}:{}",
            token.token_requester_principal_type, token.token_requester_principal_name
        ),
        renewers: listed(renewers),
        times_ms: [token.issue_timestamp_ms, token.expiry_timestamp_ms, token.max_timestamp_ms],
    };
    print(&[row], output)
}

async fn renew(admin: &Admin, hmac: &str, period_ms: i64, output: &mut Output<'_>) -> Result<(), Failure> {
    output.line(format_args!(
        "Calling renew token operation with hmac :{hmac} , renew-time-period :{period_ms}"
    ))?;
    let request = RenewDelegationTokenRequest {
        hmac: decoded(hmac)?,
        renew_period_ms: period_ms,
        ..Default::default()
    };
    let answer = ask(admin, &request, |answer| answer.error_code, "renewing a delegation token").await?;
    tell_expiry("renew", answer.expiry_timestamp_ms, output)
}

async fn expire(admin: &Admin, hmac: &str, period_ms: i64, output: &mut Output<'_>) -> Result<(), Failure> {
    output.line(format_args!(
        "Calling expire token operation with hmac :{hmac} , expire-time-period :{period_ms}"
    ))?;
    let request = ExpireDelegationTokenRequest {
        hmac: decoded(hmac)?,
        expiry_time_period_ms: period_ms,
        ..Default::default()
    };
    let answer = ask(admin, &request, |answer| answer.error_code, "expiring a delegation token").await?;
    tell_expiry("expire", answer.expiry_timestamp_ms, output)
}

fn decoded(hmac: &str) -> Result<Bytes, Failure> {
    let decoded = STANDARD.decode(hmac);
    decoded.map(Bytes::from).map_err(|error| said(format_args!("{hmac} is not written in Base64: {error}")))
}

/// Without an end of the line, as Kafka's tool has it.
fn tell_expiry(what: &str, time_ms: i64, output: &mut Output<'_>) -> Result<(), Failure> {
    let date = dates()?.format(time_ms);
    Ok(write!(output.out, "Completed {what} operation. New expiry date : {date}")?)
}

fn dates() -> Result<DateFormat, Failure> {
    DateFormat::parse(DATES).map_err(said)
}

async fn describe(admin: &Admin, owners: &[Principal], output: &mut Output<'_>) -> Result<(), Failure> {
    match owners {
        [] => output.line("Calling describe token operation for current user.")?,
        owners => {
            output.line(format_args!("Calling describe token operation for owners: {}", listed(owners)))?;
        }
    }
    let owner = |of: &Principal| describe_delegation_token_request::Owner {
        principal_type: of.kind.clone(),
        principal_name: of.name.clone(),
        ..Default::default()
    };
    let request = DescribeDelegationTokenRequest {
        owners: (!owners.is_empty()).then(|| owners.iter().map(owner).collect()),
        ..Default::default()
    };
    let answer: DescribeDelegationTokenResponse =
        ask(admin, &request, |answer| answer.error_code, "describing delegation tokens").await?;
    output.line(format_args!("Total number of tokens : {}", answer.tokens.len()))?;
    let rows: Vec<Row> = answer
        .tokens
        .into_iter()
        .map(|of| {
            let renewers: Vec<Principal> = of
                .renewers
                .iter()
                .map(|of| Principal { kind: of.principal_type.clone(), name: of.principal_name.clone() })
                .collect();
            Row {
                id: of.token_id,
                hmac: of.hmac,
                owner: format!("{}:{}", of.principal_type, of.principal_name),
                requester: format!(
                    "{}:{}",
                    of.token_requester_principal_type, of.token_requester_principal_name
                ),
                renewers: listed(&renewers),
                times_ms: [of.issue_timestamp, of.expiry_timestamp, of.max_timestamp],
            }
        })
        .collect();
    print(&rows, output)
}

/// A token as it is shown.
struct Row {
    id: String,
    hmac: Bytes,
    owner: String,
    requester: String,
    renewers: String,
    /// When it was issued, when it expires, and when at the latest.
    times_ms: [i64; 3],
}

fn print(rows: &[Row], output: &mut Output<'_>) -> Result<(), Failure> {
    let dates = dates()?;
    let cells = |cells: [&str; 8]| {
        let [id, hmac, owner, requester, renewers, issued, expiry, max] = cells;
        format!(
            "\n{id:<15} {hmac:<30} {owner:<15} {requester:<15} {renewers:<25} {issued:<15} {expiry:<15} {max:<15}"
        )
    };
    let header = ["TOKENID", "HMAC", "OWNER", "REQUESTER", "RENEWERS", "ISSUEDATE", "EXPIRYDATE", "MAXDATE"];
    output.line(cells(header))?;
    for row in rows {
        let [issued, expiry, max] = row.times_ms.map(|ms| dates.format(ms));
        let hmac = STANDARD.encode(&row.hmac);
        let line = cells([&row.id, &hmac, &row.owner, &row.requester, &row.renewers, &issued, &expiry, &max]);
        output.line(line)?;
    }
    Ok(())
}
