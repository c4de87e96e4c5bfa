"""Console producer and consumer."""

from harness import equal, eventually, matches
from subject import case, consume, end_offsets, offsets, produce, tools, topic


ALL_PARTS = [
    part
    for name in ("key", "headers", "partition", "offset", "timestamp", "epoch", "delivery")
    for part in ("--formatter-property", f"print.{name}=true")
]


@case
def keys_and_headers():
    """console: keys, headers, partition, offset and timestamp come back"""
    topic("p-keys")
    reader = ["parse.key=true", "parse.headers=true", "key.separator=:"]
    produce("p-keys", "h1:v1,h2:v2\tk1:one\nh1:x\tk2:two\n", *[part for setting in reader for part in ("--reader-property", setting)])
    lines = consume("p-keys", "--from-beginning", *ALL_PARTS, count=2)
    matches(lines[0], r"^CreateTime:\d{13}\tPartition:0\tOffset:0\t.*h1:v1,h2:v2\tk1\tone$")
    matches(lines[1], r"^CreateTime:\d{13}\tPartition:0\tOffset:1\t.*h1:x\tk2\ttwo$")


@case
def null_values():
    """console: null keys and values"""
    topic("p-null")
    reader = ["parse.key=true", "key.separator=:", "null.marker=NULL"]
    produce("p-null", "k:NULL\nk:v\n", *[part for setting in reader for part in ("--reader-property", setting)])
    equal(consume("p-null", "--from-beginning", "--formatter-property", "print.key=true", count=2), ["k\tnull", "k\tv"])


@case
def codecs_and_acks():
    """console: every codec, acks 0, 1 and all"""
    topic("p-codec")
    expected = []
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        for acks in ("0", "1", "-1"):
            expected.append(f"{codec} {acks} " + "x" * 300)
            produce("p-codec", expected[-1] + "\n", "--compression-codec", codec, "--request-required-acks", acks, "--command-property", "enable.idempotence=false")
    eventually(lambda: equal(end_offsets("p-codec"), {0: len(expected)}))
    equal(consume("p-codec", "--from-beginning", count=len(expected)), expected)


@case
def consume_positions():
    """console: from a partition's offset, earliest, latest"""
    topic("p-pos", "--partitions", 2)
    produce("p-pos", "".join(f"k:{i}\n" for i in range(10)), "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    (partition,) = [p for p, end in end_offsets("p-pos").items() if end == 10]
    at = lambda offset, count: consume("p-pos", "--partition", partition, "--offset", offset, count=count)
    equal(at(7, 3), ["7", "8", "9"])
    equal(at("earliest", 2), ["0", "1"])
    equal(consume("p-pos", "--partition", partition, "--offset", "latest", timeout_s=1), [])


@case
def consume_in_group():
    """console: a group goes on where it stopped"""
    topic("p-group", "--partitions", 3)
    produce("p-group", "a\nb\n")
    equal(sorted(consume("p-group", "--from-beginning", "--group", "g-go-on", count=2)), ["a", "b"])
    produce("p-group", "c\n")
    equal(consume("p-group", "--group", "g-go-on", count=1), ["c"])
    equal(set(offsets("g-go-on", "LAG").values()), {"0"})


@case
def consume_pattern():
    """console: several topics by pattern"""
    for name in ("p-inc-a", "p-inc-b"):
        topic(name)
        produce(name, name + "\n")
    out = tools("kafka-console-consumer", "--include", "p-inc-.*", "--from-beginning", "--max-messages", 2, "--timeout-ms", 90_000)
    equal(sorted(out.lines), ["p-inc-a", "p-inc-b"])


@case
def consume_committed():
    """console: isolation level read_committed without transactions"""
    topic("p-iso")
    produce("p-iso", "a\nb\n")
    equal(consume("p-iso", "--from-beginning", "--isolation-level", "read_committed", count=2), ["a", "b"])


@case
def log_append_time():
    """console: LogAppendTime stamps records"""
    topic("p-stamp", "--config", "message.timestamp.type=LogAppendTime")
    produce("p-stamp", "a\n")
    matches(consume("p-stamp", "--from-beginning", "--formatter-property", "print.timestamp=true", count=1)[0], r"^LogAppendTime:\d{13}\ta$")


@case
def too_large():
    """console: a record above max.message.bytes is refused, and others are not"""
    topic("p-large", "--config", "max.message.bytes=1000")
    outcome = tools.run("kafka-console-producer", "--topic", "p-large", "--sync", stdin="x" * 5000 + "\n")
    equal(end_offsets("p-large"), {0: 0})
    assert outcome.status != 0 or "RecordTooLarge" in outcome.text or outcome.text == "", outcome
    produce("p-large", "small\n")
    equal(end_offsets("p-large"), {0: 1})
