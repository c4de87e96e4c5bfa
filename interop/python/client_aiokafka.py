"""aiokafka: asyncio; its event loop runs in a thread of its own."""

import asyncio
import threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError

from harness import eventually
from scenarios import Record, collect


ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}


class AioKafka:
    name = "aiokafka"
    sends_null_headers = True
    fences_in_good_order = True
    codecs = (None, "gzip", "snappy", "lz4", "zstd")
    assignors = tuple(ASSIGNORS)

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.admin = self.wait(self._open(AIOKafkaAdminClient))

    def wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(180)

    async def _open(self, kind, *arguments, **settings):
        client = kind(*arguments, bootstrap_servers=self.bootstrap, **settings)
        await client.start()
        return client

    def close(self):
        self.wait(self.admin.close())
        self.loop.call_soon_threadsafe(self.loop.stop)

    # -- administration

    def create(self, topic, partitions, configs=None):
        self.wait(self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})]))
        eventually(lambda: self._assert(topic in self.topics() and self.partitions(topic) == partitions))
        return topic

    @staticmethod
    def _assert(condition):
        assert condition

    def grow(self, topic, count):
        self.wait(self.admin.create_partitions({topic: NewPartitions(count)}))

    def delete(self, topic):
        self.wait(self.admin.delete_topics([topic]))

    def topics(self):
        return set(self.wait(self.admin.list_topics()))

    def partitions(self, topic):
        (described,) = self.wait(self.admin.describe_topics([topic]))
        return len(described["partitions"])

    def configs(self, topic):
        (answer,) = self.wait(self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}

    def set_config(self, topic, key, value):
        self.wait(self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {key: value})]))

    def delete_records(self, topic, partition, before):
        self.wait(self.admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before)}))

    def groups(self):
        return {group[0] for group in self.wait(self.admin.list_consumer_groups())}

    def describe_group(self, group):
        (answer,) = self.wait(self.admin.describe_consumer_groups([group]))
        _error, _group, state, _kind, _protocol, members, *_ = answer.groups[0]
        return state, len(members)

    def group_offsets(self, group, topic):
        found = self.wait(self.admin.list_consumer_group_offsets(group))
        return {p.partition: o.offset for p, o in found.items() if p.topic == topic}

    # -- producing

    def produce(self, topic, records, codec, acks, idempotent):
        return self.wait(self._produce(topic, records, codec, acks, idempotent))

    async def _produce(self, topic, records, codec, acks, idempotent):
        acks = "all" if acks == -1 else acks
        producer = await self._open(
            AIOKafkaProducer, compression_type=codec, acks=acks, enable_idempotence=idempotent, linger_ms=5, max_request_size=5_000_000
        )
        try:
            sent = [
                await producer.send(topic, r.value, r.key, r.partition, r.timestamp, headers=r.headers) for r in records
            ]
            answers = await asyncio.gather(*sent)
            return [answer and answer.offset for answer in answers]
        finally:
            await producer.stop()

    # -- consuming

    async def _consumer(self, *topics, **settings):
        return await self._open(AIOKafkaConsumer, *topics, auto_offset_reset="earliest", enable_auto_commit=False, **settings)

    def read(self, topic, partitions, count, committed=False):
        consumer = self.wait(self._consumer(isolation_level="read_committed" if committed else "read_uncommitted"))
        try:
            self.wait(self._begin(consumer, [TopicPartition(topic, p) for p in range(partitions)]))
            return collect(lambda: records_of(self.wait(consumer.getmany(timeout_ms=200))), count)
        finally:
            self.wait(consumer.stop())

    async def _begin(self, consumer, partitions):
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)

    def offsets_for_time(self, topic, partition, timestamp):
        consumer = self.wait(self._consumer())
        try:
            asked = TopicPartition(topic, partition)
            return self.wait(consumer.offsets_for_times({asked: timestamp}))[asked].offset
        finally:
            self.wait(consumer.stop())

    def bounds(self, topic, partition):
        consumer = self.wait(self._consumer())
        try:
            asked = TopicPartition(topic, partition)
            return self.wait(consumer.beginning_offsets([asked]))[asked], self.wait(consumer.end_offsets([asked]))[asked]
        finally:
            self.wait(consumer.stop())

    def consumer(self, group, topic, instance=None, assignor="roundrobin"):
        return Subscribed(self, group, topic, instance, assignor)

    def transactor(self, identifier):
        return Transactor(self, identifier)


def records_of(polled):
    return [
        Record(r.partition, r.offset, r.key, r.value, [tuple(header) for header in r.headers], r.timestamp)
        for records in polled.values()
        for r in records
    ]


class Transactor:
    def __init__(self, client, identifier):
        self.client = client
        self.producer = client.wait(client._open(AIOKafkaProducer, transactional_id=identifier))

    def begin(self):
        self.client.wait(self.producer.begin_transaction())

    def send(self, topic, partition, value):
        self.client.wait(self.producer.send_and_wait(topic, value, partition=partition))

    def send_offsets(self, _consumer, group, topic, offsets):
        offsets = {TopicPartition(topic, partition): offset for partition, offset in offsets.items()}
        self.client.wait(self.producer.send_offsets_to_transaction(offsets, group))

    def commit(self):
        self.client.wait(self.producer.commit_transaction())

    def abort(self):
        self.client.wait(self.producer.abort_transaction())

    def close(self):
        self.client.wait(self.producer.stop())


class Subscribed(ConsumerRebalanceListener):
    """aiokafka joins while it starts; what was read must be committed before partitions are given away."""

    def __init__(self, client, group, topic, instance, assignor):
        self.client = client
        self.consumer = client.wait(
            client._consumer(
                group_id=group,
                group_instance_id=instance,
                partition_assignment_strategy=(ASSIGNORS[assignor],),
                session_timeout_ms=60_000,
                heartbeat_interval_ms=200,
            )
        )
        self.consumer.subscribe([topic], listener=self)

    async def on_partitions_revoked(self, revoked):
        if self.consumer.assignment():
            await self._commit()

    async def on_partitions_assigned(self, assigned):
        pass

    async def _commit(self):
        try:
            await self.consumer.commit()
        except CommitFailedError:
            pass  # it joins again

    def poll(self):
        return records_of(self.client.wait(self.consumer.getmany(timeout_ms=100)))

    def assignment(self):
        return {partition.partition for partition in self.consumer.assignment()}

    def commit(self):
        if self.consumer.assignment():
            self.client.wait(self._commit())

    def close(self):
        self.client.wait(self.consumer.stop())
