"""What needs Apache Kafka as the broker: groups of Kafka Streams' own protocol, and that Ottla's commands for people work with it."""

import contextlib
import json
import pathlib
import subprocess

import harness

HERE = pathlib.Path(__file__).resolve().parent
APPLICATIONS = ["app", "app-by-kafka", "app-by-ottla"]
# Nobody waits for others.
SETTINGS = {
    "group.streams.initial.rebalance.delay.ms": "0",
    "group.streams.assignment.interval.ms": "100",
    "group.streams.min.heartbeat.interval.ms": "200",
    "group.streams.heartbeat.interval.ms": "200",
    "group.initial.rebalance.delay.ms": "0",
}


def sections():
    """Invocations while the application runs, and when it has ended."""
    lines = (HERE / "streams-invocations").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    end = lines.index("==")
    return lines[:end], lines[end + 1 :]


def ottla(broker, *words, stdin=""):
    """What a command for people prints; it must succeed."""
    done = subprocess.run(
        [harness.OTTLA, *words, "-b", broker.bootstrap, *(["-o", "jsonl"] if "-o" not in words else [])],
        input=stdin, capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, f"ottla {' '.join(words)} ended with {done.returncode}: {done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextlib.contextmanager
def application(directory, broker):
    """Members of the groups, each with all partitions; they leave at the end."""
    classes = directory / "classes"
    subprocess.run([harness.KAFKA, "javac", "-d", classes, "-Xlint:all,-processing,-try,-classfile", "-Werror", HERE / "StreamsApp.java"], check=True)
    with open(directory / "application.log", "wb") as log:
        process = subprocess.Popen(
            [harness.KAFKA, "java", "-Xmx256m", "StreamsApp", broker.bootstrap, directory / "state", *APPLICATIONS],
            stdin=subprocess.PIPE, stdout=log, stderr=log, env=harness.os.environ | {"KAFKA_PLUGINS": str(classes)},
        )
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(60)


def await_that(what, is_so):
    def probe():
        assert is_so(), f"not yet: {what}"

    harness.eventually(probe)


def committed(broker):
    """Whether each application has read what is there, and has committed that: the words, and what it made of them."""

    def has_all(group):
        done = subprocess.run(
            [harness.OTTLA, "kafka-streams-groups", "--bootstrap-server", broker.bootstrap, "--describe", "--group", group, "--verbose"],
            capture_output=True, text=True, timeout=60,
        )
        rows = [line.split() for line in done.stdout.splitlines()[1:]]
        return len(rows) == 6 and all(row[6] == "0" and (row[3] != "-" or row[5] == "0") for row in rows)

    return all(has_all(group) for group in APPLICATIONS)


def is_empty(broker):
    groups = ottla(broker, "group", "list", "--type", "streams")
    return len(groups) == len(APPLICATIONS) and all(group["state"] == "Empty" for group in groups)


def streams(checks, broker, directory, check):
    """`check` runs an invocation with both tools and compares."""
    running, ended = sections()
    if not any(checks.only.search(words) for words in running + ended):
        return
    ottla(broker, "topic", "create", "words-in", "-p", "3")
    ottla(broker, "topic", "create", "words-out")
    (directory / "words.csv").write_text("words-in,1,3\n")
    with application(directory, broker):
        ottla(broker, "produce", "words-in", "-p", "1", stdin="a\nb\na\nc\nd\ne\n")
        await_that("what was written is read", lambda: committed(broker))
        for words in running:
            check(words)
    await_that("members have left", lambda: is_empty(broker))
    for words in ended:
        check(words)


def people(checks, broker):
    """A day's commands."""

    def topics():
        """ottla topic with Apache Kafka"""
        ottla(broker, "topic", "create", "orders", "-p", "2")
        [topic] = ottla(broker, "topic", "describe", "orders")
        assert len(topic["partitions"]) == 2, topic
        ottla(broker, "topic", "alter", "orders", "-p", "3", "--execute")
        ottla(broker, "config", "set", "topic/orders", "retention.ms=3600000")
        assert "orders" in [topic["topic"] for topic in ottla(broker, "topic", "list")]

    def records():
        """ottla produce and consume with Apache Kafka"""
        rows = ottla(broker, "produce", "orders", "-K", ":", "-p", "1", stdin="k:one\nk:two\nk:three\n")
        assert rows[0]["records"] == 3, rows
        read = ottla(broker, "consume", "orders", "-g", "billing", "-n", "2")
        assert [record["value"] for record in read] == ["one", "two"], read
        assert [record["value"] for record in ottla(broker, "consume", "orders", "-O", "-1..")] == ["three"]

    def groups():
        """ottla group with Apache Kafka"""
        [lag] = [row for row in ottla(broker, "group", "lag", "billing") if row["partition"] == 1]
        assert lag["lag"] == 1 and lag["lag_seconds"] >= 0, lag
        ottla(broker, "group", "seek", "billing", "--to", "start", "-t", "orders:1", "--execute")
        assert len(ottla(broker, "consume", "orders", "-g", "billing")) == 3
        ottla(broker, "group", "clone", "billing", "copy", "--execute")
        assert {"billing", "copy"} <= {group["group"] for group in ottla(broker, "group", "list")}
        ottla(broker, "group", "delete", "copy", "--execute")

    def share_groups():
        """ottla share with Apache Kafka"""
        ottla(broker, "config", "set", "group/workers", "share.auto.offset.reset=earliest")
        read = ottla(broker, "share", "consume", "orders", "-g", "workers", "-n", "3")
        assert sorted(record["value"] for record in read) == ["one", "three", "two"], read
        lags = [row["lag"] for row in ottla(broker, "group", "lag", "workers") if row["partition"] == 1]
        assert lags == [0], lags

    def cluster():
        """ottla cluster, txn, top and bench with Apache Kafka"""
        assert len(ottla(broker, "cluster", "brokers")) == 1
        assert ottla(broker, "cluster", "overview")
        ottla(broker, "txn", "list")
        assert "orders" in [row["topic"] for row in ottla(broker, "top", "-i", "100ms")]
        assert [row["phase"] for row in ottla(broker, "bench", "-n", "1000", "-q")] == ["write", "read"]

    checks.run([topics, records, groups, share_groups, cluster])
