"""
Members of three groups, each balanced in another way, who consume, and produce a copy of each record in one transaction with their group's
positions, until standard input ends. What Copier.java does, with librdkafka.

    librdkafka.py BOOTSTRAP INDEX PROCESS SEED

Says on standard error what became of each transaction and of the group, a line each: GROUP WHAT ...
"""

import contextlib
import faulthandler
import os
import random
import signal
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

PATIENCE_S = 200
DESTROYED_WITHIN_S = 30
IN = "copy-in"
OUT_PARTITIONS = 3
CLASSIC = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 300}
# Group `copiers-NAME` copies to `copy-out-NAME`.
BALANCING = {
    "range": CLASSIC | {"partition.assignment.strategy": "range"},
    "cooperative": CLASSIC | {"partition.assignment.strategy": "cooperative-sticky"},
    "consumer": {"group.protocol": "consumer"},
}
COMING_BACK_SOON = {
    "log_level": 0,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 200,
    "retry.backoff.ms": 20,
    "retry.backoff.max.ms": 200,
    # By default all brokers are given up when none can be reached. With librdkafka 2.16.0, a call that comes to need one of them just then
    # waits for ever: `send_offsets_to_transaction` for the group's coordinator, or the end of a client.
    "metadata.recovery.strategy": "none",
}


class Life:
    """A producer and a member of a group, until they are past help, have had enough, or all is done."""

    def __init__(self, copier, transactional_id, timeout_ms):
        self.copier = copier
        self.random = copier.random
        settings = copier.common | {"transactional.id": transactional_id, "transaction.timeout.ms": timeout_ms, "linger.ms": 1}
        self.producer = Producer(settings)
        settings = {
            "group.id": f"copiers-{copier.name}",
            "isolation.level": "read_committed",
            # The group has positions from the start. When the group is balanced while librdkafka 2.16.0 is told that a position is not stable, it takes
            # that for none and would begin anew, whichever broker it is.
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # Who waits for a coordinator that is away does not hold up the others for long.
            "max.poll.interval.ms": 10_000,
        }
        self.consumer = Consumer(copier.common | BALANCING[copier.name] | settings)
        # Of the open transaction, for each partition: the first record that is copied, and the one behind the last.
        self.begins = {}
        self.ends = {}
        # Where to go back to, for each partition of which records were given up.
        self.rewound = {}
        self.is_over = False

    def begin(self):
        self.producer.init_transactions(PATIENCE_S)
        self.consumer.subscribe([IN], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost)

    # -- the group

    def on_assign(self, _, partitions):
        self.copier.tell("assigned", len(partitions))

    def on_revoke(self, _, partitions):
        """Called before the partitions are given up: what was copied of them is committed or forgotten by then."""
        self.copier.tell("revoked", len(partitions))
        if self.is_over:
            return
        if self.ends and self.random.random() < 0.7:
            self.finish(is_committed=True)
        elif self.ends:
            self.abort()
        for partition in partitions:
            self.rewound.pop(partition.partition, None)

    def on_lost(self, _, partitions):
        """Another may have them by now."""
        self.copier.tell("lost", len(partitions))
        if self.ends and not self.is_over:
            self.abort()
        self.rewound.clear()

    # -- transactions

    def live(self):
        """Returns when it has had enough, or all is done."""
        while not self.copier.is_done():
            self.copy(self.random.randint(1, 40))
            if self.ends:
                self.finish(is_committed=self.random.random() < 5 / 6)
            if self.random.random() < 1 / 150:
                return

    def copy(self, count):
        """Begins a transaction with what comes, so many records at most."""
        self.rewind()
        until = time.monotonic() + 0.1
        for _ in range(count):
            message = self.consumer.poll(max(0, until - time.monotonic()))
            if message and message.error():
                self.copier.tell("heard", message.error().name(), message.error().str())
                if message.error().code() == KafkaError._AUTO_OFFSET_RESET:
                    raise KafkaException(message.error())
            # Where a transaction was given up while the group was balanced, what comes is what comes after its records.
            elif message and message.partition() not in self.rewound:
                self.copy_one(message)
            if self.rewound or not message:
                return

    def copy_one(self, message):
        partition, offset = message.partition(), message.offset()
        if not self.ends:
            self.producer.begin_transaction()
        self.begins.setdefault(partition, offset)
        self.ends[partition] = offset + 1
        copy = f"{partition}:{offset}:{message.value().decode()}"
        self.producer.produce(f"copy-out-{self.copier.name}", copy, partition=offset % OUT_PARTITIONS)

    def rewind(self):
        for partition, offset in self.rewound.items():
            self.consumer.seek(TopicPartition(IN, partition, offset))
        self.rewound.clear()

    def finish(self, is_committed):
        positions = [TopicPartition(IN, partition, offset) for partition, offset in self.ends.items()]
        try:
            self.insist(lambda: self.producer.send_offsets_to_transaction(positions, self.consumer.consumer_group_metadata(), PATIENCE_S))
            if is_committed:
                self.insist(lambda: self.producer.commit_transaction(PATIENCE_S))
                return self.end("committed")
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            self.copier.tell("refused", error.args[0].name(), error.args[0].str())
        self.abort()

    def abort(self):
        self.insist(lambda: self.producer.abort_transaction(PATIENCE_S))
        self.rewound |= self.begins
        self.end("aborted")

    def end(self, how):
        self.copier.tell(how, sum(self.ends.values()) - sum(self.begins.values()))
        self.begins.clear()
        self.ends.clear()

    def destroy(self):
        self.is_over = True
        # The consumer has this as its listener, so that neither would go by itself.
        self.consumer = None
        self.producer = None

    @staticmethod
    def insist(call):
        """What did not come to its end in time is asked for again, as librdkafka says."""
        while True:
            try:
                return call()
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise


