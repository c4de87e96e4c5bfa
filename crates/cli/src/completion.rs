//! `ottla completion`, and the names that shells complete: those that the cluster has now.

use std::env;
use std::ffi::OsStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use clap_complete::engine::CompletionCandidate;
use ottla_client::admin::Admin;
use ottla_client::{Client, Scope};

use crate::connection::key_value;
use crate::error::Failure;
use crate::global::{Context, Global, said, variable};
use crate::profile::Profiles;

/// Nobody waits longer for a Tab.
const PATIENCE: Duration = Duration::from_millis(1500);

#[derive(Args, Debug)]
pub struct CompletionArgs {
    #[command(flatten)]
    pub global: Global,
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

/// Prints what a shell is to read when it starts.
pub fn run(args: &CompletionArgs, program: &str, context: &mut Context) -> Result<(), Failure> {
    let shells = clap_complete::env::Shells::builtins();
    let name = args.shell.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let Some(shell) = shells.completer(&name) else {
        return Err(Failure::failed(format!("{name} is not there")));
    };
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "ottla", "ottla", program, &mut script)?;
    context.printer.bytes(&script)
}

/// In the environment it has the program complete, as scripts of shells call it.
pub const VARIABLE: &str = "OTTLA_COMPLETE";

pub fn topics(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(
        begun,
        live(async |admin| {
            let topics = admin.list_topics().await.ok()?;
            Some(topics.into_iter().map(|topic| topic.name.to_string()).collect())
        }),
    )
}

pub fn groups(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(begun, groups_of(&[]))
}

pub fn share_groups(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(begun, groups_of(&["share".to_owned()]))
}

fn groups_of(kinds: &[String]) -> Vec<String> {
    live(async |admin| {
        let listed = admin.list_groups(&[], kinds).await;
        Some(listed.into_values().flatten().flatten().map(|group| group.id).collect())
    })
}

pub fn transactional_ids(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(
        begun,
        live(async |admin| {
            let listed = admin.list_transactions(&[], &[], -1, None).await;
            Some(listed.into_values().flatten().flatten().map(|listing| listing.transactional_id).collect())
        }),
    )
}

pub fn profiles(begun: &OsStr) -> Vec<CompletionCandidate> {
    let names = Profiles::of(variable).and_then(|profiles| profiles.names().ok());
    candidates(begun, names.unwrap_or_default())
}

pub fn error_codes(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(begun, ottla_client::wire::ErrorCode::all().map(|code| code.name().to_owned()).collect())
}

fn candidates(begun: &OsStr, names: Vec<String>) -> Vec<CompletionCandidate> {
    let Some(begun) = begun.to_str() else { return Vec::new() };
    names.into_iter().filter(|name| name.starts_with(begun)).map(CompletionCandidate::new).collect()
}

/// What a cluster answers in time; nothing where it doesn't. Errors would only disturb the line that is being typed.
fn live(ask: impl AsyncFnOnce(&Admin) -> Option<Vec<String>>) -> Vec<String> {
    let words: Vec<String> = env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let Ok(said) = said(&connection_flags(&words)) else { return Vec::new() };
    let Ok((settings, _)) = said.client(Scope::Admin) else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    runtime.block_on(async {
        let asking = async {
            let client = Client::connect(settings).await.ok()?;
            ask(&Admin::new(client)).await
        };
        tokio::time::timeout(PATIENCE, asking).await.ok().flatten().unwrap_or_default()
    })
}

/// The line isn't whole yet: only what says where the cluster is.
fn connection_flags(words: &[String]) -> Global {
    let mut global = Global::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (flag, attached) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ if word.len() > 2 && !word.starts_with("--") => match word.split_at_checked(2) {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => continue,
            },
            _ => (word.as_str(), None),
        };
        let mut value = || attached.clone().or_else(|| words.next().cloned());
        match flag {
            "-b" | "--bootstrap-server" => global.bootstrap_server = value(),
            "-P" | "--profile" => global.profile = value(),
            "-X" | "--set" => global.client_settings.extend(value().and_then(|text| key_value(&text).ok())),
            _ => {}
        }
    }
    global
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_line_says_where_the_cluster_is() {
        let of = |line: &str| connection_flags(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for line in [
            "ottla -- ottla topic -b a:1 describe o",
            "ottla topic list -ba:1",
            "x --bootstrap-server=a:1 -X",
        ] {
            assert_eq!(of(line).bootstrap_server.as_deref(), Some("a:1"), "{line}");
        }
        assert_eq!(of("x --profile p -X a=b").profile.as_deref(), Some("p"));
        assert_eq!(of("x --profile p -X a=b").client_settings, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(of("x -b").bootstrap_server, None);
    }
}
