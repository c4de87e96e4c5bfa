"""Groups whose members are of several makers, and producers that send the same keys. See run."""

import itertools
import os
import pathlib
import random
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import harness
from harness import equal, eventually

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

HERE = pathlib.Path(__file__).resolve().parent
BOOTSTRAP = os.environ["BOOTSTRAP"]
EXAMPLES = pathlib.Path(os.environ["EXAMPLES"])
JAVA = [os.environ["KAFKA"], "java", "-cp"]
CLASS_PATH = subprocess.run([os.environ["KAFKA"], "classpath"], capture_output=True, text=True, check=True).stdout.strip()
PARTITIONS = 6
BATCH = 10  # records of each partition at a time
NUMBERS = itertools.count(1)
ADMIN = AdminClient({"bootstrap.servers": BOOTSTRAP, "log_level": 0})

RUST, JAVA_CLIENT, LIBRDKAFKA = "Rust", "Java", "librdkafka"
BY_JAVAS_CLASS = {
    "range": "RangeAssignor",
    "roundrobin": "RoundRobinAssignor",
    "sticky": "StickyAssignor",
    "cooperative-sticky": "CooperativeStickyAssignor",
}


def command(maker, topic, kind, settings):
    """Rust's and Java's clients take the same settings; librdkafka has no classes."""
    pairs = [f"{key}={value}" for key, value in settings.items()]
    if maker == RUST:
        return [EXAMPLES / "keyed", BOOTSTRAP, topic, *pairs] if kind == "keyed" else [EXAMPLES / "group_member", BOOTSTRAP, topic, kind, *pairs]
    if maker == JAVA_CLIENT:
        return [*JAVA, f"{CLASS_PATH}:{os.environ['CLASSES']}", "Member", BOOTSTRAP, topic, kind, *pairs]
    return [sys.executable, HERE / "librdkafka.py", BOOTSTRAP, topic, kind, *pairs]


