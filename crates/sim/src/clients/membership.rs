//! Who a client is in a group whose members are given partitions by the broker: one member after the other, and what the
//! run hears of them.

use ottla_types::{MonoMs, Uuid};
use ottla_wire::ErrorCode;

use super::{World, is_retriable};
use crate::event::{Event, GroupEvent, Protocol};

/// See the module.
#[derive(Debug)]
pub(super) struct Membership {
    protocol: Protocol,
    pub group: String,
    /// Of the client, whichever member it is.
    pub name: String,
    lives: u32,
    pub member_id: String,
    /// Its coordinator is known.
    pub found: bool,
    /// 0 while it is no member.
    pub epoch: i32,
    next_beat: MonoMs,
}

impl Membership {
    pub fn new(protocol: Protocol, group: &str, name: &str) -> Membership {
        let mut membership = Membership {
            protocol,
            group: group.to_owned(),
            name: name.to_owned(),
            lives: 0,
            member_id: String::new(),
            found: false,
            epoch: 0,
            next_beat: MonoMs(0),
        };
        membership.live_again();
        membership
    }

    /// It is another member from now on.
    pub fn live_again(&mut self) {
        self.lives += 1;
        self.member_id = format!("{}-{}", self.name, self.lives);
    }

    pub fn is_member(&self) -> bool {
        self.epoch > 0
    }

    pub fn is_beat_due(&self, world: &World<'_>) -> bool {
        world.mono() >= self.next_beat || self.epoch == 0
    }

    /// Its next heartbeat is due then.
    pub fn beat_in_ms(&mut self, ms: i64, world: &World<'_>) {
        self.next_beat = world.mono().plus_ms(ms);
    }

    pub fn tell(&self, event: GroupEvent, world: &mut World<'_>) {
        world.events.push(Event::Group(event));
    }

    /// It is about to send a heartbeat.
    pub fn tell_if_joining(&self, world: &mut World<'_>) {
        if self.epoch == 0 {
            let event = GroupEvent::Joining {
                protocol: self.protocol,
                group: self.group.clone(),
                client: self.name.clone(),
                wanted: world.topics.partitions(),
            };
            self.tell(event, world);
        }
    }

    /// What it has in this epoch.
    pub fn tell_assigned(&self, owned: impl Iterator<Item = (Uuid, i32)>, world: &mut World<'_>) {
        let partitions = owned.filter_map(|(id, number)| world.topics.partition(id, number));
        let event = GroupEvent::Assigned {
            group: self.group.clone(),
            client: self.name.clone(),
            member: self.member_id.clone(),
            epoch: self.epoch,
            partitions: partitions.collect(),
        };
        self.tell(event, world);
    }

    pub fn tell_fenced(&self, code: i16, world: &mut World<'_>) {
        let (group, client) = (self.group.clone(), self.name.clone());
        self.tell(GroupEvent::Fenced { group, client, code }, world);
    }

    /// It is no member any more.
    pub fn be_out(&mut self, world: &mut World<'_>) {
        self.epoch = 0;
        self.next_beat = MonoMs(0);
        let (group, client) = (self.group.clone(), self.name.clone());
        self.tell(GroupEvent::Out { group, client }, world);
    }

    /// Whether the same may be asked again after an error, maybe of another coordinator.
    pub fn may_ask_again(&mut self, code: i16) -> bool {
        let is_elsewhere = [ErrorCode::NotCoordinator, ErrorCode::CoordinatorNotAvailable];
        self.found &= !is_elsewhere.iter().any(|elsewhere| elsewhere.code() == code);
        is_retriable(code)
    }
}
