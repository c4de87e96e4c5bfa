"""Topics."""

import re

from harness import contains, equal, eventually, matches
from subject import case, consume, end_offsets, fails, lacks, produce, tools, topic


@case
def create_topic():
    """topics: create with partitions and settings, describe"""
    topic("t-create", "--partitions", 3, "--config", "retention.ms=1000000", "--config", "cleanup.policy=compact")
    out = tools("kafka-topics", "--describe", "--topic", "t-create").out
    matches(
        out,
        r"^Topic: t-create\tTopicId: [\w-]{22}\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: .*retention.ms=1000000",
        r"Configs: .*cleanup.policy=compact",
        r"^\tTopic: t-create\tPartition: 2\tLeader: 1\tReplicas: 1\tIsr: 1\tElr: ?\tLastKnownElr: ?$",
    )


@case
def create_again():
    """topics: create again fails, with --if-not-exists it does not"""
    topic("t-again")
    fails(tools.run("kafka-topics", "--create", "--topic", "t-again"), "Topic 't-again' already exists.")
    tools("kafka-topics", "--create", "--topic", "t-again", "--if-not-exists")


@case
def create_refused():
    """topics: what can't be created says why"""
    for options, reason in [
        (["--topic", "a b"], "contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"),
        (["--topic", "x" * 250], "249"),
        (["--topic", ".."], "Topic name is invalid"),
        (["--topic", "t-refused", "--config", "no.such=1"], "Unknown topic config name: no.such"),
        (["--topic", "t-refused", "--config", "retention.ms=x"], "Invalid value x for configuration retention.ms: Not a number of type LONG"),
        (["--topic", "t-refused", "--config", "cleanup.policy=keep"], "Invalid value keep for configuration cleanup.policy"),
        (["--topic", "t-refused", "--replication-factor", 2], "The target replication factor of 2 cannot be reached because only 1 broker(s) are registered"),
        (["--topic", "t-refused", "--partitions", 0], "partitions"),
    ]:
        fails(tools.run("kafka-topics", "--create", *options), reason)
    assert "t-refused" not in tools("kafka-topics", "--list").out


@case
def colliding_names():
    """topics: names that differ in . and _ only collide"""
    topic("t-col.x")
    fails(tools.run("kafka-topics", "--create", "--topic", "t-col_x"), "Topic 't-col_x' collides with existing topic: t-col.x")


@case
def replica_assignment():
    """topics: create with a replica assignment"""
    topic("t-assigned", "--replica-assignment", "1,1")
    contains(tools("kafka-topics", "--describe", "--topic", "t-assigned").out, "PartitionCount: 2")


@case
def list_topics():
    """topics: list, with a pattern and without internal topics"""
    topic("t-list-1")
    topic("t-list-2")
    equal(tools("kafka-topics", "--list", "--topic", "t-list-.*").lines, ["t-list-1", "t-list-2"])
    produce("t-list-1", "the group's offset\n")
    consume("t-list-1", "--from-beginning", "--group", "g-list", count=1)
    contains(tools("kafka-topics", "--list").out, "__consumer_offsets", "t-list-1")
    assert "__consumer_offsets" not in tools("kafka-topics", "--list", "--exclude-internal").out


@case
def describe_selections():
    """topics: describe by state and by id"""
    topic("t-sel", "--config", "segment.bytes=2000000")
    one = ["--describe", "--topic", "t-sel"]
    contains(tools("kafka-topics", *one, "--topics-with-overrides").out, "segment.bytes=2000000")
    contains(tools("kafka-topics", *one, "--at-min-isr-partitions").out, "Partition: 0")
    for state in ("--under-replicated-partitions", "--unavailable-partitions", "--under-min-isr-partitions"):
        equal(tools("kafka-topics", *one, state).out.strip(), "")
    identifier = re.search(r"TopicId: (\S+)", tools("kafka-topics", *one).out)[1]
    contains(tools("kafka-topics", "--describe", "--topic-id", identifier).out, "Topic: t-sel")
    fails(tools.run("kafka-topics", "--describe", "--topic", "t-nope"), "Topic 't-nope' does not exist as expected")


@case
def describe_in_pages():
    """topics: describe many partitions in pages of a cursor"""
    topic("t-pages", "--partitions", 25)
    out = tools("kafka-topics", "--describe", "--topic", "t-pages", "--partition-size-limit-per-response", 4).out
    equal(sorted(map(int, re.findall(r"\tPartition: (\d+)", out))), list(range(25)))


@case
def add_partitions():
    """topics: more partitions, never fewer"""
    topic("t-grow", "--partitions", 2)
    tools("kafka-topics", "--alter", "--topic", "t-grow", "--partitions", 5)
    eventually(lambda: contains(tools("kafka-topics", "--describe", "--topic", "t-grow").out, "PartitionCount: 5", "Partition: 4"))
    fails(tools.run("kafka-topics", "--alter", "--topic", "t-grow", "--partitions", 2), "The topic t-grow currently has 5 partition(s); 2 would not be an increase.")
    fails(tools.run("kafka-topics", "--alter", "--topic", "t-grow", "--partitions", 5), "already has 5 partition(s)")
    fails(tools.run("kafka-topics", "--alter", "--topic", "t-nope", "--partitions", 5), "does not exist")
    tools("kafka-topics", "--alter", "--topic", "t-nope", "--partitions", 5, "--if-exists")


@case
def delete_topic():
    """topics: delete, and the name is free again with a new id"""
    topic("t-del")
    produce("t-del", "old\n")
    before = re.search(r"TopicId: (\S+)", tools("kafka-topics", "--describe", "--topic", "t-del").out)[1]
    tools("kafka-topics", "--delete", "--topic", "t-del")
    eventually(lambda: lacks(tools("kafka-topics", "--list").lines, "t-del"))
    fails(tools.run("kafka-topics", "--delete", "--topic", "t-del"), "Topic 't-del' does not exist as expected")
    tools("kafka-topics", "--delete", "--topic", "t-del", "--if-exists")
    topic("t-del")
    after = re.search(r"TopicId: (\S+)", tools("kafka-topics", "--describe", "--topic", "t-del").out)[1]
    assert before != after
    eventually(lambda: equal(end_offsets("t-del"), {0: 0}))


@case
def created_by_producing():
    """topics: producing to a new name creates it"""
    produce("t-auto", "hello\n")
    equal(consume("t-auto", "--from-beginning", count=1), ["hello"])
