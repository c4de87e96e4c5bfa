//! `ottla consume`

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use ottla_client::admin::Admin;
use ottla_client::consumer::{
    Consumer, ConsumerEvent, ConsumerRecord, ConsumerSettings, IsolationLevel, OffsetReset,
};
use ottla_client::types::{Offset, TopicPartition};
use ottla_client::{Scope, Settings};
use regex::bytes::Regex;

use super::ending::{Ending, Taken};
use super::json::{COLUMNS, WIDTHS};
use super::template::Template;
use crate::cluster_view::{Located, chosen_of, locate, parse_partitions, topics};
use crate::completion;
use crate::error::{Exit, Failure};
use crate::expr::{Place, Span};
use crate::global::{Context, Global};
use crate::output::Stream;
use crate::progress::Progress;

#[derive(Args, Debug)]
#[command(
    after_help = "Without -f it ends where the topic ended when it began. OFFSETS: 5..20, -10.., @-1h, @2026-11-01T10:00..@now, start, end"
)]
pub struct ConsumeArgs {
    #[command(flatten)]
    pub global: Global,
    #[arg(value_name = "TOPIC", required = true, add = ArgValueCompleter::new(completion::topics))]
    topics: Vec<String>,
    /// Which records, as in 5..20, -10.. (the last ten of each partition), @-1h, @2026-11-01..@2026-11-02 [default: all]
    #[arg(short = 'O', long, value_name = "OFFSETS", allow_hyphen_values = true, conflicts_with = "group")]
    offsets: Option<String>,
    /// Of these partitions, as in 0,2,5-7; else of all
    #[arg(short, long, value_name = "LIST", conflicts_with = "group")]
    partitions: Option<String>,
    /// End after so many records
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// Go on with records that come in, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// As a member of this group, from where it is on, and commit what was printed
    #[arg(short, long, value_name = "GROUP", add = ArgValueCompleter::new(completion::groups))]
    group: Option<String>,
    /// Only records whose key, value or a header matches a regular expression
    #[arg(long, value_name = "REGEX")]
    grep: Option<Regex>,
    /// Print this of each record instead: %t topic, %p partition, %o offset, %d time, %T milliseconds, %k key, %v value, %h headers,
    /// %K and %S lengths, \n \t \0 \\ %%
    #[arg(long, value_name = "TEMPLATE", value_parser = Template::parse, conflicts_with = "output")]
    format: Option<Template>,
}

/// How long nothing is waited for but records.
const POLL: Duration = Duration::from_millis(100);
const CLOSING: Duration = Duration::from_secs(5);

pub async fn run(args: &ConsumeArgs, context: &mut Context) -> Result<(), Failure> {
    let span = match &args.offsets {
        Some(text) => Span::parse(text, context.now_ms).map_err(Failure::usage)?,
        None => Span::EVERYTHING,
    };
    if args.follow && span.to.is_some() {
        return Err(Failure::usage("--follow has no end, and the offsets have one"));
    }
    if [Some(span.from), span.to].iter().any(|place| matches!(place, Some(Place::Committed(_)))) {
        return Err(Failure::usage("'committed' is where a group is: say -g GROUP, which begins there"));
    }
    let settings = context.settings(Scope::Consumer)?;
    let mut consumer = Consumer::connect(consumer_settings(&settings, args)?).await?;
    let mut printing = Printing::new(args, context)?;
    let read = async {
        match args.group {
            Some(_) => read_in_group(args, &mut consumer, &mut printing, context).await,
            None => read_alone(args, span, &mut consumer, &mut printing, context).await,
        }
    };
    let done = tokio::select! {
        done = read => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::Silent(Exit::Interrupted)),
    };
    // What was begun is a whole document, however it ended.
    let ended = printing.end(context);
    consumer.close(CLOSING).await?;
    ended.and(done)
}

fn consumer_settings(settings: &Settings, args: &ConsumeArgs) -> Result<ConsumerSettings, Failure> {
    let mut of = ConsumerSettings::from_settings(settings)?;
    of.group_id = args.group.clone();
    // A misspelt topic must not come into being.
    of.client.allow_auto_create_topics = false;
    // What was printed is committed, and nothing else.
    of.enable_auto_commit = false;
    if !settings.is_set("auto.offset.reset") {
        of.auto_offset_reset = OffsetReset::Earliest;
    }
    if !settings.is_set("client.id") {
        of.client.client_id = "ottla-cli".to_owned();
    }
    Ok(of)
}

