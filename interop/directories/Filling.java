import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** What every broker of the project's first version can be asked to keep: topics of every kind, records, settings, groups' offsets. */
final class Filling {
    private final Clients clients;
    private final Random random = new Random(1);
    /** Outlives brokers: the next one must know its producer id and sequence numbers. */
    private Producer<byte[], byte[]> lasting;
    private int round;

    Filling(Clients clients) {
        this.clients = clients;
    }

    /** Without a word to the broker. */
    void close() {
        if (lasting != null) {
            lasting.close(Duration.ZERO);
        }
    }

    Object fill() throws Exception {
        Map<String, Map<String, String>> topics = new HashMap<>();
        for (String codec : Clients.CODECS) {
            topics.put("codec-" + codec, Map.of());
        }
        topics.put("mixed-codecs", Map.of());
        topics.put("recompressed", Map.of("compression.type", "zstd"));
        topics.put("segments", Map.of("segment.bytes", "1048576", "retention.bytes", "-1"));
        topics.put("compacted", Map.of("cleanup.policy", "compact", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.01", "min.compaction.lag.ms", "0"));
        topics.put("append-time", Map.of("message.timestamp.type", "LogAppendTime"));
        topics.put("idempotent", Map.of());
        topics.put("records-deleted", Map.of());
        topics.put("never-written", Map.of("retention.ms", "123456789"));
        topics.put("to-be-deleted", Map.of());
        topics.put("keeps-nothing-else", Map.of("delete.retention.ms", "1", "file.delete.delay.ms", "1000", "max.message.bytes", "2000000", "min.insync.replicas", "1",
                "message.timestamp.after.max.ms", "9223372036854775807", "index.interval.bytes", "100", "segment.index.bytes", "2000"));
        for (int i = 0; i < 20; i++) {
            topics.put("many-" + i, i % 2 == 0 ? Map.of() : Map.of("retention.ms", String.valueOf(1_000_000_000L + i)));
        }
        List<NewTopic> all = new ArrayList<>();
        topics.forEach((name, configs) -> all.add(new NewTopic(name, Optional.of(name.startsWith("many") ? 1 : 2), Optional.empty()).configs(configs)));
        clients.admin.createTopics(all).all().get();
        waitForLeaders(topics.keySet());
        setBrokerConfigs();
        lasting = clients.producer("acks", "all", "linger.ms", 5);
        write();
        delete("records-deleted", 0, 30);
        clients.admin.deleteTopics(List.of("to-be-deleted")).all().get();
        waitFor(() -> !clients.admin.listTopics().names().get().contains("to-be-deleted"));
        return Map.of("round", round);
    }

    /** Writes to everything again, and changes topics as their owners do. */
    Object more() throws Exception {
        write();
        delete("records-deleted", 0, 60);
        String added = "added-" + round;
        clients.admin.createTopics(List.of(new NewTopic(added, 2, (short) 1).configs(Map.of("retention.ms", "7654321")))).all().get();
        waitForLeaders(List.of(added));
        clients.admin.createPartitions(Map.of("many-" + round, NewPartitions.increaseTo(3))).all().get();
        clients.admin.deleteTopics(List.of("many-" + (19 - round))).all().get();
        alter(ConfigResource.Type.TOPIC, "never-written", "retention.ms", String.valueOf(5_000_000 + round));
        String last = String.valueOf(50 + round);
        alter(ConfigResource.Type.TOPIC, "never-written", "flush.messages", last);
        var altered = new ConfigResource(ConfigResource.Type.TOPIC, "never-written");
        waitFor(() -> clients.admin.describeConfigs(List.of(altered)).all().get().get(altered).get("flush.messages").value().equals(last));
        try (Producer<byte[], byte[]> producer = clients.producer()) {
            send(producer, added, 0, 25, "added");
        }
        return Map.of("round", round);
    }

    /** The controller has them; the broker leads them in its own time. */
    private void waitForLeaders(Collection<String> topics) throws Exception {
        while (true) {
            try {
                Map<TopicPartition, OffsetSpec> partitions = new HashMap<>();
                clients.admin.describeTopics(topics).allTopicNames().get()
                        .forEach((name, topic) -> topic.partitions().forEach(partition -> partitions.put(new TopicPartition(name, partition.partition()), OffsetSpec.latest())));
                clients.admin.listOffsets(partitions).all().get();
                return;
            } catch (ExecutionException e) {
                Thread.sleep(20);
            }
        }
    }

    /** The broker sees changes in the order in which the controller made them: with the last of them all are seen. */
    private static void waitFor(Callable<Boolean> isSeen) throws Exception {
        while (!isSeen.call()) {
            Thread.sleep(20);
        }
    }

    private void alter(ConfigResource.Type type, String name, String key, String value) throws Exception {
        var operation = new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET);
        clients.admin.incrementalAlterConfigs(Map.of(new ConfigResource(type, name), List.of(operation))).all().get();
    }

    private void setBrokerConfigs() throws Exception {
        alter(ConfigResource.Type.BROKER, "", "log.retention.ms", "900000000");
        alter(ConfigResource.Type.BROKER, "", "message.max.bytes", "1500000");
        alter(ConfigResource.Type.BROKER, "1", "log.cleaner.threads", "1");
    }

    private void write() throws Exception {
        round++;
        for (String codec : Clients.CODECS) {
            for (String idempotent : List.of("true", "false")) {
                try (Producer<byte[], byte[]> producer =
                        clients.producer("compression.type", codec, "batch.size", 2000, "linger.ms", 5, "enable.idempotence", idempotent)) {
                    send(producer, "codec-" + codec, 0, 200, "r" + round);
                    send(producer, "codec-" + codec, 1, 50, "r" + round);
                    send(producer, "mixed-codecs", 0, 60, codec);
                    send(producer, "recompressed", 0, 30, codec);
                    send(producer, "append-time", 0, 20, codec);
                    producer.flush();
                }
            }
        }
        try (Producer<byte[], byte[]> producer = clients.producer("linger.ms", 5, "buffer.memory", 4_000_000)) {
            for (int i = 0; i < 3000; i++) {
                producer.send(new ProducerRecord<>("segments", 0, time(i), null, noise(1000)));
            }
            for (int i = 0; i < 6000; i++) {
                byte[] value = i % 11 == 0 ? null : noise(i < 5000 ? 400 : 20);
                producer.send(new ProducerRecord<>("compacted", i % 2, time(i), bytes("key" + i % 300), value));
            }
            send(producer, "records-deleted", 0, 100, "r" + round);
            send(producer, "keeps-nothing-else", 0, 300, "r" + round);
            if (round == 1) {
                send(producer, "to-be-deleted", 1, 10, "r" + round);
            }
            for (int i = 0; i < 20; i += 3) {
                send(producer, "many-" + i, 0, i + 1, "r" + round);
            }
        }
        List<Future<RecordMetadata>> answers = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            answers.add(lasting.send(new ProducerRecord<>("idempotent", i % 2, time(i), null, bytes("r" + round + " " + i))));
        }
        for (var answer : answers) {
            answer.get();
        }
        commitOffsets();
    }