class Copier(threading.Thread):
    """One life after the other, as a member of one group."""

    def __init__(self, name, bootstrap, index, process, seed, done):
        super().__init__()
        self.name = name
        self.common = COMING_BACK_SOON | {"bootstrap.servers": bootstrap}
        self.process = process
        self.random = random.Random(f"{seed} {name}")
        self.is_done = done.is_set
        self.transactions = [
            # Who takes this one's place fences it by its id ...
            (f"librdkafka-{name}-{index}", 10_000),
            # ... and here by the group alone.
            (f"librdkafka-{name}-{process}", 3_000),
        ]

    def tell(self, *words):
        print(self.name, *words, f"of {self.process}", file=sys.stderr, flush=True)

    def run(self):
        while not self.is_done():
            self.live()
            time.sleep(self.random.random() * 0.1)

    def live(self):
        """Some tidy up at their end, others leave it to whoever comes after them."""
        is_orderly = self.random.random() < 0.5
        life = Life(self, *self.random.choice(self.transactions))
        try:
            life.begin()
            life.live()
            is_orderly |= self.is_done()
        except KafkaException as error:
            self.tell("failed", error.args[0].name(), error.args[0].str())
            life.is_over = True
            if is_orderly and life.ends:
                # It may be fenced, or past help.
                with contextlib.suppress(KafkaException):
                    life.abort()
        if is_orderly:
            life.consumer.close()
        self.tell("left" if is_orderly else "vanished")
        self.destroy(life)

    def destroy(self, life):
        """Who has vanished is heard of no more. librdkafka 2.16.0 now and then waits for ever in the destructor of a client whose broker was away
        for a while (confluentinc/librdkafka#4674). By then it has nothing to say to any broker."""
        destructor = threading.Thread(target=life.destroy, daemon=True)
        destructor.start()
        destructor.join(DESTROYED_WITHIN_S)
        if destructor.is_alive():
            self.tell("undestroyed")


def main(bootstrap, index, process, seed):
    done = threading.Event()
    copiers = [Copier(name, bootstrap, index, process, seed, done) for name in BALANCING]
    for copier in copiers:
        copier.start()
    sys.stdin.read()
    done.set()
    for copier in copiers:
        copier.join()


faulthandler.register(signal.SIGQUIT)
main(*sys.argv[1:])
# What is still to be destroyed is not waited for.
os._exit(0)