class Member:
    """A process that is a member, and what it has told of itself."""

    def __init__(self, maker, topic, kind, settings):
        self.maker = maker
        self.owned, self.revoked, self.lost, self.got = set(), [], [], []
        self.process = subprocess.Popen(
            command(maker, topic, kind, settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.complaints = []
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._complain)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            what, *numbers = line.split()
            numbers = [int(number) for number in numbers]
            if what == "assigned":
                self.owned |= set(numbers)
            elif what == "got":
                self.got.append(tuple(numbers))
            else:
                getattr(self, what).extend(numbers)
                self.owned -= set(numbers)

    def _complain(self):
        self.complaints.extend(self.process.stderr)

    def check(self):
        assert self.process.poll() is None, f"{self.maker} has ended: {''.join(self.complaints)[-1500:]}"
        equal(self.lost, [], f"{self.maker} has lost partitions")

    def leave(self):
        self.process.stdin.close()
        code = self.process.wait(60)
        for reader in self.readers:
            reader.join(60)
        equal(code, 0, f"{self.maker}: {''.join(self.complaints)[-1500:]}")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Group:
    """A topic with members that read it."""

    def __init__(self, kind, settings):
        number = next(NUMBERS)
        self.topic, self.group = f"mixed-{number}", f"mixed-group-{number}"
        self.kind, self.settings = kind, settings
        self.sent = 0
        self.members, self.left = [], []
        create(self.topic, PARTITIONS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.end()

    def join(self, maker):
        settings = {"group.id": self.group, **self.settings(maker)}
        self.members.append(Member(maker, self.topic, self.kind, settings))

    def leave(self, maker):
        (member,) = [member for member in self.members if member.maker == maker]
        member.leave()
        self.members.remove(member)
        self.left.append(member)

    def check(self):
        for member in self.members:
            member.check()

    def owners(self):
        return {partition: member.maker for member in self.members for partition in member.owned}

    def shared_out(self):
        """Waits until each partition has one owner and each member as many as the others; who owns what."""

        def are_shared():
            self.check()
            equal(sorted(p for member in self.members for p in member.owned), list(range(PARTITIONS)), "owned")
            equal({len(member.owned) for member in self.members}, {PARTITIONS // len(self.members)}, "partitions of each")

        eventually(are_shared)
        return self.owners()

    def send(self):
        producer = Producer({"bootstrap.servers": BOOTSTRAP, "log_level": 0})
        for partition in range(PARTITIONS):
            for _ in range(BATCH):
                producer.produce(self.topic, b"v", partition=partition)
        equal(producer.flush(60), 0, "not delivered")
        self.sent += BATCH

    def got(self):
        return sorted(record for member in self.members + self.left for record in member.got)

    def read_all(self):
        """Waits until every record has been read; each by one member, once."""
        expected = [(partition, offset) for partition in range(PARTITIONS) for offset in range(self.sent)]

        def is_read():
            self.check()
            equal(self.got(), expected, "records")

        eventually(is_read)


def create(topic, partitions):
    (done,) = ADMIN.create_topics([NewTopic(topic, partitions, 1)]).values()
    done.result()


def changed_hands(before, after):
    return sorted(partition for partition in before if before[partition] != after[partition])


def mixed_group(makers, settings, is_incremental):
    """The first maker's member comes first (in a classic group it assigns), the others join it one by one, then it goes."""
    with Group("consumer", settings) as group:
        group.send()
        owners = None
        for maker in makers:
            revoked = {member.maker: len(member.revoked) for member in group.members}
            group.join(maker)
            after = group.shared_out()
            given_up = sorted(p for member in group.members for p in member.revoked[revoked.get(member.maker, 0) :])
            if owners and is_incremental:
                equal(given_up, changed_hands(owners, after), f"given up when {maker} joins")
            owners = after
            group.send()
            group.read_all()
        revoked = {member.maker: len(member.revoked) for member in group.members}
        group.leave(makers[0])
        after = group.shared_out()
        if is_incremental:
            given_up = sorted(p for member in group.members for p in member.revoked[revoked[member.maker] :])
            stayed = {partition: maker for partition, maker in owners.items() if maker != makers[0]}
            equal(given_up, changed_hands(stayed, after), f"given up when {makers[0]} has left")
        group.send()
        group.read_all()


def classic(assignor):
    def settings(maker):
        strategy = f"org.apache.kafka.clients.consumer.{BY_JAVAS_CLASS[assignor]}" if maker == JAVA_CLIENT else assignor
        return reading() | {"partition.assignment.strategy": strategy, "session.timeout.ms": 45_000, "heartbeat.interval.ms": 200}

    return settings


def modern(assignor):
    return lambda _: reading() | {"group.protocol": "consumer", "group.remote.assignor": assignor}


def reading():
    return {"auto.offset.reset": "earliest", "enable.auto.commit": "false"}


def from_the_start(group):
    """Where a share group begins."""
    entry = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=[entry])
    (done,) = ADMIN.incremental_alter_configs([resource]).values()
    done.result()


def share_group(makers):
    """Each record is accepted once, and all take part."""
    with Group("share", lambda _: {"max.poll.records": 20}) as group:
        from_the_start(group.group)
        group.send()
        for maker in makers:
            group.join(maker)

        def all_take_part():
            before = [len(member.got) for member in group.members]
            group.send()
            group.read_all()
            for member, count in zip(group.members, before):
                assert len(member.got) > count, f"{member.maker} has got nothing"

        eventually(all_take_part)
        group.leave(makers[0])
        group.send()
        group.read_all()


def same_partitions():
    """Keys of all lengths, among them the empty one."""
    noise = random.Random(7)
    keys = [noise.randbytes(length % 60).hex() for length in range(300)] + ["é-ключ-鍵".encode().hex(), b"x".hex() * 5_000]
    for partitions in (1, 7, 48):
        topic = f"keyed-{partitions}"
        create(topic, partitions)
        told = {}
        for maker, settings in ((JAVA_CLIENT, {}), (RUST, {}), (LIBRDKAFKA, {"partitioner": "murmur2"})):
            done = subprocess.run(command(maker, topic, "keyed", settings), input="\n".join(keys) + "\n", capture_output=True, text=True, timeout=120)
            equal(done.returncode, 0, f"{maker}: {done.stderr[-1500:]}")
            told[maker] = done.stdout.split()
        equal(len(told[JAVA_CLIENT]), len(keys), "keys")
        equal(told[RUST], told[JAVA_CLIENT], f"Rust's partitions of {partitions}")
        equal(told[LIBRDKAFKA], told[JAVA_CLIENT], f"librdkafka's partitions of {partitions}")


def told(client, is_last=False):
    """What a client's metrics were: (name, kind, labels) and values, as the broker's receiver wrote them down; sums over all that was pushed."""
    lines = pathlib.Path(os.environ["TELEMETRY"]).read_text().splitlines() if os.path.exists(os.environ["TELEMETRY"]) else []
    rows = [line.split("\t") for line in lines]
    values = {}
    for of_client, last, name, kind, of, value in rows:
        if of_client == client and (last or not is_last):
            key = (name, kind, tuple(label.split("=")[0] for label in of.split(",") if label))
            # Brokers ask for what has been added since the last time.
            values[key] = float(value) + (values.get(key, 0.0) if kind.startswith("sum") else 0.0)
    return values


REBALANCES = [f"consumer.coordinator.{of}" for of in ("rebalance.total", "rebalance.latency.total", "failed.rebalance.total", "heartbeat.total")]
TOLD_BY_BOTH = {
    "keyed": [],
    "classic": REBALANCES + ["consumer.coordinator.join.total", "consumer.coordinator.sync.total"],
    "modern": REBALANCES,
    "share": [f"consumer.share.{of}" for of in ("coordinator.rebalance.total", "fetch.manager.acknowledgements.error.total")],
}
# What does not depend on who was faster.
COUNTED_ALIKE = {"keyed": "producer.record.send.total", "share": "consumer.share.fetch.manager.acknowledgements.send.total"}


def metrics():
    """Apache Kafka takes what the Rust client tells, by the names, kinds and labels that Java's have."""
    subscribe = ["kafka-configs", "--bootstrap-server", BOOTSTRAP, "--alter", "--entity-type", "client-metrics", "--entity-name", "all"]
    subprocess.run([os.environ["KAFKA"], *subscribe, "--add-config", "interval.ms=500,metrics=*"], check=True, capture_output=True)
    topic = f"told-{next(NUMBERS)}"
    create(topic, 1)
    totals = {"keyed": "producer.record.send", "consumer": "consumer.fetch.manager.records.consumed", "share": "consumer.share.fetch.manager.records.consumed"}
    for name, kind, settings in (
        ("keyed", "keyed", {}),
        ("classic", "consumer", reading() | {"group.protocol": "classic"}),
        ("modern", "consumer", reading() | {"group.protocol": "consumer"}),
        ("share", "share", {}),
    ):
        for maker in (JAVA_CLIENT, RUST):
            client = f"{maker}-{name}"
            group = {"group.id": f"{name}-told-by-{maker}"} if kind != "keyed" else {}
            if kind == "share":
                from_the_start(group["group.id"])
            process = subprocess.Popen(
                command(maker, topic, kind, settings | group | {"client.id": client}), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            try:
                if kind == "keyed":
                    process.stdin.write("6b\n" * 20)
                    process.stdin.flush()
                total = f"org.apache.kafka.{totals[kind]}.total"
                # The first share group of a busy Apache Kafka has been seen to get its first record after most of a minute.
                eventually(lambda: harness.contains(str([key[0] for key, value in told(client).items() if value > 0]), total), timeout_s=180)
                process.stdin.close()
                equal(process.wait(60), 0, process.stderr.read()[-1500:])
            finally:
                process.kill()
            if maker == RUST:
                assert told(client, is_last=True), f"{client} told nothing when it went"
        rust, java = told(f"{RUST}-{name}"), told(f"{JAVA_CLIENT}-{name}")
        equal(sorted(set(rust) - set(java)), [], f"told by Rust's {name} alone, where Java's tells {sorted(java)}")
        rust, java = ({key[0].removeprefix("org.apache.kafka."): value for key, value in of.items()} for of in (rust, java))
        for metric in TOLD_BY_BOTH[name]:
            assert metric in rust and metric in java, f"{metric} of {name}: {sorted(rust)}, and Java's {sorted(java)}"
        if alike := COUNTED_ALIKE.get(name):
            equal(rust[alike], java[alike], f"{alike} of {name}")


def cases():
    yield "the same keys go to the same partitions", same_partitions
    if os.environ.get("BROKER") == "kafka":
        yield "metrics that are pushed have Java's names", metrics
    for assignor in BY_JAVAS_CLASS:
        # librdkafka has no sticky assignor that is not cooperative.
        makers = [RUST, JAVA_CLIENT] + ([LIBRDKAFKA] if assignor != "sticky" else [])
        for number, first in enumerate(makers):
            order = makers[number:] + makers[:number]
            is_incremental = assignor == "cooperative-sticky"
            yield f"{assignor}, {first} assigns", lambda o=order, a=assignor, i=is_incremental: mixed_group(o, classic(a), i)
    for assignor in ("uniform", "range"):
        makers = [RUST, JAVA_CLIENT, LIBRDKAFKA]
        yield f"the broker's {assignor}", lambda a=assignor: mixed_group(makers, modern(a), True)
        yield f"the broker's {assignor}, Java first", lambda a=assignor: mixed_group(makers[1:] + makers[:1], modern(a), True)
    yield "a share group, Rust leaves first", lambda: share_group([RUST, JAVA_CLIENT])
    yield "a share group, Java leaves first", lambda: share_group([JAVA_CLIENT, RUST])


checks = harness.Checks()
for name, case in cases():
    if checks.only.search(name):
        with checks(name):
            case()
checks.finish()
