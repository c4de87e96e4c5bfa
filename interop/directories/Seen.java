import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
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

/** All that clients can see of what a broker keeps, in an order that does not depend on the broker. Partitions are asked for all at once. */
final class Seen {
    private static final int TIMES_A_PARTITION = 5;
    private final Clients clients;

    Seen(Clients clients) {
        this.clients = clients;
    }

    Map<String, Object> everything() throws Exception {
        Map<String, Object> seen = new TreeMap<>();
        seen.put("cluster", clients.admin.describeCluster().clusterId().get());
        Map<String, Object> features = new TreeMap<>();
        clients.admin.describeFeatures().featureMetadata().get().finalizedFeatures().forEach((name, range) -> features.put(name, range.maxVersionLevel()));
        seen.put("features", features);
        seen.put("broker configs", configs(ConfigResource.Type.BROKER, List.of("1"), ConfigEntry.ConfigSource.DYNAMIC_BROKER_CONFIG));
        seen.put("cluster configs", configs(ConfigResource.Type.BROKER, List.of(""), ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG));
        seen.put("topics", topics());
        seen.put("groups", groups());
        return seen;
    }

    private Map<String, Map<String, String>> configs(ConfigResource.Type type, Collection<String> names, ConfigEntry.ConfigSource source) throws Exception {
        Map<String, Map<String, String>> found = new TreeMap<>();
        clients.admin.describeConfigs(names.stream().map(name -> new ConfigResource(type, name)).toList()).all().get().forEach((resource, config) -> {
            Map<String, String> ofOne = new TreeMap<>();
            config.entries().stream().filter(entry -> entry.source() == source).forEach(entry -> ofOne.put(entry.name(), String.valueOf(entry.value())));
            found.put(resource.name(), ofOne);
        });
        return found;
    }

    private Map<String, Object> topics() throws Exception {
        var names = clients.admin.listTopics(new ListTopicsOptions().listInternal(false)).names().get();
        Map<String, TopicDescription> described = clients.admin.describeTopics(names).allTopicNames().get();
        var configs = configs(ConfigResource.Type.TOPIC, names, ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        List<TopicPartition> all = new ArrayList<>();
        described.forEach((name, topic) -> topic.partitions().forEach(partition -> all.add(new TopicPartition(name, partition.partition()))));
        Map<TopicPartition, Map<String, Object>> partitions = partitions(all);
        Map<String, Object> topics = new TreeMap<>();
        described.forEach((name, topic) -> topics.put(name, Map.of(
                "id", topic.topicId().toString(),
                "configs", configs.get(name),
                "partitions", topic.partitions().stream().map(partition -> partitions.get(new TopicPartition(name, partition.partition()))).toList())));
        return topics;
    }

    private Map<TopicPartition, Map<String, Object>> partitions(List<TopicPartition> all) throws Exception {
        Map<TopicPartition, Map<String, Object>> seen = new HashMap<>();
        all.forEach(partition -> seen.put(partition, new TreeMap<>()));
        for (var spec : Map.of("start", OffsetSpec.earliest(), "end", OffsetSpec.latest(), "max timestamp", OffsetSpec.maxTimestamp()).entrySet()) {
            Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
            all.forEach(partition -> asked.put(partition, spec.getValue()));
            offsets(asked).forEach((partition, offset) -> seen.get(partition).put(spec.getKey(), offset));
        }
        var records = read(all, "read_uncommitted");
        var committed = read(all, "read_committed");
        for (TopicPartition partition : all) {
            Map<String, Object> ofOne = seen.get(partition);
            if (partition.topic().startsWith("compacted")) {
                // Compaction may go on at any time: what must hold is the last value of each key, and the end.
                ofOne.remove("max timestamp");
                ofOne.put("latest", digest(latest(records.get(partition))));
            } else {
                ofOne.put("records", records.get(partition).size());
                ofOne.put("digest", digest(records.get(partition)));
                ofOne.put("committed digest", digest(committed.get(partition)));
            }
        }
        for (int i = 0; i < TIMES_A_PARTITION; i++) {
            String what = "offset by time " + i;
            Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
            for (TopicPartition partition : all) {
                var ofOne = records.get(partition);
                if (!partition.topic().startsWith("compacted") && !ofOne.isEmpty()) {
                    asked.put(partition, OffsetSpec.forTimestamp(ofOne.get(i * (ofOne.size() - 1) / (TIMES_A_PARTITION - 1)).timestamp()));
                }
            }
            offsets(asked).forEach((partition, offset) -> seen.get(partition).put(what, offset));
        }
        return seen;
    }

    private Map<TopicPartition, Long> offsets(Map<TopicPartition, OffsetSpec> asked) throws Exception {
        Map<TopicPartition, Long> offsets = new HashMap<>();
        clients.admin.listOffsets(asked).all().get().forEach((partition, found) -> offsets.put(partition, found.offset()));
        return offsets;
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

    private Map<TopicPartition, List<ConsumerRecord<byte[], byte[]>>> read(List<TopicPartition> partitions, String isolation) {
        Map<TopicPartition, List<ConsumerRecord<byte[], byte[]>>> records = new HashMap<>();
        partitions.forEach(partition -> records.put(partition, new ArrayList<>()));
        try (Consumer<byte[], byte[]> consumer = clients.consumer("isolation.level", isolation, "max.poll.records", 100_000, "fetch.max.wait.ms", 10)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions); // with read_committed: before the first open transaction
            List<TopicPartition> open = new ArrayList<>(partitions);
            long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
            while (true) {
                open.removeIf(partition -> consumer.position(partition) >= ends.get(partition));
                if (open.isEmpty()) {
                    return records;
                }
                consumer.poll(Duration.ofMillis(100)).forEach(record -> records.get(new TopicPartition(record.topic(), record.partition())).add(record));
                if (System.nanoTime() > deadline) {
                    TopicPartition first = open.get(0);
                    throw new IllegalStateException("reading " + open + " takes too long: " + first + " is at " + consumer.position(first) + " of " + ends.get(first));
                }
            }
        }
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
