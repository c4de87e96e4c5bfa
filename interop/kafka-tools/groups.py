"""Groups of all kinds."""

import re

from configs import configs
from harness import contains, equal, eventually, matches
from kafka_tools import Tools
from subject import broker, case, consume, end_offsets, fails, lacks, offsets, produce, scratch_file, shown, shown_like_expected, table, tools, topic


def group_with_offsets(name, records=4):
    """A group without members that has read the single partition of a topic of the same name to its end."""
    topic(name)
    produce(name, "".join(f"{i}\n" for i in range(records)))
    equal(len(consume(name, "--from-beginning", "--group", name, count=records)), records)
    eventually(lambda: equal(state_of(name), "Empty"))
    return name


def state_of(group):
    out = tools.run("kafka-consumer-groups", "--describe", "--group", group, "--state").out
    found = re.search(r"\s(Empty|Stable|Dead|PreparingRebalance|CompletingRebalance)\s", out)
    return found[1] if found else None


@case
def list_groups():
    """groups: list, with states and types"""
    group_with_offsets("g-list-x")
    contains(tools("kafka-consumer-groups", "--list").out, "g-list-x")
    matches(tools("kafka-consumer-groups", "--list", "--state").out, r"^g-list-x\s+Empty")
    matches(tools("kafka-consumer-groups", "--list", "--state", "empty").out, r"^g-list-x\s+Empty")
    matches(tools("kafka-consumer-groups", "--list", "--type").out, r"^g-list-x\s+Classic")
    matches(tools("kafka-groups", "--list").out, r"^GROUP\s+TYPE\s+PROTOCOL", r"^g-list-x\s+Classic\s+consumer")


