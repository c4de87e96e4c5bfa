//! A property of one node that a cluster has too: for its clients the cluster is one node, whose logs are those of the newest
//! leaders.

use super::ClusterProperty;
use crate::cluster::observation::Look;
use crate::event::Event;
use crate::properties::Property;

#[derive(Debug)]
pub(super) struct OfLeaders(pub Box<dyn Property>);

impl ClusterProperty for OfLeaders {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn heard(&mut self, event: &Event) -> Result<(), String> {
        self.0.on(event)
    }

    fn looked_through(&mut self, look: &Look) -> Result<(), String> {
        self.0.on(&Event::Files { logs: look.led.clone() })
    }

    fn ended(&mut self, look: &Look) -> Result<(), String> {
        self.0.on(&Event::End { logs: look.led.clone() })
    }

    fn unsettled(&self) -> Option<String> {
        self.0.unsettled()
    }
}
