//! Members who heartbeat and have nothing else to say.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Outcome;
use crate::client::Client;
use crate::consumer::Member;
use crate::figures::Figures;
use crate::options::Options;
use crate::pace::{Act, Pace};
use crate::setup::{self, Coordinates, Topic};

/// Members that are not assigned anything by then never will be.
const PATIENCE: Duration = Duration::from_secs(120);

struct Heart {
    member: Member,
    topic: Rc<Topic>,
}

impl Act for Heart {
    async fn act(&mut self) -> Outcome<()> {
        self.member.heartbeat(&self.topic).await
    }
}

/// `rate` -1 is what the broker asks for.
pub async fn run(options: &Options) -> Outcome<Figures> {
    let (groups, members) = (options.get("groups", 1_000_usize)?, options.get("members", 1_usize)?);
    let (rate, seconds, pid) = (options.get("rate", -1.0)?, options.seconds()?, options.pid()?);
    let prefix = options.prefix()?;
    let mut first = Client::connect(&options.address).await?;
    let each = options.get("partitions", 1_usize)?;
    let partitions = i32::try_from(each * members)?;
    let unsettled = Rc::new(Cell::new(groups * members));
    let topic = Rc::new(setup::create_topic(&mut first, format!("{prefix}-topic"), partitions).await?);
    setup::find_coordinator(&mut first, Coordinates::Groups, &prefix).await?;
    let mut joining = JoinSet::new();
    for group in 0..groups {
        for (number, client) in Client::connect_all(&options.address, members).await?.into_iter().enumerate()
        {
            let group = format!("{prefix}-group-{group}");
            let member = Member::new(client, group, format!("{prefix}-member-{number}"));
            let heart = Heart { member, topic: Rc::clone(&topic) };
            joining.spawn_local(settled(heart, each, Rc::clone(&unsettled)));
        }
    }
    let mut hearts = Vec::new();
    while let Some(heart) = timeout(PATIENCE, joining.join_next()).await? {
        hearts.push(heart??);
    }
    let interval_s = hearts.first().map_or(1.0, |heart: &Heart| heart.member.interval.as_secs_f64());
    let rate = if rate < 0.0 { hearts.len() as f64 / interval_s } else { rate };
    Pace { seconds, rate, pid }.run("heartbeat", hearts).await
}

/// Joins, and heartbeats until everybody has an equal part of what their group subscribes to.
async fn settled(mut heart: Heart, fair: usize, unsettled: Rc<Cell<usize>>) -> Outcome<Heart> {
    heart.member.join(&heart.topic).await?;
    let mut is_settled = false;
    while unsettled.get() > 0 {
        let has_part = heart.member.partitions.len() == fair && !heart.member.has_to_tell();
        if has_part != is_settled {
            is_settled = has_part;
            unsettled.set(if is_settled { unsettled.get() - 1 } else { unsettled.get() + 1 });
            continue;
        }
        if !heart.member.has_to_tell() {
            sleep(heart.member.interval).await;
        }
        heart.act().await?;
    }
    Ok(heart)
}
