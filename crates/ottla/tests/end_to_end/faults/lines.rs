//! What the nodes' logs tell afterwards: a line for each election, fencing, change of in-sync replicas, move and truncation, with
//! what it was before, what it is now, and why.

use std::path::Path;

/// What a line says, and the fields that it has.
const LINES: &[(&str, &[&str])] = &[
    ("quorum role changed", &["node=", "from=", "to=", "from_epoch=", "epoch=", "why="]),
    ("controller changed state", &["node=", "epoch=", "from=", "to=", "why="]),
    ("broker changes state", &["broker=", "epoch=", "from=", "to=", "reason="]),
    ("electing a leader", &["topic=", "partition=", "reason=", "leader=", "leader_to=", "leader_epoch="]),
    ("the ISR shrinks", &["topic=", "partition=", "reason=", "isr=", "isr_to=", "partition_epoch="]),
    ("the ISR expands", &["topic=", "partition=", "reason=", "isr=", "isr_to=", "partition_epoch="]),
    ("beginning to move replicas", &["topic=", "partition=", "reason=", "replicas=", "adding_to="]),
    ("replicas have moved", &["topic=", "partition=", "reason=", "replicas=", "replicas_to="]),
    (
        "truncates its log",
        &["partition=", "reason=", "end=", "end_to=", "epoch=", "epoch_to=", "high_watermark="],
    ),
];

/// Each kind is there in the log of some node, and every such line is whole.
pub fn check(homes: impl Iterator<Item = impl AsRef<Path>>) {
    let logs: Vec<String> =
        homes.map(|home| std::fs::read_to_string(home.as_ref().join("ottla.log")).unwrap()).collect();
    for (what, fields) in LINES {
        let lines: Vec<&str> = logs
            .iter()
            .flat_map(|log| log.lines())
            .filter(|line| line.contains(&format!(": {what} ")))
            .collect();
        assert!(!lines.is_empty(), "no node has told that: {what}");
        for line in lines {
            let missing = fields.iter().find(|field| !line.contains(&format!(" {field}")));
            assert!(missing.is_none(), "it lacks {missing:?}: {line}");
        }
    }
}