async fn read_alone(
    args: &ConsumeArgs,
    span: Span,
    consumer: &mut Consumer,
    printing: &mut Printing,
    context: &mut Context,
) -> Result<(), Failure> {
    let admin = Admin::new(consumer.client().clone());
    let chosen = args.partitions.as_deref().map(parse_partitions).transpose().map_err(Failure::usage)?;
    let mut partitions = Vec::new();
    for topic in topics(&admin, &args.topics).await? {
        partitions.extend(chosen_of(&topic, chosen.as_deref().unwrap_or_default())?);
    }
    let is_committed = consumer.settings().isolation_level == IsolationLevel::ReadCommitted;
    let place = async |place| locate(&admin, &partitions, place, &BTreeMap::new(), is_committed).await;
    let starts = place(span.from).await?;
    tell_clamped(&starts, span.from, context)?;
    let mut ending = match args.follow {
        true => Ending::endless(args.count),
        false => {
            let ends = place(span.to.unwrap_or(Place::End)).await?;
            Ending::at(stops(&starts, &ends), args.count)
        }
    };
    let read: Vec<TopicPartition> = if args.follow { partitions } else { ending.open() };
    printing.begin(context)?;
    if ending.is_over() {
        return Ok(());
    }
    consumer.assign(read)?;
    for (at, start) in starts.iter().filter(|(at, _)| args.follow || ending.open().contains(at)) {
        consumer.seek(at, Offset(start.found.offset))?;
    }
    let total: i64 =
        ending.open().iter().filter_map(|at| Some(ending.stop(at)? - starts.get(at)?.found.offset)).sum();
    let progress = printing.progress(u64::try_from(total).ok().filter(|_| !args.follow), context);
    while !ending.is_over() {
        let records = consumer.poll(POLL).await?;
        progress.add(records.len());
        for record in &records {
            printing.take(record, &mut ending, context)?;
            if ending.is_over() {
                break;
            }
        }
        context.printer.flush()?;
        for at in ending.open() {
            let position = consumer.position(&at).map(|position| position.offset.value());
            if position.is_some_and(|position| ending.reached(&at, position)) {
                consumer.pause(&at)?;
            }
        }
    }
    progress.finish();
    Ok(())
}

/// Of partitions that have something to be read.
fn stops(
    starts: &BTreeMap<TopicPartition, Located>,
    ends: &BTreeMap<TopicPartition, Located>,
) -> BTreeMap<TopicPartition, i64> {
    let stop = |(at, end): (&TopicPartition, &Located)| {
        let is_open = starts.get(at).is_some_and(|start| start.found.offset < end.found.offset);
        is_open.then(|| (at.clone(), end.found.offset))
    };
    ends.iter().filter_map(stop).collect()
}

fn tell_clamped(
    starts: &BTreeMap<TopicPartition, Located>,
    place: Place,
    context: &mut Context,
) -> Result<(), Failure> {
    for (at, start) in starts.iter().filter(|(_, start)| start.found.is_clamped) {
        let (known, offset) = (start.known, start.found.offset);
        context.tell(format_args!(
            "{at} has offsets {} to {}: beginning at {offset} instead of {place}",
            known.start, known.end
        ))?;
    }
    Ok(())
}

async fn read_in_group(
    args: &ConsumeArgs,
    consumer: &mut Consumer,
    printing: &mut Printing,
    context: &mut Context,
) -> Result<(), Failure> {
    let admin = Admin::new(consumer.client().clone());
    // A misspelt topic would be waited for.
    topics(&admin, &args.topics).await?;
    consumer.subscribe(&args.topics)?;
    printing.begin(context)?;
    let mut ending = Ending::endless(args.count);
    let mut is_assigned = false;
    let mut is_told = false;
    loop {
        match tokio::time::timeout(POLL, consumer.next()).await {
            Err(_) => {
                // Ends of partitions of which no answer has told anything yet.
                if !args.follow && is_assigned && is_at_end(consumer).await? {
                    return Ok(());
                }
            }
            Ok(event) => match event? {
                ConsumerEvent::Records(records) => {
                    let mut last: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
                    for record in &records {
                        printing.take(record, &mut ending, context)?;
                        last.insert(record.topic_partition.clone(), record.offset.next());
                        if ending.is_over() {
                            break;
                        }
                    }
                    // First printed, then committed: what is lost in between comes again.
                    context.printer.flush()?;
                    let offsets = last.into_iter().map(|(at, offset)| {
                        let position = ottla_client::consumer::Position::at(offset);
                        (at, position.into())
                    });
                    consumer.commit_offsets(offsets.collect()).await?;
                }
                ConsumerEvent::Assigned(partitions) => {
                    is_assigned |= !partitions.is_empty();
                    if !is_assigned && !is_told {
                        is_told = true;
                        context.tell("Other members of the group have all partitions: waiting for one.")?;
                    }
                }
                _ => {}
            },
        }
        // Asking the brokers takes as long as the fetch that waits there for records.
        let may_end = || !args.follow && is_assigned && seems_at_end(consumer);
        if ending.is_over() || (may_end() && is_at_end(consumer).await?) {
            return Ok(());
        }
    }
}

