"""Load."""

import json

from harness import equal, matches
from subject import case, end_offsets, tools, topic


@case
def perf_tests():
    """perf: producer-perf-test and consumer-perf-test"""
    topic("x-perf", "--partitions", 4)
    out = tools("kafka-producer-perf-test", "--topic", "x-perf", "--num-records", 50_000, "--record-size", 200, "--throughput", -1, "--command-property", "acks=all", "compression.type=lz4").out
    matches(out, r"^50000 records sent, [\d.]+ records/sec")
    equal(sum(end_offsets("x-perf").values()), 50_000)
    rows = tools("kafka-consumer-perf-test", "--topic", "x-perf", "--num-records", 50_000, "--timeout", 90_000).lines
    equal(rows[-1].split(", ")[4], "50000")


@case
def latency():
    """perf: e2e-latency"""
    topic("x-e2e")
    out = tools("kafka-e2e-latency", "--topic", "x-e2e", "--num-records", 200, "--producer-acks", "all", "--record-size", 100).out
    matches(out, r"^Avg latency: [\d.]+ ms", r"^Percentiles: 50th = \d+")


def events(outcome, name):
    parsed = [json.loads(line) for line in outcome.lines if line.startswith("{")]
    return [event for event in parsed if event["name"] == name]


@case
def verifiable_clients():
    """verifiable: producer and consumer agree"""
    topic("x-verify", "--partitions", 3)
    sent = events(tools.alone("kafka-verifiable-producer", "--topic", "x-verify", "--max-messages", 300, "--acks", "-1"), "producer_send_success")
    equal(sorted(int(event["value"]) for event in sent), list(range(300)))
    consumed = tools("kafka-verifiable-consumer", "--topic", "x-verify", "--group-id", "g-verify", "--max-messages", 300, "--reset-policy", "earliest")
    equal(sum(p["maxOffset"] - p["minOffset"] + 1 for event in events(consumed, "records_consumed") for p in event["partitions"]), 300)
    assert all(event["success"] for event in events(consumed, "offsets_committed"))
    equal(len(events(consumed, "partitions_assigned")[0]["partitions"]), 3)
