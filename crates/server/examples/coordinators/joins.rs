//! From joining until all partitions are spread over all members.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::Client;
use crate::figures::{Figures, Watch};
use crate::options::Options;
use crate::setup::{self, Coordinates, Topic};
use crate::{Outcome, classic, consumer};

/// How often members of the classic protocol heartbeat. Those of the consumer protocol do as the broker says.
const CLASSIC_HEARTBEAT: Duration = Duration::from_millis(500);
/// A group that is not settled by then never will be.
const PATIENCE: Duration = Duration::from_secs(120);

/// How far the group is.
#[derive(Debug)]
struct Progress {
    /// What each member holds, and since when it does.
    held: RefCell<Vec<Held>>,
    partitions: usize,
    is_settled: watch::Sender<bool>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    /// The generation or epoch.
    epoch: i32,
    partitions: usize,
    after: Duration,
    heartbeats: Vec<Duration>,
}

impl Progress {
    fn note(&self, member: usize, epoch: i32, partitions: usize, after: Duration) {
        let mut held = self.held.borrow_mut();
        let fewest = self.partitions / held.len();
        if let Some(of_member) = held.get_mut(member)
            && (of_member.epoch, of_member.partitions) != (epoch, partitions)
        {
            if of_member.partitions != partitions {
                of_member.after = after;
            }
            (of_member.epoch, of_member.partitions) = (epoch, partitions);
        }
        let all = held.iter().map(|member| member.partitions).sum::<usize>();
        if all == self.partitions && held.iter().all(|of| of.epoch == epoch && of.partitions >= fewest) {
            self.is_settled.send_replace(true);
        }
    }

    fn took(&self, member: usize, heartbeat: Duration) {
        if let Some(held) = self.held.borrow_mut().get_mut(member) {
            held.heartbeats.push(heartbeat);
        }
    }

    /// Waits until the next heartbeat is due; true if the group has settled before.
    async fn settles_within(&self, wait: Duration) -> bool {
        let mut is_settled = self.is_settled.subscribe();
        timeout(wait, is_settled.wait_for(|is_settled| *is_settled)).await.is_ok()
    }
}

pub async fn run(options: &Options) -> Outcome<Figures> {
    let members = options.get("members", 100)?;
    let protocol = options.get("protocol", "consumer".to_owned())?;
    let prefix = options.prefix()?;
    let mut first = Client::connect(&options.address).await?;
    let topic =
        setup::create_topic(&mut first, format!("{prefix}-topic"), options.get("partitions", 1_000)?).await?;
    let group = format!("{prefix}-group");
    setup::find_coordinator(&mut first, Coordinates::Groups, &group).await?;
    let clients = Client::connect_all(&options.address, members).await?;
    let progress = Rc::new(progress(members, &topic)?);
    let topic = Rc::new(topic);
    let joined = match protocol.as_str() {
        "classic" => {
            let new = |client, _| classic::Member::new(client, group.clone());
            settle(options, clients, new, |number, mut member: classic::Member, watch| {
                let (topic, progress) = (Rc::clone(&topic), Rc::clone(&progress));
                async move {
                    join_classic(number, &mut member, &topic, &progress, watch).await?;
                    Ok(Settled { partitions: member.partitions.clone(), leave: Leaving::Classic(member) })
                }
            })
            .await?
        }
        "consumer" => {
            let new = |client, number| {
                consumer::Member::new(client, group.clone(), format!("{prefix}-member-{number}"))
            };
            settle(options, clients, new, |number, mut member: consumer::Member, watch| {
                let (topic, progress) = (Rc::clone(&topic), Rc::clone(&progress));
                async move {
                    join_consumer(number, &mut member, &topic, &progress, watch).await?;
                    Ok(Settled { partitions: member.partitions.clone(), leave: Leaving::Consumer(member) })
                }
            })
            .await?
        }
        other => return Err(format!("no protocol is named {other}").into()),
    };
    let figures = finish(joined, &topic, &progress).await?;
    setup::delete_topic(&mut first, &topic).await?;
    Ok(figures)
}

