"""Offsets and records."""

import json

from harness import contains, equal
from subject import case, consume, end_offsets, produce, scratch_file, tools, topic


@case
def get_offsets():
    """get-offsets: every special time"""
    topic("o-times", "--partitions", 2)
    produce("o-times", "".join(f"k:{i}\n" for i in range(5)), "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    (full,) = [p for p, end in end_offsets("o-times").items() if end]
    empty = 1 - full
    delete_before("o-times", full, 2)
    for time, expected in [
        ("-1", {full: 5, empty: 0}),
        ("latest", {full: 5, empty: 0}),
        ("earliest", {full: 2, empty: 0}),
        ("max-timestamp", {full: 4}),
        ("earliest-local", {full: 2, empty: 0}),
        ("latest-tiered", {}),
        ("earliest-pending-upload", {}),
        ("0", {full: 2}),
        ("99999999999999", {}),
    ]:
        actual = {partition: offset for partition, offset in end_offsets("o-times", time).items()}
        # Equal timestamps may put the maximum at any of the records that have it, also below the log start within a batch.
        if time == "max-timestamp" and actual.get(full) in range(5):
            actual[full] = 4
        equal(actual, expected, time)
    equal(tools("kafka-get-offsets", "--topic-partitions", f"o-times:{full}").lines, [f"o-times:{full}:5"])
    contains(tools("kafka-get-offsets", "--exclude-internal-topics").out, f"o-times:{full}:5")


def delete_before(name, partition, offset):
    request = {"version": 1, "partitions": [{"topic": name, "partition": partition, "offset": offset}]}
    return tools("kafka-delete-records", "--offset-json-file", scratch_file("delete.json", json.dumps(request)))


@case
def delete_records():
    """delete-records: up to an offset, up to the end, beyond it"""
    topic("o-delete")
    produce("o-delete", "".join(f"{i}\n" for i in range(6)))
    contains(delete_before("o-delete", 0, 4).out, "partition: o-delete-0\tlow_watermark: 4")
    equal(consume("o-delete", "--from-beginning", count=2), ["4", "5"])
    contains(delete_before("o-delete", 0, -1).out, "partition: o-delete-0\tlow_watermark: 6")
    equal(end_offsets("o-delete", "earliest"), {0: 6})
    contains(delete_before("o-delete", 0, 100).text, "OffsetOutOfRange")
