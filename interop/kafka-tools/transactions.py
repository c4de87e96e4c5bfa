"""Transactions."""

import socket
import struct
import time

import harness
from harness import contains, equal, eventually, matches
from kafka_tools import Tools
from subject import broker, case, consume, directory, end_offsets, produce, shown, shown_like_expected, tools, topic


@case
def transactions():
    """transactions: listed, described, searched for hanging ones, aborted"""
    topic("tr-open")
    topic("tr-done")
    producer = lambda name: ["kafka-producer-perf-test", "--topic", name, "--record-size", 10, "--transactional-id", name]
    tools(*producer("tr-done"), "--num-records", 10, "--throughput", -1)
    eventually(lambda: contains(tools("kafka-transactions", "describe", "--transactional-id", "tr-done").out, "CompleteCommit"))
    with Tools(broker.bootstrap) as other:
        long = ["--transaction-duration-ms", 3_600_000, "--command-property", "transaction.timeout.ms=600000", "linger.ms=0"]
        other.begin(*producer("tr-open"), "--num-records", 100_000, "--throughput", 2, *long, timeout_s=900)
        eventually(lambda: contains(tools("kafka-transactions", "describe-producers", "--topic", "tr-open", "--partition", 0).out, "0"))
        eventually(lambda: matches(tools("kafka-transactions", "describe", "--transactional-id", "tr-open").out, "Ongoing.*tr-open-0"))
        eventually(lambda: equal(end_offsets("tr-open") != {0: 0}, True))
        other.jvm.kill()  # what it has begun stays open
    # Every partition is asked: all have to be led.
    eventually(lambda: contains(tools.run("kafka-transactions", "find-hanging", "--broker-id", 1).out, "StartOffset"))
    told = lambda *commands: shown(*(("kafka-transactions", *command) for command in commands))
    text = told(
        ["list", "--transactional-id-pattern", "tr-.*"],
        ["list", "--transactional-id-pattern", "tr-.*", "--duration-filter", 1],
        ["list", "--transactional-id-pattern", "tr-.*", "--duration-filter", 3_600_000],
        ["list", "--transactional-id-pattern", "tr-o"],
        ["list", "--transactional-id-pattern", "("],
        ["describe", "--transactional-id", "tr-open"],
        ["describe", "--transactional-id", "tr-done"],
        ["describe", "--transactional-id", "tr-none"],
        ["describe-producers", "--topic", "tr-open", "--partition", 0],
        ["describe-producers", "--topic", "tr-open", "--partition", 0, "--broker-id", 1],
        ["describe-producers", "--topic", "tr-done", "--partition", 0],
        ["find-hanging", "--broker-id", 1],
        ["find-hanging", "--topic", "tr-open", "--max-transaction-timeout", 0],
        ["find-hanging", "--topic", "tr-open", "--partition", 0],
        ["find-hanging"],
        ["abort", "--topic", "tr-open", "--partition", 0, "--start-offset", 4711],
        ["abort", "--topic", "tr-open", "--partition", 0],
    )
    equal(consume("tr-open", "--from-beginning", "--isolation-level", "read_committed", timeout_s=1), [])
    text += told(["abort", "--topic", "tr-open", "--partition", 0, "--start-offset", 0], ["describe-producers", "--topic", "tr-open", "--partition", 0])
    text += told(["forceTerminateTransaction", "--transactionalId", "tr-open"], ["forceTerminateTransaction", "--transactionalId", "tr-none"])
    eventually(lambda: contains(tools("kafka-transactions", "describe", "--transactional-id", "tr-open").out, "Empty"))
    text += told(["describe", "--transactional-id", "tr-open"], ["describe-producers", "--topic", "tr-open", "--partition", 0])
    shown_like_expected("transactions.txt", text)


def ask(at, key, version, body):
    """Sends one request as a client without a library would; returns the answer's body."""
    request = struct.pack(">hhih", key, version, 7, -1) + body
    with socket.create_connection(("127.0.0.1", at.port), timeout=60) as client:
        client.sendall(struct.pack(">i", len(request)) + request)
        with client.makefile("rb") as answer:
            return answer.read(struct.unpack(">i", answer.read(4))[0])[4:]


def text_bytes(value):
    return struct.pack(">h", len(value)) + value.encode()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def leave_hanging(at, name, timestamp_ms):
    """Writes for a transaction that the coordinator does not know of, as clients could before partitions asked it (KIP-890)."""
    answer = ask(at, 22, 1, text_bytes(name) + struct.pack(">i", 60_000))
    _throttle, error, producer, epoch = struct.unpack(">ihqh", answer)
    equal(error, 0)
    record = bytes([14, 0, 0, 0, 1, 2]) + b"v" + b"\0"
    summed = struct.pack(">hiqqqhii", 0x10, 0, timestamp_ms, timestamp_ms, producer, epoch, 0, 1) + record
    batch = struct.pack(">qiibI", 0, 9 + len(summed), -1, 2, crc32c(summed)) + summed
    body = text_bytes(name) + struct.pack(">hii", -1, 30_000, 1) + text_bytes(name) + struct.pack(">iii", 1, 0, len(batch)) + batch
    answer = ask(at, 0, 8, body)
    equal(struct.unpack_from(">h", answer, 4 + 2 + len(name) + 4 + 4)[0], 0, "the error")


@case
def hanging_transaction():
    """transactions: one that hangs is found and aborted"""
    without_questions = {"transaction.partition.verification.enable": "false"}
    with harness.running(directory / "hanging", without_questions) as lenient:
        tools.bootstrap = lenient.bootstrap
        try:
            topic("tr-hangs")
            eventually(lambda: equal(end_offsets("tr-hangs"), {0: 0}))
            tools("kafka-producer-perf-test", "--topic", "tr-other", "--record-size", 10, "--transactional-id", "tr-other", "--num-records", 1, "--throughput", -1)
            hour_ago = int(time.time()) * 1000 - 3_600_000
            leave_hanging(lenient, "tr-hangs", hour_ago)
            hanging = [("kafka-transactions", "find-hanging", "--topic", "tr-hangs", *limit) for limit in ([], ["--max-transaction-timeout", 90])]
            text = shown(*hanging)
            equal(consume("tr-hangs", "--from-beginning", "--isolation-level", "read_committed", timeout_s=1), [])
            text += shown(("kafka-transactions", "abort", "--topic", "tr-hangs", "--partition", 0, "--start-offset", 0), *hanging)
            produce("tr-hangs", "after\n")
            equal(consume("tr-hangs", "--from-beginning", "--isolation-level", "read_committed", count=1), ["after"])
        finally:
            tools.bootstrap = broker.bootstrap
    shown_like_expected("hanging.txt", text)
