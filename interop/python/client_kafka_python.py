"""kafka-python: written in Python alone."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import CommitFailedError, RebalanceInProgressError
from kafka.structs import OffsetAndMetadata

from harness import eventually
from scenarios import Record, collect


ASSIGNORS = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
    "cooperative-sticky": CooperativeStickyAssignor,
}


class KafkaPython:
    name = "kafka-python"
    sends_null_headers = False
    fences_in_good_order = False  # with 3.0.12 the second producer takes itself for fenced, also with Apache Kafka
    codecs = (None, "gzip", "snappy", "lz4", "zstd")
    assignors = tuple(ASSIGNORS)

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def close(self):
        self.admin.close()

    # -- administration

    def create(self, topic, partitions, configs=None):
        self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})])
        eventually(lambda: self._assert(topic in self.topics() and self.partitions(topic) == partitions))
        return topic

    @staticmethod
    def _assert(condition):
        assert condition

    def grow(self, topic, count):
        self.admin.create_partitions({topic: NewPartitions(count)})

    def delete(self, topic):
        self.admin.delete_topics([topic])

    def topics(self):
        return set(self.admin.list_topics())

    def partitions(self, topic):
        (described,) = self.admin.describe_topics([topic])
        return len(described["partitions"])

    def configs(self, topic):
        described = self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        return flatten_configs(described, topic)

    def set_config(self, topic, key, value):
        self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {key: value})])

    def delete_records(self, topic, partition, before):
        self.admin.delete_records({TopicPartition(topic, partition): before})

    def groups(self):
        return {group["group_id"] for group in self.admin.list_groups()}

    def describe_group(self, group):
        described = self.admin.describe_groups([group])[group]
        return described["group_state"], len(described["members"])

    def group_offsets(self, group, topic):
        found = self.admin.list_group_offsets({group: None})[group]
        return {p.partition: o.offset for p, o in found.items() if p.topic == topic}

    def delete_group(self, group):
        self.admin.delete_groups([group])

    # -- producing

    def produce(self, topic, records, codec, acks, idempotent):
        producer = KafkaProducer(
            bootstrap_servers=self.bootstrap,
            compression_type=codec,
            acks="all" if acks == -1 else acks,
            enable_idempotence=idempotent,
            linger_ms=5,
            max_request_size=5_000_000,
        )
        try:
            sent = [
                producer.send(topic, record.value, record.key, headers=record.headers, partition=record.partition, timestamp_ms=record.timestamp)
                for record in records
            ]
            producer.flush()
            return [future.get(60).offset for future in sent]
        finally:
            producer.close()

    # -- consuming

    def _consumer(self, *topics, **settings):
        defaults = {"auto_offset_reset": "earliest", "enable_auto_commit": False}
        return KafkaConsumer(*topics, bootstrap_servers=self.bootstrap, **(defaults | settings))

    def read(self, topic, partitions, count, committed=False):
        consumer = self._consumer(isolation_level="read_committed" if committed else "read_uncommitted")
        try:
            assigned = [TopicPartition(topic, p) for p in range(partitions)]
            consumer.assign(assigned)
            consumer.seek_to_beginning(*assigned)
            return collect(lambda: records_of(consumer.poll(200)), count)
        finally:
            consumer.close()

    def offsets_for_time(self, topic, partition, timestamp):
        consumer = self._consumer()
        try:
            asked = TopicPartition(topic, partition)
            return consumer.offsets_for_times({asked: timestamp})[asked].offset
        finally:
            consumer.close()

    def bounds(self, topic, partition):
        consumer = self._consumer()
        try:
            asked = TopicPartition(topic, partition)
            return consumer.beginning_offsets([asked])[asked], consumer.end_offsets([asked])[asked]
        finally:
            consumer.close()

    def transactor(self, identifier):
        return Transactor(KafkaProducer(bootstrap_servers=self.bootstrap, transactional_id=identifier))

    def consumer(self, group, topic, instance=None, assignor="range"):
        static = {"group_instance_id": instance} if instance else {}
        consumer = self._consumer(
            topic,
            group_id=group,
            partition_assignment_strategy=(ASSIGNORS[assignor],),
            session_timeout_ms=60_000,
            heartbeat_interval_ms=200,
            **static,
        )
        # 3.0.12 joins a second time if it did not know the topic's partitions at the first, and if a poll times out while it does so,
        # no later one ends the join: no heartbeats, no records. So it gets to know them first.
        assert consumer.partitions_for_topic(topic), f"{topic} is not known"
        return Subscribed(consumer)


class Transactor:
    def __init__(self, producer):
        self.producer = producer
        producer.init_transactions()

    def begin(self):
        self.producer.begin_transaction()

    def send(self, topic, partition, value):
        self.producer.send(topic, value, partition=partition).get(60)

    def send_offsets(self, consumer, _group, topic, offsets):
        offsets = {TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
        self.producer.send_offsets_to_transaction(offsets, consumer.consumer.group_metadata())

    def commit(self):
        self.producer.commit_transaction()

    def abort(self):
        self.producer.abort_transaction()

    def close(self):
        self.producer.close(timeout=60)


def flatten_configs(described, topic):
    """Whatever the nesting, the names and values of one topic."""
    for resources in described.values():
        if topic in resources:
            return {name: entry["value"] if isinstance(entry, dict) else entry for name, entry in resources[topic].items()}
    raise AssertionError(f"{topic} is not in {described}")


def records_of(polled):
    return [
        Record(r.partition, r.offset, r.key, r.value, [tuple(header) for header in r.headers], r.timestamp)
        for records in polled.values()
        for r in records
    ]


class Subscribed:
    def __init__(self, consumer):
        self.consumer = consumer

    def poll(self):
        return records_of(self.consumer.poll(100))

    def assignment(self):
        return {partition.partition for partition in self.consumer.assignment()}

    def commit(self):
        try:
            self.consumer.commit()
        except (CommitFailedError, RebalanceInProgressError):
            pass  # the next poll joins again

    def close(self):
        self.consumer.close()