fn progress(members: usize, topic: &Topic) -> Outcome<Progress> {
    let partitions = usize::try_from(topic.partitions)?;
    let held = RefCell::new(vec![Held::default(); members]);
    Ok(Progress { held, partitions, is_settled: watch::Sender::new(false) })
}

/// A member of a group that has settled.
#[derive(Debug)]
struct Settled {
    partitions: Vec<i32>,
    leave: Leaving,
}

#[derive(Debug)]
enum Leaving {
    Classic(classic::Member),
    Consumer(consumer::Member),
}

#[derive(Debug)]
struct Joined {
    watch: Watch,
    elapsed: Duration,
    members: Vec<Settled>,
}

/// Lets all join at once, and waits for the last.
async fn settle<M, F>(
    options: &Options,
    clients: Vec<Client>,
    new: impl Fn(Client, usize) -> M,
    join: impl Fn(usize, M, Instant) -> F,
) -> Outcome<Joined>
where
    F: Future<Output = Outcome<Settled>> + 'static,
{
    let members: Vec<M> =
        clients.into_iter().enumerate().map(|(number, client)| new(client, number)).collect();
    let watch = Watch::start(options.pid()?)?;
    let started = Instant::now();
    let mut running = JoinSet::new();
    for (number, member) in members.into_iter().enumerate() {
        running.spawn_local(join(number, member, started));
    }
    let mut members = Vec::new();
    while let Some(ended) = timeout(PATIENCE, running.join_next()).await? {
        members.push(ended??);
    }
    let elapsed = watch.elapsed();
    Ok(Joined { watch, elapsed, members })
}

async fn join_classic(
    number: usize,
    member: &mut classic::Member,
    topic: &Topic,
    progress: &Progress,
    started: Instant,
) -> Outcome<()> {
    loop {
        member.join(topic).await?;
        progress.note(number, member.generation, member.partitions.len(), started.elapsed());
        loop {
            if progress.settles_within(CLASSIC_HEARTBEAT).await {
                return Ok(());
            }
            let sent = Instant::now();
            let is_in_generation = member.heartbeat().await?;
            progress.took(number, sent.elapsed());
            if !is_in_generation {
                break;
            }
        }
    }
}

async fn join_consumer(
    number: usize,
    member: &mut consumer::Member,
    topic: &Topic,
    progress: &Progress,
    started: Instant,
) -> Outcome<()> {
    let sent = Instant::now();
    member.join(topic).await?;
    progress.took(number, sent.elapsed());
    loop {
        progress.note(number, member.epoch, member.partitions.len(), started.elapsed());
        if !member.has_to_tell() && progress.settles_within(member.interval).await {
            return Ok(());
        }
        let sent = Instant::now();
        member.heartbeat(topic).await?;
        progress.took(number, sent.elapsed());
    }
}

/// Checks that each partition has one owner, and lets the group go.
async fn finish(joined: Joined, topic: &Topic, progress: &Progress) -> Outcome<Figures> {
    let Joined { watch, elapsed, mut members } = joined;
    let mut figures = watch.stop("member", members.len() as u64, elapsed)?;
    let mut owned: Vec<i32> = members.iter().flat_map(|member| member.partitions.iter().copied()).collect();
    owned.sort_unstable();
    if !owned.into_iter().eq(0..topic.partitions) {
        return Err("a partition has no owner, or more than one".into());
    }
    let held = progress.held.borrow().clone();
    let mut times: Vec<Duration> = held.iter().map(|held| held.after).collect();
    figures.put_times("", &mut times);
    let mut heartbeats: Vec<Duration> = held.into_iter().flat_map(|held| held.heartbeats).collect();
    figures.put("heartbeats", heartbeats.len() as f64);
    figures.put_times("heartbeat ", &mut heartbeats);
    for member in &mut members {
        match &mut member.leave {
            Leaving::Classic(member) => member.leave().await?,
            Leaving::Consumer(member) => member.leave().await?,
        }
    }
    Ok(figures)
}
