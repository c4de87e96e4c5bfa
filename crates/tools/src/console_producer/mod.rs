//! kafka-console-producer: sends what stands on standard input, a record a line.

mod line_reader;
mod plan;

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Read};
use std::thread;
use std::time::Duration;

use ottla_client::{ClientError, Delivery, Header, Producer, ProducerSettings, Record, Scope};
use tokio::sync::mpsc;

use crate::flags::Parsed;
use crate::net::{interrupted, with_worker};
use crate::tool::{Failure, Output, Run, Tool, said};
use line_reader::{Line, LineReader, Lines};
pub(crate) use plan::Plan;

pub const TOOL: Tool = Tool { name: "kafka-console-producer", run: Run::Flags(run) };

/// How long records that were read may still need, once there are no more: as long as the settings allow.
const PATIENCE: Duration = Duration::from_secs(3600 * 24 * 365);

const READ_BYTES: usize = 64 * 1024;
/// Reads ahead of what was sent.
const READS_MAX: usize = 4;
/// Records whose answers are not waited for yet.
const UNANSWERED_MAX: usize = 100_000;

fn run(parsed: &Parsed, output: &mut Output<'_>) -> Result<(), Failure> {
    let plan = Plan::of(parsed)?;
    plan.warnings.iter().try_for_each(|warning| output.line(warning))?;
    let mut properties = plan.reader.read()?;
    // As in Kafka, a setting of the reader may name another topic.
    let topic = properties.remove("topic").unwrap_or_else(|| plan.topic.clone());
    let reader = LineReader::new(&properties).map_err(said)?;
    let settings = plan.config.settings(Scope::Producer, output)?;
    let settings = ProducerSettings::from_settings(&settings).map_err(said)?;
    with_worker(async {
        let producer = Producer::start(settings).map_err(said)?;
        let mut console =
            Console { producer, reader, topic, is_sync: plan.is_sync, unanswered: VecDeque::new() };
        let mut interrupt = std::pin::pin!(interrupted());
        let sent = tokio::select! {
            sent = console.send_all(output) => sent,
            code = &mut interrupt => Err(Failure::Ended(code)),
        };
        // Whatever was read before something went wrong is sent.
        let closed = console.producer.close(PATIENCE).await;
        console.tell_answered(output)?;
        sent?;
        closed.map_err(said)
    })
}

struct Console {
    producer: Producer,
    reader: LineReader,
    topic: String,
    is_sync: bool,
    unanswered: VecDeque<Unanswered>,
}

/// A record that was sent, with what is told of it if it can't be written.
struct Unanswered {
    delivery: Delivery,
    key_bytes: Option<usize>,
    value_bytes: Option<usize>,
}

impl Console {
    async fn send_all(&mut self, output: &mut Output<'_>) -> Result<(), Failure> {
        let is_prompted = io::stdin().is_terminal() && io::stdout().is_terminal();
        let mut chunks = standard_input();
        let mut lines = Lines::default();
        loop {
            if is_prompted {
                write!(output.out, ">")?;
                output.out.flush()?;
            }
            let Some(chunk) = chunks.recv().await else { break };
            for line in lines.take(&chunk.map_err(said)?) {
                self.send(&line, output).await?;
            }
            self.tell_answered(output)?;
        }
        match lines.end() {
            Some(line) => self.send(&line, output).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, line: &[u8], output: &mut Output<'_>) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(line);
        let Line { headers, key, value } = self.reader.read(&text).map_err(said)?;
        let headers: Vec<Header<'_>> = headers
            .into_iter()
            .map(|(key, value)| Header { key: key.as_bytes(), value: value.map(str::as_bytes) })
            .collect();
        let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
        let record = Record { key, value, headers: &headers, ..Record::to(&self.topic) };
        let (key_bytes, value_bytes) = (key.map(<[u8]>::len), value.map(<[u8]>::len));
        let delivery = match self.producer.send(record).await {
            Ok(delivery) => delivery,
            Err(error) if self.is_sync => return Err(said(error)),
            Err(error) => return tell(&self.topic, key_bytes, value_bytes, &error, output),
        };
        if self.is_sync {
            return delivery.await.map(|_| ()).map_err(said);
        }
        self.unanswered.push_back(Unanswered { delivery, key_bytes, value_bytes });
        if self.unanswered.len() >= UNANSWERED_MAX
            && let Some(oldest) = self.unanswered.pop_front()
            && let Err(error) = oldest.delivery.await
        {
            tell(&self.topic, oldest.key_bytes, oldest.value_bytes, &error, output)?;
        }
        Ok(())
    }

    /// Tells of records that could not be written, in their order.
    fn tell_answered(&mut self, output: &mut Output<'_>) -> Result<(), Failure> {
        while let Some(answer) = self.unanswered.front().and_then(|oldest| oldest.delivery.peek()) {
            let Some(oldest) = self.unanswered.pop_front() else { break };
            if let Err(error) = answer {
                tell(&self.topic, oldest.key_bytes, oldest.value_bytes, &error, output)?;
            }
        }
        Ok(())
    }
}

fn tell(
    topic: &str,
    key_bytes: Option<usize>,
    value_bytes: Option<usize>,
    error: &ClientError,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let size = |bytes: Option<usize>| bytes.map_or("null".to_owned(), |bytes| format!("{bytes} bytes"));
    output.tell(format_args!(
        "Error when sending message to topic {topic} with key: {}, value: {} with error: {error}",
        size(key_bytes),
        size(value_bytes)
    ))
}

/// What is read, by a thread of its own: a terminal keeps it waiting for as long as it likes.
fn standard_input() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(READS_MAX);
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut chunk = vec![0; READ_BYTES];
            let read = match stdin.read(&mut chunk) {
                Ok(0) => return,
                Ok(bytes) => {
                    chunk.truncate(bytes);
                    Ok(chunk)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let is_over = read.is_err();
            if sender.blocking_send(read).is_err() || is_over {
                return;
            }
        }
    });
    receiver
}
