//! kafka-acls: lists, adds and removes access rules.

mod plan;
mod requests;
mod rules;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io;

use ottla_client::ClientError;
use ottla_client::admin::Admin;

use crate::flags::Parsed;
use crate::java;
use crate::net::message;
use crate::tool::{Failure, Output, Run, Tool, said};
pub(crate) use plan::Plan;
use plan::{Action, Chosen, Rules};
use rules::{Entry, Resource};

pub const TOOL: Tool = Tool { name: "kafka-acls", run: Run::Flags(run) };

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    match act(parsed, output) {
        // This tool says where its results stand what went wrong.
        Err(Failure::Said(text)) => {
            output.line(format_args!("Error while executing ACL command: {text}"))?;
            Err(Failure::Silent)
        }
        done => done,
    }
}

fn act(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| match &plan.action {
        Action::List(chosen) => list(admin, chosen, output).await,
        Action::Add(rules) => add(admin, rules, output).await,
        Action::Remove { rules, asks } => remove(admin, rules, *asks, output).await,
    })
}

fn failed(error: ClientError) -> Failure {
    match error {
        ClientError::Unsupported { api, .. } => said(format_args!(
            "The node does not support {}: there are no access rules in this cluster.",
            java::constant_name(api)
        )),
        error => said(message(&error)),
    }
}

/// One a line.
fn lines<T: Display>(entries: impl IntoIterator<Item = T>) -> String {
    let lines: Vec<String> = entries.into_iter().map(|entry| format!("\t{entry}")).collect();
    lines.join("\n")
}

async fn list(admin: &Admin, chosen: &Chosen, output: &mut Output<'_>) -> Result<(), Failure> {
    let rules = found(admin, &chosen.resources).await?;
    if chosen.principals.is_empty() {
        return print(&rules, |_| true, output);
    }
    for principal in &chosen.principals {
        output.line(format_args!("ACLs for principal `{principal}`"))?;
        print(&rules, |entry| entry.principal == *principal, output)?;
    }
    Ok(())
}

/// Of these resources, or of all if there are none.
async fn found(admin: &Admin, resources: &BTreeSet<Resource>) -> Result<Rules, Failure> {
    let every = BTreeSet::from([Resource::EVERY]);
    let mut rules = Rules::new();
    for resource in if resources.is_empty() { &every } else { resources } {
        for (resource, entries) in requests::describe(admin, resource).await.map_err(failed)? {
            rules.entry(resource).or_default().extend(entries);
        }
    }
    Ok(rules)
}

fn print(rules: &Rules, is_shown: impl Fn(&Entry) -> bool, output: &mut Output<'_>) -> Result<(), Failure> {
    for (resource, entries) in rules {
        let shown: Vec<&Entry> = entries.iter().filter(|entry| is_shown(entry)).collect();
        if !shown.is_empty() {
            output.line(format_args!("Current ACLs for resource `{resource}`:\n{}\n", lines(shown)))?;
        }
    }
    Ok(())
}

async fn add(admin: &Admin, rules: &Rules, output: &mut Output<'_>) -> Result<(), Failure> {
    for (resource, entries) in rules {
        let there = found(admin, &BTreeSet::from([resource.clone()])).await?;
        let there = there.get(resource).cloned().unwrap_or_default();
        for entry in entries.intersection(&there) {
            output.line(format_args!("Acl {entry} already exists."))?;
        }
        let new: Vec<&Entry> = entries.difference(&there).collect();
        if new.is_empty() {
            continue;
        }
        output.line(format_args!("Adding ACLs for resource `{resource}`: \n {}\n", lines(&new)))?;
        requests::create(admin, resource, &new).await.map_err(failed)?;
    }
    Ok(())
}

async fn remove(admin: &Admin, rules: &Rules, asks: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    for (resource, entries) in rules {
        let question = match entries.is_empty() {
            true => {
                format!("Are you sure you want to delete all ACLs for resource filter `{resource}`? (y/n)")
            }
            false => format!(
                "Are you sure you want to remove ACLs: \n {}\n from resource filter `{resource}`? (y/n)",
                lines(entries)
            ),
        };
        if !asks || is_confirmed(&question, output)? {
            requests::delete(admin, resource, entries).await.map_err(failed)?;
        }
    }
    Ok(())
}

fn is_confirmed(question: &str, output: &mut Output<'_>) -> Result<bool, Failure> {
    output.line(question)?;
    output.out.flush()?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| said(format_args!("can't read the answer: {error}")))?;
    Ok(answer.trim_end_matches(['\r', '\n']).eq_ignore_ascii_case("y"))
}
