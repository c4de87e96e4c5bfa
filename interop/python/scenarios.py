"""What every client must be able to do, told in terms of an adapter for each.

An adapter offers: name, codecs, assignors, sends_null_headers, fences_in_good_order; create, grow, delete, topics, configs, set_config, delete_records, groups, group_offsets,
delete_group; produce, read, offsets_for_time, bounds; consumers with poll, assignment, commit, close; and transactors, which have a transactional id and
fence others with the same one, with begin, send, send_offsets, commit, abort, close.
"""

import collections
import contextlib
import itertools
import random
import threading
import time

from harness import equal, eventually

Record = collections.namedtuple("Record", "partition offset key value headers timestamp")
NUMBERS = itertools.count()
START_MS = int(time.time()) * 1000 - 3_600_000  # within any retention
POLLS_TIMEOUT_S = 60


def new_name(prefix):
    return f"{prefix}-{next(NUMBERS)}"


def fresh_topic(client, prefix, partitions, configs=None):
    """A new topic, once the broker leads its partitions: what is sent with acks=0 before that is lost."""
    topic = client.create(new_name(prefix), partitions, configs)

    def led():
        try:
            for partition in {0, partitions - 1}:
                client.bounds(topic, partition)
        except Exception as error:
            raise AssertionError(f"{topic} has no leader yet: {error!r}")

    eventually(led)
    return topic


