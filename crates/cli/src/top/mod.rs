//! `ottla top`: throughput, lag and hot partitions as they are now.

mod model;
mod sampling;
mod screen;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::{Args, ValueEnum};
use ottla_client::admin::Admin;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use tokio::sync::mpsc;

use crate::error::Failure;
use crate::expr::parse_duration_ms;
use crate::global::{Colour, Context, Global, variable};
use crate::output::Listing;
use model::{GROUPS, PARTITIONS, Sample, TOPICS, View, view};
use sampling::sample;
use screen::{Asked, Screen};

#[derive(Args, Debug)]
#[command(
    after_help = "Where standard output is no terminal, or with --count, it prints lists instead: one for each interval."
)]
pub struct TopArgs {
    #[command(flatten)]
    pub global: Global,
    /// What is shown first, or printed
    #[arg(value_enum, default_value_t, value_name = "WHAT")]
    shown: Shown,
    /// How long rates are measured
    #[arg(short, long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration_ms)]
    interval: i64,
    /// Print so many lists, and end [default where standard output is no terminal: 1]
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// Kafka's own topics too
    #[arg(long)]
    internal: bool,
}

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Shown {
    #[default]
    Topics,
    Partitions,
    Groups,
}

impl Shown {
    const ALL: [(Shown, &'static str); 3] =
        [(Shown::Topics, "Topics"), (Shown::Partitions, "Hot partitions"), (Shown::Groups, "Groups")];

    fn next(self) -> Shown {
        match self {
            Shown::Topics => Shown::Partitions,
            Shown::Partitions => Shown::Groups,
            Shown::Groups => Shown::Topics,
        }
    }
}

pub async fn run(args: &TopArgs, context: &mut Context) -> Result<(), Failure> {
    let is_on_screen = args.count.is_none() && io::stdout().is_terminal() && context.printer.is_for_people();
    let admin = context.admin().await?;
    if is_on_screen { live(args, &admin).await } else { print(args, &admin, context).await }
}

async fn print(args: &TopArgs, admin: &Admin, context: &mut Context) -> Result<(), Failure> {
    let mut before = sample(admin, args.internal).await?;
    for _ in 0..args.count.unwrap_or(1) {
        let now = next_sample(args, admin).await?;
        let view = view(&before, &now);
        let listing = match args.shown {
            Shown::Topics => Listing::of(TOPICS, &view.topics),
            Shown::Partitions => Listing::of(PARTITIONS, &view.partitions),
            Shown::Groups => Listing::of(GROUPS, &view.groups),
        };
        context.printer.listing(&listing)?;
        context.printer.flush()?;
        before = now;
    }
    Ok(())
}

fn interval(args: &TopArgs) -> Duration {
    Duration::from_millis(u64::try_from(args.interval).unwrap_or(0).max(1))
}

async fn next_sample(args: &TopArgs, admin: &Admin) -> Result<Sample, Failure> {
    tokio::time::sleep(interval(args)).await;
    sample(admin, args.internal).await
}

async fn live(args: &TopArgs, admin: &Admin) -> Result<(), Failure> {
    let is_coloured = args.global.color.is_wanted(true, variable) && args.global.color != Colour::Never;
    let mut screen = Screen::new(args.shown, is_coloured);
    let mut keys = keys();
    let (told, mut views) = mpsc::channel(1);
    let measuring = tokio::spawn(measure(admin.clone(), interval(args), args.internal, told));
    // It brings the terminal back on panics too.
    let mut terminal = ratatui::try_init()?;
    let done = loop {
        if let Err(error) = terminal.draw(|frame| screen.draw(frame)) {
            break Err(error.into());
        }
        tokio::select! {
            key = keys.recv() => match key {
                Some(Some(key)) if screen.key(key) == Asked::Quit => break Ok(()),
                // The window has another size: it is drawn anew.
                Some(_) => {}
                None => break Ok(()),
            },
            Some(measured) = views.recv() => match measured {
                Ok(view) => screen.take(view),
                Err(trouble) => screen.trouble = Some(trouble),
            },
        }
    };
    measuring.abort();
    ratatui::try_restore()?;
    done
}

/// What keys are pressed; `None` where something else happened to the terminal.
fn keys() -> mpsc::Receiver<Option<KeyEvent>> {
    let (told, keys) = mpsc::channel(100);
    // It waits for the terminal, and ends with the process.
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let key = match event {
                Event::Key(key) if key.kind == KeyEventKind::Press => Some(key),
                Event::Resize(..) => None,
                _ => continue,
            };
            if told.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

async fn measure(admin: Admin, interval: Duration, internal: bool, told: mpsc::Sender<Result<View, String>>) {
    let mut before: Option<Sample> = None;
    loop {
        let measured = match sample(&admin, internal).await {
            Ok(now) => {
                let of = before.as_ref().map(|before| view(before, &now));
                before = Some(now);
                of.map(Ok)
            }
            Err(Failure::Said(problem)) => Some(Err(problem.text)),
            Err(_) => None,
        };
        if let Some(measured) = measured
            && told.send(measured).await.is_err()
        {
            return;
        }
        tokio::time::sleep(interval).await;
    }
}
