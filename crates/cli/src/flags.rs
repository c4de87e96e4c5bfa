//! Flags that several commands have.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::cluster_view::Chosen;
use crate::completion;

/// Of what is shown before it is done.
#[derive(Args, Clone, Copy, Debug)]
pub struct Doing {
    /// Do it, instead of showing what would be done
    #[arg(long)]
    pub execute: bool,
}

/// Of what may be about some topics or partitions alone.
#[derive(Args, Clone, Debug)]
pub struct Chosens {
    /// Only this topic, or some of its partitions as in orders:0,2; may be repeated
    #[arg(short, long = "topic", value_name = "TOPIC", value_parser = Chosen::parse, add = ArgValueCompleter::new(completion::topics))]
    pub topics: Vec<Chosen>,
}
