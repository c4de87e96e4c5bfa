"""What the Rust client's examples `group_member` and `keyed` do and print, with librdkafka: BOOTSTRAP TOPIC consumer|keyed [KEY=VALUE...]"""

import sys
import threading

from confluent_kafka import Consumer, KafkaException, Producer

bootstrap, topic, kind, *pairs = sys.argv[1:]
settings = {"bootstrap.servers": bootstrap, "log_level": 0} | dict(pair.split("=", 1) for pair in pairs)


def tell(what, *words):
    print(what, *words, flush=True)


def consume():
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    consumer = Consumer(settings)
    read = []  # and may not have been committed yet

    def commit():
        if not read:
            return
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:
            # Partitions that are given up are committed before that.
            if error.args[0].name() not in ("REBALANCE_IN_PROGRESS", "ILLEGAL_GENERATION", "STALE_MEMBER_EPOCH"):
                raise
            return
        for partition, offset in read:
            tell("got", partition, offset)
        read.clear()

    def told(what):
        return lambda _, partitions: tell(what, *(p.partition for p in partitions))

    def revoked(_, partitions):
        commit()
        told("revoked")(_, partitions)

    consumer.subscribe([topic], on_assign=told("assigned"), on_revoke=revoked, on_lost=told("lost"))
    while not ended.is_set():
        for message in consumer.consume(500, 0.1):
            if message.error():
                raise KafkaException(message.error())
            read.append((message.partition(), message.offset()))
        commit()
    consumer.close()


def keyed():
    producer = Producer(settings)
    partitions = []

    def delivered(error, message, number):
        if error:
            raise KafkaException(error)
        partitions[number] = message.partition()

    for number, line in enumerate(sys.stdin):
        partitions.append(None)
        producer.produce(topic, b"v", bytes.fromhex(line), on_delivery=lambda error, message, number=number: delivered(error, message, number))
    producer.flush(60)
    for partition in partitions:
        print(partition)


consume() if kind == "consumer" else keyed()
