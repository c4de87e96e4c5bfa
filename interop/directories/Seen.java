import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** All that clients can see of what a broker keeps, in an order that does not depend on the broker. */
final class Seen {
    private final Clients clients;
    /** One consumer an isolation level for all partitions in turn. */
    private final Map<String, Consumer<byte[], byte[]>> consumers = new TreeMap<>();

    Seen(Clients clients) {
        this.clients = clients;
    }

    Map<String, Object> everything() throws Exception {
        try {
            for (String isolation : List.of("read_uncommitted", "read_committed")) {
                consumers.put(isolation, clients.consumer("isolation.level", isolation, "max.poll.records", 10_000, "fetch.max.wait.ms", 10));
            }
            return inspect();
        } finally {
            consumers.values().forEach(Consumer::close);
            consumers.clear();
        }
    }

    private Map<String, Object> inspect() throws Exception {
        Map<String, Object> seen = new TreeMap<>();
        seen.put("cluster", clients.admin.describeCluster().clusterId().get());
        Map<String, Object> features = new TreeMap<>();
        clients.admin.describeFeatures().featureMetadata().get().finalizedFeatures().forEach((name, range) -> features.put(name, range.maxVersionLevel()));
        seen.put("features", features);
        seen.put("broker configs", configs(ConfigResource.Type.BROKER, "1", ConfigEntry.ConfigSource.DYNAMIC_BROKER_CONFIG));
        seen.put("cluster configs", configs(ConfigResource.Type.BROKER, "", ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG));
        Map<String, Object> topics = new TreeMap<>();
        for (String topic : clients.admin.listTopics(new ListTopicsOptions().listInternal(false)).names().get()) {
            topics.put(topic, topic(topic));
        }
        seen.put("topics", topics);
        seen.put("groups", groups());
        return seen;
    }

    private Map<String, String> configs(ConfigResource.Type type, String name, ConfigEntry.ConfigSource source) throws Exception {
        ConfigResource resource = new ConfigResource(type, name);
        Map<String, String> found = new TreeMap<>();
        for (ConfigEntry entry : clients.admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()) {
            if (entry.source() == source) {
                found.put(entry.name(), String.valueOf(entry.value()));
            }
        }
        return found;
    }

    private Map<String, Object> topic(String name) throws Exception {
        TopicDescription described = clients.admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        Map<String, Object> topic = new TreeMap<>();
        topic.put("id", described.topicId().toString());
        topic.put("configs", configs(ConfigResource.Type.TOPIC, name, ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG));
        List<Object> partitions = new ArrayList<>();
        for (int i = 0; i < described.partitions().size(); i++) {
            partitions.add(partition(new TopicPartition(name, i), name.startsWith("compacted")));
        }
        topic.put("partitions", partitions);
        return topic;
    }

    private Map<String, Object> partition(TopicPartition partition, boolean compacted) throws Exception {
        Map<String, Object> seen = new TreeMap<>();
        for (var spec : Map.of("start", OffsetSpec.earliest(), "end", OffsetSpec.latest(), "max timestamp", OffsetSpec.maxTimestamp()).entrySet()) {
            seen.put(spec.getKey(), clients.admin.listOffsets(Map.of(partition, spec.getValue())).partitionResult(partition).get().offset());
        }
        List<ConsumerRecord<byte[], byte[]>> records = read(partition, "read_uncommitted");
        if (compacted) {
            // Compaction may go on at any time: what must hold is the last value of each key, and the end.
            seen.remove("max timestamp");
            seen.put("latest", digest(latest(records)));
        } else {
            seen.put("records", records.size());
            seen.put("digest", digest(records));
            seen.put("committed digest", digest(read(partition, "read_committed")));
            List<Long> byTime = new ArrayList<>();
            for (int i = 0; i < records.size(); i += 1 + records.size() / 5) {
                long time = records.get(i).timestamp();
                byTime.add(clients.admin.listOffsets(Map.of(partition, OffsetSpec.forTimestamp(time))).partitionResult(partition).get().offset());
            }
            seen.put("offsets by time", byTime);
        }
        return seen;
    }

    private static List<ConsumerRecord<byte[], byte[]>> latest(List<ConsumerRecord<byte[], byte[]>> records) {
        Map<String, ConsumerRecord<byte[], byte[]>> byKey = new TreeMap<>();
        for (var record : records) {
            String key = HexFormat.of().formatHex(record.key());
            if (record.value() == null) {
                byKey.remove(key);
            } else {
                byKey.put(key, record);
            }
        }
        return new ArrayList<>(byKey.values());
    }

    private List<ConsumerRecord<byte[], byte[]>> read(TopicPartition partition, String isolation) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        Consumer<byte[], byte[]> consumer = consumers.get(isolation);
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        long end = consumer.endOffsets(List.of(partition)).get(partition); // with read_committed: before the first open transaction
        long deadline = System.nanoTime() + Duration.ofSeconds(20).toNanos();
        while (consumer.position(partition) < end) {
            consumer.poll(Duration.ofMillis(100)).forEach(records::add);
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("reading " + partition + " stopped at " + consumer.position(partition) + " before " + end);
            }
        }
        return records;
    }

    private static String digest(List<ConsumerRecord<byte[], byte[]>> records) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        for (var record : records) {
            digest.update(ByteBuffer.allocate(17).putLong(record.offset()).putLong(record.timestamp()).put((byte) record.timestampType().id).array());
            update(digest, record.key());
            update(digest, record.value());
            for (var header : record.headers()) {
                update(digest, header.key().getBytes(java.nio.charset.StandardCharsets.UTF_8));
                update(digest, header.value());
            }
        }
        return HexFormat.of().formatHex(digest.digest(), 0, 8);
    }

    private static void update(MessageDigest digest, byte[] bytes) {
        digest.update(ByteBuffer.allocate(4).putInt(bytes == null ? -1 : bytes.length).array());
        if (bytes != null) {
            digest.update(bytes);
        }
    }

    private Map<String, Object> groups() throws Exception {
        Map<String, Object> groups = new TreeMap<>();
        for (var group : clients.admin.listGroups().all().get()) {
            if (group.type().map(type -> type.toString().equals("Classic")).orElse(false)) {
                groups.put(group.groupId(), offsets(group.groupId()));
            }
        }
        return groups;
    }

    private Map<String, String> offsets(String group) throws InterruptedException, ExecutionException {
        Map<String, String> offsets = new TreeMap<>();
        clients.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((partition, offset) -> {
            if (offset != null) {
                offsets.put(partition.toString(), offset.offset() + " " + offset.leaderEpoch().map(String::valueOf).orElse("-") + " " + offset.metadata());
            }
        });
        return offsets;
    }
}