    private void commitOffsets() throws Exception {
        for (int i = 0; i < 20; i++) {
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (String topic : List.of("codec-zstd", "segments", "never-written")) {
                offsets.put(new TopicPartition(topic, i % 2), new OffsetAndMetadata(10L * round + i, Optional.of(0), "round " + round));
            }
            clients.admin.alterConsumerGroupOffsets("offsets-only-" + i, offsets).all().get();
        }
        for (String assignor : List.of("RangeAssignor", "CooperativeStickyAssignor")) {
            try (var member = clients.consumer("group.id", "members-" + assignor, "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor)) {
                member.subscribe(List.of("codec-gzip", "codec-lz4"));
                int count = 0;
                while (count < 300) {
                    count += member.poll(Duration.ofMillis(200)).count();
                }
                member.commitSync();
            }
        }
    }

    private void delete(String topic, int partition, long before) throws Exception {
        clients.admin.deleteRecords(Map.of(new TopicPartition(topic, partition), RecordsToDelete.beforeOffset(before))).all().get();
    }

    private void send(Producer<byte[], byte[]> producer, String topic, int partition, int count, String what) {
        for (int i = 0; i < count; i++) {
            var record = new ProducerRecord<>(topic, partition, time(i), i % 5 == 0 ? null : bytes("k" + i), bytes((what + " " + i + " ").repeat(1 + i % 7)));
            if (i % 3 == 0) {
                record.headers().add("h", bytes(what)).add("none", null);
            }
            producer.send(record);
        }
    }

    private long time(int i) {
        return System.currentTimeMillis() - 60_000 + i;
    }

    private byte[] noise(int size) {
        byte[] bytes = new byte[size];
        random.nextBytes(bytes);
        return bytes;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