/// Nothing is there that was not handed out, as far as answers have told.
fn seems_at_end(consumer: &Consumer) -> bool {
    let is_committed = consumer.settings().isolation_level == IsolationLevel::ReadCommitted;
    consumer.assignment().iter().all(|at| {
        let end = consumer.watermarks(at).map(|marks| match is_committed {
            true => marks.last_stable,
            false => marks.high,
        });
        let position = consumer.position(at).map(|position| position.offset);
        end.is_some_and(|end| position.is_some_and(|position| position >= end))
    })
}

/// Nothing is there that was not handed out.
async fn is_at_end(consumer: &Consumer) -> Result<bool, Failure> {
    let assigned = consumer.assignment();
    if assigned.iter().any(|at| consumer.position(at).is_none()) {
        return Ok(false);
    }
    let ends = consumer.end_offsets(assigned).await?;
    Ok(ends.iter().all(|(at, end)| consumer.position(at).is_some_and(|position| position.offset >= *end)))
}

/// What is printed of records, and how.
#[derive(Debug)]
struct Printing {
    form: Form,
    /// Once it is known that there is something to be read.
    has_begun: bool,
    grep: Option<Regex>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Form {
    Rows(Stream<ConsumerRecord>),
    Template(Template),
}

impl Printing {
    fn new(args: &ConsumeArgs, context: &Context) -> Result<Printing, Failure> {
        let form = match &args.format {
            Some(template) => Form::Template(template.clone()),
            None => Form::Rows(context.printer.stream(COLUMNS, WIDTHS)),
        };
        Ok(Printing { form, has_begun: false, grep: args.grep.clone(), buffer: Vec::new() })
    }

    fn begin(&mut self, context: &mut Context) -> Result<(), Failure> {
        self.has_begun = true;
        match &self.form {
            Form::Rows(stream) => context.printer.text(&stream.begin()),
            Form::Template(_) => Ok(()),
        }
    }

    fn end(&self, context: &mut Context) -> Result<(), Failure> {
        match &self.form {
            Form::Rows(stream) if self.has_begun => context.printer.text(&stream.end()),
            Form::Rows(_) | Form::Template(_) => Ok(()),
        }
    }

    /// Only where records themselves go somewhere else than to the terminal.
    fn progress(&self, total: Option<u64>, context: &Context) -> Progress {
        use std::io::IsTerminal;
        let is_drawn = context.is_watched() && !std::io::stdout().is_terminal();
        Progress::records(total, is_drawn)
    }

    fn take(
        &mut self,
        record: &ConsumerRecord,
        ending: &mut Ending,
        context: &mut Context,
    ) -> Result<(), Failure> {
        if ending.take(&record.topic_partition, record.offset.value()) == Taken::Behind
            || !self.is_wanted(record)
        {
            return Ok(());
        }
        ending.count();
        match &mut self.form {
            Form::Rows(stream) => {
                let row = stream.row(record)?;
                context.printer.text(&row)
            }
            Form::Template(template) => {
                self.buffer.clear();
                template.write(record, &mut self.buffer);
                context.printer.bytes(&self.buffer)
            }
        }
    }

    fn is_wanted(&self, record: &ConsumerRecord) -> bool {
        let Some(pattern) = &self.grep else { return true };
        let headers =
            record.headers.iter().flat_map(|header| std::iter::once(&header.key).chain(&header.value));
        let mut parts = record.key.iter().chain(&record.value).chain(headers);
        parts.any(|part| pattern.is_match(part))
    }
}
