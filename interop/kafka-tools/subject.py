"""The broker that all cases are about, Kafka's tools beside it, and what cases do with them over and over.

Importing it starts them; `run` ends them.
"""

import contextlib
import difflib
import os
import pathlib
import re

import harness
from harness import contains, eventually
from kafka_tools import Tools

EXPECTED = pathlib.Path(__file__).resolve().parent / "expected"
# Members of share groups wait for the next of their heartbeats to get their first partitions.
SETTINGS = {"group.share.min.heartbeat.interval.ms": "100", "group.share.heartbeat.interval.ms": "300"}
CASES = []

# Ended by the end of `with running`, and of whatever could be started where the rest could not.
running = contextlib.ExitStack()
with contextlib.ExitStack() as started:
    directory = started.enter_context(harness.scratch("kafka-tools"))
    broker = started.enter_context(harness.running(directory, SETTINGS))
    tools = started.enter_context(Tools(broker.bootstrap))
    running.push(started.pop_all())


def case(function):
    CASES.append(function)
    return function


def fails(outcome, *parts):
    """The tool must complain, and say why."""
    assert outcome.status != 0 or "rror" in outcome.text, f"did not fail: {outcome}"
    contains(outcome.text, *parts)


def lacks(whole, part):
    assert part not in whole, f"{part!r} is in {whole}"
    return whole


def topic(name, *options):
    tools("kafka-topics", "--create", "--topic", name, *options)
    # The controller has it; the broker learns of it in its own time.
    eventually(lambda: contains(tools("kafka-topics", "--list", "--topic", re.escape(name)).out, name))
    return name


def produce(name, text, *options):
    tools("kafka-console-producer", "--topic", name, *options, stdin=text)


def consume(name, *options, count=None, timeout_s=90):
    """The lines of console-consumer, which stops after `count` records or when none came for the time."""
    limit = ["--max-messages", count] if count is not None else []
    return tools("kafka-console-consumer", "--topic", name, *limit, "--timeout-ms", timeout_s * 1000, *options).lines


def table(outcome):
    """A table with a header line as dictionaries; columns are parted by blanks."""
    lines = [line.split() for line in outcome.lines if line.strip()]
    return [dict(zip(lines[0], line)) for line in lines[1:]]


def offsets(group, of="CURRENT-OFFSET"):
    rows = table(tools("kafka-consumer-groups", "--describe", "--group", group))
    return {(row["TOPIC"], int(row["PARTITION"])): row[of] for row in rows}


def end_offsets(name, time="latest"):
    lines = tools("kafka-get-offsets", "--topic", name, "--time", time).lines
    return {int(line.split(":")[1]): int(line.split(":")[2]) for line in lines}


def scratch_file(name, content):
    path = directory / name
    path.write_text(content)
    return path


def like_expected(name, text):
    """Compares with what Apache Kafka printed. UPDATE=1 with BROKER=kafka writes the file anew."""
    text = text.replace(str(directory), "DIR").replace(f":{broker.port}", ":PORT").replace(f":{broker.port + 1}", ":CONTROLLER-PORT")
    path = EXPECTED / name
    if os.environ.get("UPDATE") and broker.kind == "kafka":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    expected = path.read_text().splitlines()
    actual = text.splitlines()
    missing = [line for line in expected if line not in actual]
    surplus = [line for line in actual if line not in expected]
    assert not missing and not surplus, f"missing {missing[:12]}, surplus {surplus[:12]} ({len(missing)} and {len(surplus)})"


# What differs from run to run, in the columns of tables that have it.
VARYING = {"ProducerId", "LastSequence", "LastTimestamp", "CurrentTransactionStartTimeMs", "TransactionDurationMs", "Duration(min)"}


def shown(*commands, about=None):
    """What the commands print, in the order of the alphabet; with `about`, only what names it, and headers."""
    blocks = []
    for command in commands:
        outcome = tools.run(*command)
        lines = [" ".join(line.split()) for line in re.sub(r"\n\tat .*", "", outcome.text).splitlines()]
        header, kept = [], []
        for line in filter(None, lines):
            columns = line.split()
            if columns[0].isupper() or columns[0] in ("TransactionalId", "CoordinatorId", "ProducerId", "Topic"):
                header = columns
            elif len(columns) <= len(header):
                line = " ".join(name.upper() if name in VARYING and value != "None" else value for name, value in zip(header, columns))
            if about is None or line.split() == header or about in line:
                kept.append(line)
        kept.sort(key=lambda line: (line.split() != header, line))
        if about is not None:  # others have a header for each as well
            kept = [line for line, before in zip(kept, [None, *kept]) if line != before]
        blocks.append("\n".join([f"$ {' '.join(map(str, command))}", *kept, "\n"]))
    text = re.sub(r"console-consumer-[0-9a-f-]{36}|(?<= )[\w-]{22}(?= /)", "MEMBER", "".join(blocks))
    return text.replace(str(directory), "DIR").replace(f":{broker.port}", ":PORT")


def shown_like_expected(name, text):
    """Line by line what Apache Kafka printed. UPDATE=1 with BROKER=kafka writes the file anew."""
    path = EXPECTED / name
    if os.environ.get("UPDATE") and broker.kind == "kafka":
        path.write_text(text)
    difference = list(difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), "expected", "printed", lineterm="", n=3))
    assert not difference, "\n".join(["", *difference])