def payload(size, seed):
    """Bytes of which half can be compressed away."""
    noise = random.Random(seed).randbytes(size // 2)
    return (noise + b"x" * (size - len(noise)))[:size]


class Member:
    """A member of a group in a thread of its own: polls, counts and commits until it is closed."""

    def __init__(self, client, group, topic, **options):
        self.consumer = client.consumer(group, topic, **options)
        self.received = collections.Counter()
        self.owned = set()
        self.failure = None
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self.ending.is_set():
                for record in self.consumer.poll():
                    self.received[record.partition, record.offset] += 1
                if self.received:
                    self.consumer.commit()
                self.owned = self.consumer.assignment()
        except Exception as error:
            self.failure = error
        finally:
            self.consumer.close()

    def close(self):
        self.ending.set()
        self.thread.join(POLLS_TIMEOUT_S)
        assert not self.thread.is_alive(), "the member did not end"
        if self.failure:
            raise self.failure

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def wait_for_shares(count, *members):
    def shares():
        for member in members:
            if member.failure:
                raise member.failure
        owned = [partition for member in members for partition in member.owned]
        equal(sorted(owned), list(range(count)), "owned together")
        assert all(member.owned for member in members), "a member owns nothing"

    eventually(shares, POLLS_TIMEOUT_S)


def wait_for_records(count, *members):
    def records():
        for member in members:
            if member.failure:
                raise member.failure
        equal(len(set().union(*(member.received for member in members))), count, "records")

    eventually(records, POLLS_TIMEOUT_S)


def all_of(client):
    """Names and functions of all scenarios."""

    def send_and_read(codec, acks, idempotent):
        topic = fresh_topic(client, "py", 2)
        sent = [Record(i % 2, i // 2, b"k%d" % i, payload(i % 150, i), [("h", b"%d" % i)], START_MS + i) for i in range(500)]
        offsets = client.produce(topic, sent, codec, acks, idempotent)
        if acks != 0:
            equal(offsets, [record.offset for record in sent])
        equal(client.read(topic, 2, len(sent)), sorted(sent))

    def big_records(codec):
        topic = fresh_topic(client, "py-big", 1)
        sent = [Record(0, i, None, payload(900_000, i), [], START_MS) for i in range(4)]
        client.produce(topic, sent, codec, -1, False)
        assert client.read(topic, 1, len(sent)) == sent, "what was read differs"

    def nulls():
        topic = fresh_topic(client, "py-null", 1)
        headers = [("empty", b"")] + ([("none", None)] if client.sends_null_headers else [])
        sent = [Record(0, 0, b"k", None, headers, START_MS), Record(0, 1, None, b"", [], START_MS), Record(0, 2, b"", b"v", [], START_MS)]
        client.produce(topic, sent, None, -1, False)
        equal(client.read(topic, 1, 3), sent)

    def many_partitions():
        topic = fresh_topic(client, "py-many", 50)
        sent = [Record(i % 50, i // 50, b"k", b"%d" % i, [], START_MS) for i in range(2000)]
        client.produce(topic, sent, None, -1, True)
        equal(client.read(topic, 50, len(sent)), sorted(sent))

    def too_large():
        topic = fresh_topic(client, "py-large", 1, {"max.message.bytes": "1000"})
        try:
            client.produce(topic, [Record(0, 0, None, payload(5000, 1), [], START_MS)], None, -1, False)
        except Exception as error:
            assert "large" in repr(error).lower() or "MSG_SIZE" in repr(error), repr(error)
        else:
            raise AssertionError("a record of 5000 bytes was taken")
        equal(client.bounds(topic, 0), (0, 0))

    def offsets_by_time():
        topic = fresh_topic(client, "py-time", 1)
        client.produce(topic, [Record(0, i, None, b"v", [], START_MS + 1000 * i) for i in range(20)], None, -1, False)
        equal(client.offsets_for_time(topic, 0, START_MS + 4500), 5)
        equal(client.bounds(topic, 0), (0, 20))

    def group_of_two(assignor):
        topic = fresh_topic(client, "py-group", 4)
        group = new_name("py-group")
        send = lambda start: client.produce(topic, [Record(i % 4, 0, None, b"v", [], START_MS) for i in range(start, start + 200)], None, -1, False)
        send(0)
        with Member(client, group, topic, assignor=assignor) as first:
            wait_for_shares(4, first)
            wait_for_records(200, first)
            with Member(client, group, topic, assignor=assignor) as second:
                wait_for_shares(4, first, second)
                send(200)
                wait_for_records(400, first, second)
            wait_for_shares(4, first)
            send(400)
            wait_for_records(600, first, second)
            eventually(lambda: equal(client.group_offsets(group, topic), {p: 150 for p in range(4)}))
        repeated = [record for record, times in (first.received + second.received).items() if times > 1]
        equal(repeated, [], "received again")

    def go_on_from_commit():
        topic = fresh_topic(client, "py-commit", 1)
        group = new_name("py-commit")
        client.produce(topic, [Record(0, i, None, b"%d" % i, [], START_MS) for i in range(10)], None, -1, False)
        with Member(client, group, topic) as member:
            wait_for_records(10, member)
        client.produce(topic, [Record(0, 10, None, b"10", [], START_MS)], None, -1, False)
        with Member(client, group, topic) as member:
            wait_for_records(1, member)
            equal(list(member.received), [(0, 10)])

    def static_member(assignor):
        topic = fresh_topic(client, "py-static", 4)
        group = new_name("py-static")
        with Member(client, group, topic, instance="staying", assignor=assignor) as first:
            wait_for_shares(4, first)
            with Member(client, group, topic, instance="moving", assignor=assignor) as second:
                wait_for_shares(4, first, second)
                before = second.owned
            with Member(client, group, topic, instance="moving", assignor=assignor) as again:
                wait_for_shares(4, first, again)
                equal(again.owned, before, "owned after coming back")

    def committed_and_aborted():
        topic = fresh_topic(client, "py-tx", 2)
        expected = []
        with contextlib.closing(client.transactor(topic)) as transactor:
            for round in range(9):  # the last one is committed: what is read does not end before it
                transactor.begin()
                for i in range(6):
                    transactor.send(topic, i % 2, b"round %d %d" % (round, i))
                    if round % 2 == 0:
                        expected.append((i % 2, b"round %d %d" % (round, i)))
                if round % 2 == 0:
                    transactor.commit()
                else:
                    transactor.abort()
        expected.sort(key=lambda sent: sent[0])
        equal([(r.partition, r.value) for r in client.read(topic, 2, len(expected), committed=True)], expected)
        client.read(topic, 2, 54)

    def open_hides():
        topic = fresh_topic(client, "py-tx-open", 1)
        plain = lambda value: client.produce(topic, [Record(0, 0, None, value, [], START_MS)], None, -1, False)
        committed = lambda count: [record.value for record in client.read(topic, 1, count, committed=True)]
        with contextlib.closing(client.transactor(topic)) as transactor:
            plain(b"before")
            transactor.begin()
            transactor.send(topic, 0, b"in it")
            plain(b"beside")
            equal(committed(1), [b"before"], "while it is open")
            transactor.commit()
            eventually(lambda: equal(committed(3), [b"before", b"in it", b"beside"], "after its end"), POLLS_TIMEOUT_S)

    def fenced():
        topic = fresh_topic(client, "py-tx-fence", 1)
        first = client.transactor(topic)
        first.begin()
        first.send(topic, 0, b"first")
        with contextlib.closing(client.transactor(topic)) as second:
            second.begin()
            second.send(topic, 0, b"second")
            try:
                first.send(topic, 0, b"late")
                first.commit()
            except Exception as error:
                assert any(word in repr(error).lower() for word in ("fenced", "epoch")), repr(error)
            else:
                raise AssertionError("the first one committed")
            second.commit()
        equal([record.value for record in client.read(topic, 1, 1, committed=True)], [b"second"])
        with contextlib.suppress(Exception):  # a fenced one has nothing left to say in good order
            first.close()

    def offsets_go_with_transactions():
        source, target = fresh_topic(client, "py-tx-from", 2), fresh_topic(client, "py-tx-to", 2)
        group = new_name("py-tx")
        send = lambda start, end: client.produce(source, [Record(i % 2, 0, None, b"%d" % i, [], START_MS) for i in range(start, end)], None, -1, True)
        send(0, 60)
        with contextlib.closing(client.transactor(source)) as transactor:
            # What an aborted transaction has read is read again, what a committed one has read is not.
            for end, count in (("abort", 60), ("commit", 60), ("commit", 10)):
                with contextlib.closing(client.consumer(group, source)) as consumer:
                    records = collect(consumer.poll, count)
                    transactor.begin()
                    for record in records:
                        transactor.send(target, record.partition, record.value)
                    transactor.send_offsets(consumer, group, source, {p: max(r.offset for r in records if r.partition == p) + 1 for p in (0, 1)})
                    getattr(transactor, end)()
                if end == "commit" and count == 60:
                    eventually(lambda: equal(client.group_offsets(group, source), {0: 30, 1: 30}))
                    send(60, 70)
        written = client.read(target, 2, 70, committed=True)
        equal(sorted(int(record.value) for record in written), list(range(70)))

    def administer():
        topic = fresh_topic(client, "py-admin", 2, {"retention.ms": "123456"})
        assert topic in client.topics()
        equal(client.configs(topic)["retention.ms"], "123456")
        client.set_config(topic, "retention.ms", "654321")
        eventually(lambda: equal(client.configs(topic)["retention.ms"], "654321"))
        client.grow(topic, 5)
        eventually(lambda: equal(client.partitions(topic), 5))
        client.produce(topic, [Record(0, i, None, b"v", [], START_MS) for i in range(6)], None, -1, False)
        client.delete_records(topic, 0, 4)
        equal(client.bounds(topic, 0), (4, 6))
        client.delete(topic)
        eventually(lambda: equal(topic in client.topics(), False))

    def administer_groups():
        topic = fresh_topic(client, "py-groups", 1)
        group = new_name("py-groups")
        client.produce(topic, [Record(0, 0, None, b"v", [], START_MS)], None, -1, False)
        with Member(client, group, topic) as member:
            wait_for_records(1, member)
            eventually(lambda: equal(client.describe_group(group), ("Stable", 1)))
        assert group in client.groups()
        eventually(lambda: equal(client.describe_group(group), ("Empty", 0)))
        equal(client.group_offsets(group, topic), {0: 1})
        if hasattr(client, "delete_group"):
            client.delete_group(group)
            assert group not in client.groups()

    for codec in client.codecs:
        for acks in (0, 1, -1):
            yield f"{codec}, acks {acks}", lambda codec=codec, acks=acks: send_and_read(codec, acks, False)
        yield f"{codec}, idempotent", lambda codec=codec: send_and_read(codec, -1, True)
        yield f"{codec}, records of 900 kB", lambda codec=codec: big_records(codec)
    yield "null and empty keys, values and headers", nulls
    yield "50 partitions", many_partitions
    yield "a record above max.message.bytes", too_large
    yield "offsets by time, beginning and end", offsets_by_time
    for assignor in client.assignors:
        yield f"a group of two members, one joins and leaves: {assignor}", lambda assignor=assignor: group_of_two(assignor)
        if assignor in ("range", "the broker's uniform"):
            yield f"a static member comes back to what it had: {assignor}", lambda assignor=assignor: static_member(assignor)
    yield "a group goes on from what was committed", go_on_from_commit
    yield "transactions: committed and aborted ones", committed_and_aborted
    yield "transactions: one that is open hides what follows it", open_hides
    if client.fences_in_good_order:
        yield "transactions: a second producer with the id fences the first", fenced
    yield "transactions: offsets go with what was made of the records", offsets_go_with_transactions
    yield "topics are administered", administer
    yield "groups are administered", administer_groups


def collect(poll, count):
    """Polls until that many records came, in order of partition and offset; more are a complaint."""
    records = []
    deadline = time.monotonic() + POLLS_TIMEOUT_S
    while len(records) < count and time.monotonic() < deadline:
        records.extend(poll())
    equal(len(records), count, "records")
    return sorted(records, key=lambda record: (record.partition, record.offset))
