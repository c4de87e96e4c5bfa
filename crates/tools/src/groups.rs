//! kafka-groups: groups of all types.

use ottla_client::admin::GroupListing;

use crate::flags::Parsed;
use crate::net::{Connection, message};
use crate::tool::{Failure, Output, Run, Tool, said};

pub const TOOL: Tool = Tool { name: "kafka-groups", run: Run::Flags(run) };

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    connection: Connection,
    kind: Option<String>,
    protocol: Option<String>,
    choice: Choice,
}

/// What the shortcuts say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    All,
    Consumer,
    Share,
    Streams,
}

const KINDS: [&str; 4] = ["Classic", "Consumer", "Share", "Streams"];

impl Plan {
    pub(crate) fn of(parsed: &Parsed) -> Result<Plan, Failure> {
        if !parsed.has("--bootstrap-server") {
            return Err(Failure::Usage("Missing required option(s) [bootstrap-server]".to_owned()));
        }
        if !parsed.has("--list") {
            return Err(Failure::Usage("Command must include exactly one action: --list.".to_owned()));
        }
        for (used, others) in [
            ("consumer", ["group-type", "protocol", "share", "streams"].as_slice()),
            ("share", &["group-type", "protocol", "consumer", "streams"]),
            ("streams", &["group-type", "protocol", "consumer", "share"]),
        ] {
            parsed.refuse_beside(used, others)?;
        }
        let kind = match parsed.value("--group-type") {
            None => None,
            Some(text) => match KINDS.iter().find(|kind| kind.eq_ignore_ascii_case(text.trim())) {
                Some(kind) => Some((*kind).to_owned()),
                None => return Err(said("--group-type must be a valid group type.")),
            },
        };
        Ok(Plan {
            connection: Connection::of(parsed)?,
            kind,
            protocol: parsed.value("--protocol").map(str::to_owned),
            choice: match () {
                () if parsed.has("--consumer") => Choice::Consumer,
                () if parsed.has("--share") => Choice::Share,
                () if parsed.has("--streams") => Choice::Streams,
                () => Choice::All,
            },
        })
    }

    fn shows(&self, group: &GroupListing) -> bool {
        let is = |kind: &str| group.kind.eq_ignore_ascii_case(kind);
        let is_chosen = match self.choice {
            Choice::All => true,
            Choice::Consumer => {
                is("consumer") || is("classic") && matches!(group.protocol.as_str(), "" | "consumer")
            }
            Choice::Share => is("share"),
            Choice::Streams => is("streams"),
        };
        is_chosen
            && self.kind.as_deref().is_none_or(is)
            && self.protocol.as_ref().is_none_or(|protocol| *protocol == group.protocol)
    }
}

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.connection.run(output, async |admin, output| {
        let mut groups = Vec::new();
        for (_, listed) in admin.list_groups(&[], &[]).await {
            match listed {
                Ok(listed) => groups.extend(listed.into_iter().filter(|group| plan.shows(group))),
                Err(error) => {
                    output
                        .line(format_args!("Error while executing groups command : {}", message(&error)))?;
                    return Err(Failure::Silent);
                }
            }
        }
        groups.sort_by(|a, b| a.id.cmp(&b.id));
        print(&groups, output)
    })
}

/// Of each column, unless more is in it.
const MIN_WIDTH: usize = 20;

fn print(groups: &[GroupListing], output: &mut Output<'_>) -> Result<(), Failure> {
    let rows: Vec<[&str; 3]> = groups.iter().map(|group| [&group.id, kind(group), &group.protocol]).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(MIN_WIDTH)
    };
    let (ids, kinds, protocols) = (width(0), width(1), width(2));
    output.line(format_args!("{:<ids$} {:<kinds$} {:<protocols$}", "GROUP", "TYPE", "PROTOCOL"))?;
    for [id, kind, protocol] in &rows {
        output.line(format_args!("{id:<ids$} {kind:<kinds$} {protocol:<protocols$} "))?;
    }
    Ok(())
}

/// As Kafka writes it, whatever the broker's way is.
fn kind(group: &GroupListing) -> &'static str {
    KINDS.into_iter().find(|kind| kind.eq_ignore_ascii_case(&group.kind)).unwrap_or("Unknown")
}