@case
def describe_empty_group():
    """groups: describe one without members"""
    group_with_offsets("g-empty")
    produce("g-empty", "more\n")
    outcome = tools("kafka-consumer-groups", "--describe", "--group", "g-empty")
    contains(outcome.err, "Consumer group 'g-empty' has no active members.")
    (row,) = table(outcome)
    equal((row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"], row["CONSUMER-ID"]), ("4", "5", "1", "-"))
    matches(tools("kafka-consumer-groups", "--describe", "--group", "g-empty", "--state").out, rf"^g-empty\s+{re.escape(broker.bootstrap)}\s+\(1\)\s+-?\s+Empty\s+0")
    fails(tools.run("kafka-consumer-groups", "--describe", "--group", "g-nobody"), "g-nobody")


@case
def describe_live_group():
    """groups: describe one with a member, and what it forbids"""
    topic("g-live", "--partitions", 2)
    with Tools(broker.bootstrap) as other:
        other.begin("kafka-console-consumer", "--topic", "g-live", "--group", "g-live", "--from-beginning", "--max-messages", 1, "--timeout-ms", 600_000, timeout_s=900)
        eventually(lambda: equal(state_of("g-live"), "Stable"))
        matches(tools("kafka-consumer-groups", "--describe", "--group", "g-live", "--state").out, r"range\s+Stable\s+1")
        out = tools("kafka-consumer-groups", "--describe", "--group", "g-live", "--members", "--verbose").out
        matches(out, r"^g-live\s+console-consumer-\S+\s+/127.0.0.1\s+console-consumer\s+2\s+.*g-live:0,1")
        fails(tools.run("kafka-consumer-groups", "--reset-offsets", "--group", "g-live", "--topic", "g-live", "--to-earliest", "--execute"), "current state is Stable")
        fails(tools.run("kafka-consumer-groups", "--delete", "--group", "g-live"), "GroupNotEmptyException")
        fails(tools.run("kafka-consumer-groups", "--delete-offsets", "--group", "g-live", "--topic", "g-live"), "g-live")
        produce("g-live", "the consumer ends with this\n")
        other.end()


@case
def describe_consumer_protocol():
    """groups: one of the consumer protocol, described, listed, reset and deleted"""
    topic("g-848", "--partitions", 2)
    with Tools(broker.bootstrap) as other:
        ends = ["--max-messages", 1, "--timeout-ms", 600_000]
        other.begin("kafka-console-consumer", "--topic", "g-848", "--group", "g-848", "--consumer-property", "group.protocol=consumer", "--from-beginning", *ends, timeout_s=900)
        eventually(lambda: equal(state_of("g-848"), "Stable"))
        matches(tools("kafka-consumer-groups", "--describe", "--group", "g-848", "--state").out, r"uniform\s+Stable\s+1")
        matches(tools("kafka-consumer-groups", "--describe", "--group", "g-848", "--state", "--verbose").out, r"uniform\s+Stable\s+(\d+)\s+\1\s+1")
        out = tools("kafka-consumer-groups", "--describe", "--group", "g-848", "--members", "--verbose").out
        matches(out, r"^g-848\s+\S+\s+/127.0.0.1\s+console-consumer\s+2\s+(\d+)\s+g-848:0,1\s+\1\s+g-848:0,1")
        matches(tools("kafka-consumer-groups", "--list", "--type", "consumer").out, r"^g-848\s+Consumer")
        matches(tools("kafka-groups", "--list", "--group-type", "consumer").out, r"^g-848\s+Consumer\s+consumer")
        matches(tools("kafka-groups", "--list", "--consumer").out, r"^g-848\s+Consumer\s+consumer")
        fails(tools.run("kafka-consumer-groups", "--reset-offsets", "--group", "g-848", "--topic", "g-848", "--to-earliest", "--execute"), "current state is Stable")
        fails(tools.run("kafka-consumer-groups", "--delete", "--group", "g-848"), "GroupNotEmptyException")
        produce("g-848", "the consumer ends with this\n")
        other.end()
    eventually(lambda: equal(state_of("g-848"), "Empty"))
    produce("g-848", "another\n")
    tools("kafka-consumer-groups", "--reset-offsets", "--group", "g-848", "--topic", "g-848", "--to-latest", "--execute")
    equal(sum(int(offset) for offset in offsets("g-848").values()), 2)
    tools("kafka-configs", "--alter", "--entity-type", "groups", "--entity-name", "g-848", "--add-config", "consumer.session.timeout.ms=50000")
    eventually(lambda: contains(tools("kafka-configs", "--describe", "--entity-type", "groups", "--entity-name", "g-848").out, "consumer.session.timeout.ms=50000"))
    contains(tools("kafka-consumer-groups", "--delete", "--group", "g-848").out, "Deletion of requested consumer groups ('g-848') was successful.")


def share(group, *options):
    return tools("kafka-share-groups", *options, "--group", group)


def share_offsets(group, of="LAG"):
    """The lag by partition: where a group starts is written with its next change only."""
    rows = table(share(group, "--describe"))
    return {(row["TOPIC"], int(row["PARTITION"])): row[of] for row in rows}


def shared(name, records=4):
    """A share group that begins at the start of a topic of the same name."""
    topic(name)
    produce(name, "".join(f"{i}\n" for i in range(records)))
    one = ["--entity-type", "groups", "--entity-name", name]
    configs(*one, "--alter", "--add-config", "share.auto.offset.reset=earliest")
    eventually(lambda: contains(configs(*one, "--describe").out, "share.auto.offset.reset=earliest"))
    return name


def take(name, count, *options):
    return tools("kafka-console-share-consumer", "--topic", name, "--group", name, "--max-messages", count, "--timeout-ms", 90_000, *options).lines


@case
def console_share_consumer():
    """share groups: the console consumer accepts, releases and rejects"""
    shared("s-console")
    delivery = ("--formatter-property", "print.delivery=true")
    equal(take("s-console", 1, "--release", *delivery), ["Delivery:1\t0"])
    equal(take("s-console", 1, "--reject", *delivery), ["Delivery:2\t0"])
    equal(take("s-console", 3), ["1", "2", "3"])
    eventually(lambda: equal(share_offsets("s-console"), {("s-console", 0): "0"}))


@case
def list_share_groups():
    """share groups: list, with states, also among all groups"""
    take(shared("s-list"), 4)
    contains(tools("kafka-share-groups", "--list").out, "s-list")
    eventually(lambda: matches(tools("kafka-share-groups", "--list", "--state").out, r"^s-list\s+Empty"))
    matches(tools("kafka-share-groups", "--list", "--state", "Empty").out, r"^s-list\s+Empty")
    assert "s-list" not in tools("kafka-share-groups", "--list", "--state", "Stable").out
    matches(tools("kafka-groups", "--list").out, r"^s-list\s+Share\s+share")
    matches(tools("kafka-groups", "--list", "--share").out, r"^s-list\s+Share\s+share")
    matches(tools("kafka-groups", "--list", "--group-type", "share").out, r"^s-list\s+Share\s+share")
    assert "s-list" not in tools("kafka-consumer-groups", "--list").lines


@case
def describe_share_group():
    """share groups: describe one with a member and without, and what it forbids"""
    shared("s-live")
    with Tools(broker.bootstrap) as other:
        other.begin("kafka-console-share-consumer", "--topic", "s-live", "--group", "s-live", "--max-messages", 5, "--timeout-ms", 600_000, timeout_s=900)
        eventually(lambda: matches(share("s-live", "--describe", "--state").out, r"^s-live\s+\S+\s+\(1\)\s+Stable\s+1"))
        eventually(lambda: matches(share("s-live", "--describe", "--members", "--verbose").out, r"^s-live\s+\S{22}\s+/127.0.0.1\s+console-share-consumer\s+1\s+\d+\s+s-live:0"))
        fails(tools.run("kafka-share-groups", "--reset-offsets", "--group", "s-live", "--topic", "s-live", "--to-earliest", "--execute"), "s-live")
        fails(tools.run("kafka-share-groups", "--delete", "--group", "s-live"), "GroupNotEmptyException")
        produce("s-live", "the consumer ends with this\n")
        other.end()
    eventually(lambda: matches(share("s-live", "--describe", "--state").out, r"^s-live\s+\S+\s+\(1\)\s+Empty\s+0"))
    eventually(lambda: equal(share_offsets("s-live"), {("s-live", 0): "0"}))
    fails(tools.run("kafka-share-groups", "--describe", "--group", "s-nobody"), "s-nobody")


@case
def change_share_group_offsets():
    """share groups: offsets reset and deleted, the group deleted"""
    take(shared("s-change"), 4)
    eventually(lambda: equal(share_offsets("s-change"), {("s-change", 0): "0"}))
    one = ["--reset-offsets", "--topic", "s-change"]
    share("s-change", *one, "--to-earliest", "--dry-run")
    equal(share_offsets("s-change"), {("s-change", 0): "0"})
    for how, expected in ((["--to-earliest"], "0"), (["--to-latest"], "4"), (["--to-datetime", "2020-01-01T00:00:00.000"], "0")):
        matches(share("s-change", *one, *how, "--execute").out, rf"^s-change\s+s-change\s+0\s+{expected}$")
        eventually(lambda: equal(share_offsets("s-change", "START-OFFSET"), {("s-change", 0): expected}))
    equal(take("s-change", 4), ["0", "1", "2", "3"])
    eventually(lambda: equal(share_offsets("s-change"), {("s-change", 0): "0"}))
    matches(share("s-change", "--delete-offsets", "--topic", "s-change").out, r"^s-change\s+Successful")
    eventually(lambda: lacks(tools("kafka-share-groups", "--describe", "--group", "s-change").out, "s-change  "))
    contains(share("s-change", "--delete").out, "Deletion of requested share groups ('s-change') was successful.")
    eventually(lambda: lacks(tools("kafka-share-groups", "--list").lines, "s-change"))
    fails(tools.run("kafka-share-groups", "--delete", "--group", "s-change"), "Group 's-change' is not a share group.")


@case
def dead_letters():
    """share groups: dead letters, set up as docs/groups.md says"""
    if broker.kind == "kafka":
        return  # 4.3.1 has none yet
    shared("s-dead")
    topic("dlq.s-dead")
    set_of = lambda kind, name, *settings: configs("--alter", "--entity-type", kind, "--entity-name", name, "--add-config", ",".join(settings))
    set_of("topics", "dlq.s-dead", "errors.deadletterqueue.group.enable=true")
    set_of("groups", "s-dead", "errors.deadletterqueue.topic.name=dlq.s-dead", "errors.deadletterqueue.copy.record.enable=true")
    eventually(lambda: contains(configs("--describe", "--entity-type", "groups", "--entity-name", "s-dead").out, "errors.deadletterqueue.topic.name=dlq.s-dead"))
    equal(take("s-dead", 1, "--reject"), ["0"])
    (letter,) = consume("dlq.s-dead", "--from-beginning", "--formatter-property", "print.headers=true", count=1)
    says = {"topic": "s-dead", "partition": 0, "offset": 0, "group": "s-dead", "delivery.count": 1, "message": "Offset rejected by client."}
    equal(letter, ",".join(f"__dlq.errors.{name}:{value}" for name, value in says.items()) + "\t0")
    equal(take("s-dead", 3), ["1", "2", "3"])
    equal(end_offsets("dlq.s-dead"), {0: 1})


def reset(group, *how, execute=True):
    return tools("kafka-consumer-groups", "--reset-offsets", "--group", group, *how, "--execute" if execute else "--dry-run")


@case
def reset_offsets():
    """groups: offsets reset to every kind of position"""
    group = group_with_offsets("g-reset")
    one = ["--topic", "g-reset"]
    position = lambda: offsets(group)[("g-reset", 0)]
    for how, expected in [
        (["--to-earliest"], "0"),
        (["--to-offset", 3], "3"),
        (["--shift-by", -2], "1"),
        (["--shift-by", 100], "4"),
        (["--to-datetime", "2020-01-01T00:00:00.000"], "0"),
        (["--to-datetime", "2120-01-01T00:00:00.000"], "4"),
        (["--by-duration", "PT1H"], "0"),
        (["--to-latest"], "4"),
        (["--to-current"], "4"),
    ]:
        reset(group, *one, *how)
        equal(position(), expected, " ".join(map(str, how)))
    reset(group, *one, "--to-earliest", execute=False)
    equal(position(), "4", "a dry run changes nothing")
    reset(group, "--all-topics", "--to-offset", 2)
    equal(position(), "2", "all topics")
    reset(group, "--topic", "g-reset:0", "--to-earliest")
    equal(position(), "0", "one partition")


@case
def reset_from_file():
    """groups: offsets exported and reset from the file"""
    group = group_with_offsets("g-file")
    exported = tools("kafka-consumer-groups", "--reset-offsets", "--group", group, "--topic", "g-file", "--to-offset", 1, "--export", "--dry-run").out
    equal(exported.split(), ["g-file,0,1"])
    reset(group, "--from-file", scratch_file("offsets.csv", '"g-file",0,2\n'))
    equal(offsets(group)[("g-file", 0)], "2")


@case
def reset_creates_group():
    """groups: resetting makes a group that was not there"""
    topic("g-new")
    produce("g-new", "a\nb\n")
    reset("g-new", "--topic", "g-new", "--to-latest")
    equal(offsets("g-new"), {("g-new", 0): "2"})
    eventually(lambda: equal(state_of("g-new"), "Empty"))


@case
def delete_offsets():
    """groups: offsets of a topic deleted"""
    group_with_offsets("g-deloff")
    topic("g-deloff-2")
    reset("g-deloff", "--topic", "g-deloff-2", "--to-latest")
    out = tools("kafka-consumer-groups", "--delete-offsets", "--group", "g-deloff", "--topic", "g-deloff").out
    matches(out, r"^g-deloff\s+0\s+Successful")
    equal(list(offsets("g-deloff")), [("g-deloff-2", 0)])


@case
def delete_group():
    """groups: delete"""
    group_with_offsets("g-del")
    contains(tools("kafka-consumer-groups", "--delete", "--group", "g-del").out, "Deletion of requested consumer groups ('g-del') was successful.")
    assert "g-del" not in tools("kafka-consumer-groups", "--list").lines
    fails(tools.run("kafka-consumer-groups", "--delete", "--group", "g-del"), "GroupIdNotFoundException")


@case
def groups_in_full():
    """groups: all that is said of groups of each kind and state"""
    for name in ("d-one", "d-two"):
        topic(name, "--partitions", 2)
        for line in ("a:1\n", "b:2\n", "c:3\n"):
            produce(name, line, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    groups = "kafka-consumer-groups"
    for group in ("d-classic", "d-modern", "d-empty"):
        reset(group, "--topic", "d-one", "--topic", "d-two", "--to-earliest")
    with Tools(broker.bootstrap) as classic, Tools(broker.bootstrap) as modern:
        for jvm, group, protocol in ((classic, "d-classic", "classic"), (modern, "d-modern", "consumer")):
            still = ["--consumer-property", "enable.auto.commit=false", "--consumer-property", f"group.protocol={protocol}"]
            jvm.begin("kafka-console-consumer", "--topic", "d-one", "--group", group, *still, "--timeout-ms", 600_000, timeout_s=900)
        for group in ("d-classic", "d-modern"):
            eventually(lambda: equal(state_of(group), "Stable"))
        described = [
            (groups, "--describe", "--group", group, *what, *verbose)
            for group in ("d-classic", "d-modern", "d-empty")
            for what in ([], ["--members"], ["--state"])
            for verbose in ([], ["--verbose"])
        ]
        text = shown(*described, (groups, "--describe", "--group", "d-nobody"), (groups, "--describe", "--group", "d-nobody", "--state"))
        listed = [
            (groups, "--describe", "--all-groups", "--state"),
            (groups, "--list"),
            (groups, "--list", "--state"),
            (groups, "--list", "--type"),
            (groups, "--list", "--state", "stable", "--type", "consumer"),
            (groups, "--list", "--state", "empty,dead"),
            ("kafka-groups", "--list"),
            ("kafka-groups", "--list", "--group-type", "classic"),
            ("kafka-groups", "--list", "--group-type", "consumer"),
            ("kafka-groups", "--list", "--protocol", "consumer"),
            ("kafka-groups", "--list", "--consumer"),
            ("kafka-groups", "--list", "--share"),
        ]
        text += shown(*listed, about="d-")
        refused = [
            (groups, what, "--group", group, *options)
            for group in ("d-classic", "d-modern")
            for what, options in (("--delete", []), ("--delete-offsets", ["--topic", "d-one"]), ("--reset-offsets", ["--topic", "d-one", "--to-latest", "--execute"]))
        ]
        allowed = [(groups, "--delete-offsets", "--group", group, "--topic", "d-two:0,1") for group in ("d-classic", "d-modern")]
        text += shown(*refused, *allowed)
        classic.jvm.kill()
        modern.jvm.kill()
    shown_like_expected("groups.txt", text)


@case
def resets_in_full():
    """groups: all that resets and deletions of offsets print"""
    for name in ("r-one", "r-two"):
        topic(name)
        produce(name, "".join(f"{i}\n" for i in range(6)))
    reset("r-group", "--topic", "r-one", "--topic", "r-two", "--to-offset", 3)
    file = scratch_file("r-offsets.csv", '"r-one",0,5\n"r-two",0,1\n')
    how = [
        ["--topic", "r-one", "--to-earliest"],
        ["--topic", "r-one", "--to-latest"],
        ["--topic", "r-one", "--topic", "r-two:0", "--to-current"],
        ["--all-topics", "--to-offset", 4],
        ["--all-topics", "--to-offset", 99],
        ["--all-topics", "--shift-by", 2],
        ["--all-topics", "--shift-by", -2],
        ["--all-topics", "--shift-by", -99],
        ["--all-topics", "--to-datetime", "2020-01-01T00:00:00.000"],
        ["--all-topics", "--to-datetime", "2120-01-01T00:00:00.000"],
        ["--all-topics", "--by-duration", "PT1H"],
        ["--from-file", file],
        ["--topic", "r-none", "--to-earliest"],
        ["--topic", "r-one:7", "--to-earliest"],
        ["--topic", "r-one", "--to-earliest", "--export"],
    ]
    groups = "kafka-consumer-groups"
    commands = [(groups, "--reset-offsets", "--group", "r-group", *each, "--dry-run") for each in how]
    commands += [
        (groups, "--reset-offsets", "--group", "r-group", "--from-file", file, "--execute"),
        (groups, "--describe", "--group", "r-group"),
        (groups, "--delete-offsets", "--group", "r-group", "--topic", "r-one", "--topic", "r-none"),
        (groups, "--delete-offsets", "--group", "r-group", "--topic", "r-one"),
        (groups, "--delete-offsets", "--group", "r-nobody", "--topic", "r-one"),
        (groups, "--describe", "--group", "r-group"),
        (groups, "--delete", "--group", "r-group", "--group", "r-nobody"),
        (groups, "--delete", "--group", "r-group"),
    ]
    shown_like_expected("resets.txt", shown(*commands))
