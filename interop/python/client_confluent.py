"""confluent-kafka: librdkafka from Python."""

from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

from harness import eventually
from scenarios import Record, collect


PATIENCE_S = 60
BROKERS = "the broker's "


def result(futures):
    """The single result of what the admin client answers."""
    (future,) = futures.values()
    return future.result()


class Confluent:
    name = "confluent-kafka"
    sends_null_headers = True
    fences_in_good_order = True
    codecs = (None, "gzip", "snappy", "lz4", "zstd")
    assignors = ("range", "roundrobin", "cooperative-sticky", "the broker's uniform", "the broker's range")

    def __init__(self, bootstrap):
        self.common = {"bootstrap.servers": bootstrap, "log_level": 0}
        self.admin = AdminClient(self.common)
        self.unacknowledged = []

    def close(self):
        pass

    # -- administration

    def create(self, topic, partitions, configs=None):
        result(self.admin.create_topics([NewTopic(topic, partitions, 1, config=configs or {})]))
        eventually(lambda: self._assert(topic in self.topics()))
        return topic

    @staticmethod
    def _assert(condition):
        assert condition

    def grow(self, topic, count):
        result(self.admin.create_partitions([NewPartitions(topic, count)]))

    def delete(self, topic):
        result(self.admin.delete_topics([topic]))

    def topics(self):
        return set(self.admin.list_topics(timeout=PATIENCE_S).topics)

    def partitions(self, topic):
        return len(self.admin.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions)

    def configs(self, topic):
        entries = result(self.admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]))
        return {name: entry.value for name, entry in entries.items()}

    def set_config(self, topic, key, value):
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        result(self.admin.incremental_alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])]))

    def delete_records(self, topic, partition, before):
        result(self.admin.delete_records([TopicPartition(topic, partition, before)]))

    def groups(self):
        return {group.group_id for group in self.admin.list_consumer_groups().result().valid}

    def describe_group(self, group):
        described = result(self.admin.describe_consumer_groups([group]))
        return described.state.name.capitalize(), len(described.members)

    def group_offsets(self, group, topic):
        found = result(self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
        return {p.partition: p.offset for p in found.topic_partitions if p.topic == topic}

    def delete_group(self, group):
        result(self.admin.delete_consumer_groups([group]))

    # -- producing

    def produce(self, topic, records, codec, acks, idempotent):
        settings = {"compression.type": codec or "none", "acks": acks, "enable.idempotence": idempotent, "linger.ms": 5, "message.max.bytes": 5_000_000}
        producer = Producer(self.common | settings)
        offsets, errors = [None] * len(records), []
        for i, record in enumerate(records):

            def delivered(error, message, i=i):
                offsets[i] = message.offset()
                if error:
                    errors.append(error)

            producer.produce(
                topic,
                record.value,
                record.key,
                record.partition,
                on_delivery=delivered,
                timestamp=record.timestamp,
                headers=record.headers,
            )
        producer.flush(PATIENCE_S)
        if acks == 0:
            # Flushed is not received: a connection that closes now may take the records with it.
            self.unacknowledged.append(producer)
        if errors:
            raise KafkaException(errors[0])
        return offsets

    # -- consuming

    def _consumer(self, group, **settings):
        defaults = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
        return Consumer(self.common | defaults | settings)

    def read(self, topic, partitions, count, committed=False):
        consumer = self._consumer("unused", **{"isolation.level": "read_committed" if committed else "read_uncommitted"})
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
        try:
            return collect(lambda: [record_of(message) for message in consumer.consume(count, 0.2)], count)
        finally:
            consumer.close()

    def offsets_for_time(self, topic, partition, timestamp):
        consumer = self._consumer("unused")
        try:
            return consumer.offsets_for_times([TopicPartition(topic, partition, timestamp)], timeout=PATIENCE_S)[0].offset
        finally:
            consumer.close()

    def bounds(self, topic, partition):
        consumer = self._consumer("unused")
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=PATIENCE_S)
        finally:
            consumer.close()

    def consumer(self, group, topic, instance=None, assignor="range"):
        static = {"group.instance.id": instance} if instance else {}
        if assignor.startswith(BROKERS):
            # The consumer protocol (KIP-848): sessions and heartbeats are the broker's to set.
            balancing = {"group.protocol": "consumer", "group.remote.assignor": assignor.removeprefix(BROKERS)}
        else:
            balancing = {"partition.assignment.strategy": assignor, "session.timeout.ms": 60_000, "heartbeat.interval.ms": 200}
        consumer = self._consumer(group, **static, **balancing)
        consumer.subscribe([topic])
        return Subscribed(consumer)

    def transactor(self, identifier):
        return Transactor(Producer(self.common | {"transactional.id": identifier, "linger.ms": 0}))


class Transactor:
    def __init__(self, producer):
        self.producer = producer
        producer.init_transactions(PATIENCE_S)

    def begin(self):
        self.producer.begin_transaction()

    def send(self, topic, partition, value):
        errors = []
        self.producer.produce(topic, value, partition=partition, on_delivery=lambda error, _: error and errors.append(error))
        self.producer.flush(PATIENCE_S)
        if errors:
            raise KafkaException(errors[0])

    def send_offsets(self, consumer, _group, topic, offsets):
        offsets = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        self.producer.send_offsets_to_transaction(offsets, consumer.consumer.consumer_group_metadata(), PATIENCE_S)

    def commit(self):
        self.producer.commit_transaction(PATIENCE_S)

    def abort(self):
        self.producer.abort_transaction(PATIENCE_S)

    def close(self):
        self.producer.flush(PATIENCE_S)


def record_of(message):
    if message.error():
        raise KafkaException(message.error())
    return Record(message.partition(), message.offset(), message.key(), message.value(), message.headers() or [], message.timestamp()[1])


class Subscribed:
    def __init__(self, consumer):
        self.consumer = consumer

    def poll(self):
        return [record_of(message) for message in self.consumer.consume(500, 0.1)]

    def assignment(self):
        return {partition.partition for partition in self.consumer.assignment()}

    def commit(self):
        if not self.consumer.assignment():
            return
        try:
            self.consumer.commit(asynchronous=False)
        except KafkaException as error:
            if error.args[0].name() not in ("_NO_OFFSET", "REBALANCE_IN_PROGRESS", "ILLEGAL_GENERATION", "STALE_MEMBER_EPOCH"):
                raise

    def close(self):
        self.consumer.close()
