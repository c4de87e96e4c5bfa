"""The broker and the cluster."""

import json
import os
import re

from harness import contains, equal, matches
from subject import EXPECTED, broker, case, fails, like_expected, produce, tools, topic


@case
def log_dirs():
    """log-dirs: sizes of partitions by directory"""
    topic("d-dirs", "--partitions", 2)
    produce("d-dirs", "some bytes\n")
    out = tools("kafka-log-dirs", "--describe", "--topic-list", "d-dirs", "--broker-list", "1").lines
    answer = json.loads(out[-1])
    (entry,) = answer["brokers"][0]["logDirs"]
    equal((entry["error"], entry["logDir"]), (None, str(broker.data)))
    sizes = {p["partition"]: p["size"] for p in entry["partitions"]}
    equal(sorted(sizes), ["d-dirs-0", "d-dirs-1"])
    equal(sum(sizes.values()), sum(path.stat().st_size for path in broker.data.glob("d-dirs-*/*.log")))


@case
def features():
    """features: describe shows 4.3.1's levels"""
    out = tools("kafka-features", "describe").out
    levels = {m[1]: m[2] for m in re.finditer(r"^Feature: (\S+)\s.*FinalizedVersionLevel: (\S+)", out, re.MULTILINE)}
    expected = {
        "eligible.leader.replicas.version": "1",
        "group.version": "1",
        "kraft.version": "0",
        "metadata.version": "4.3-IV0",
        "share.version": "1",
        "streams.version": "1",
        "transaction.version": "2",
    }
    equal(levels, expected)


@case
def api_versions():
    """broker-api-versions: each one that is served is served as by Apache Kafka"""
    out = tools("kafka-broker-api-versions").out
    contains(out, f"{broker.bootstrap} (id: 1 rack: null isFenced: false) -> (")
    served = re.findall(r"^\t(\w+\(\d+\): \d[^\[]*)\[", out, re.MULTILINE)
    if broker.kind == "kafka" and os.environ.get("UPDATE"):
        like_expected("api-versions.txt", "\n".join(served) + "\n")
    expected = (EXPECTED / "api-versions.txt").read_text().splitlines()
    equal([line for line in served if line not in expected], [])
    assert len(served) >= 30, served


@case
def quorum():
    """metadata-quorum: status and replication"""
    matches(
        tools("kafka-metadata-quorum", "describe", "--status").out,
        r"^ClusterId:\s+\S{22}$",
        r"^LeaderId:\s+1$",
        r"^LeaderEpoch:\s+\d+$",
        r"^HighWatermark:\s+\d+$",
        r"^MaxFollowerLag:\s+0$",
        rf'^CurrentVoters:\s+\[{{"id": 1, .*"endpoints": \["CONTROLLER://127.0.0.1:{broker.port + 1}"\]}}\]$'.replace('1, .*', '1, (?:"directoryId": "[^"]+", )?'),
        r"^CurrentObservers:\s+\[\]$",
    )
    matches(tools("kafka-metadata-quorum", "describe", "--replication").out, r"^1\s+\S{22}\s+\d+\s+0\s+\d{13}\s+\d{13}\s+Leader")


@case
def cluster():
    """cluster: id and endpoints"""
    matches(tools("kafka-cluster", "cluster-id").out, r"^Cluster ID: \S{22}$")
    matches(tools("kafka-cluster", "list-endpoints").out, rf"^1\s+127.0.0.1\s+{broker.port}\s+null\s+unfenced\s+broker")


@case
def leader_election():
    """leader-election: preferred and unclean where nothing is to do"""
    topic("l-elect")
    one = ["--topic", "l-elect", "--partition", 0]
    tools("kafka-leader-election", "--election-type", "preferred", "--all-topic-partitions")
    contains(tools("kafka-leader-election", "--election-type", "preferred", *one).out, "Valid replica already elected for partitions l-elect-0")
    contains(tools("kafka-leader-election", "--election-type", "unclean", *one).out, "Valid replica already elected for partitions l-elect-0")
    fails(tools.run("kafka-leader-election", "--election-type", "preferred", "--topic", "l-nope", "--partition", 0), "l-nope")
