import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;

/** Positions, offsets by time, flow control and committed offsets of a consumer without rivals. */
final class Consuming {
    private static final long START = System.currentTimeMillis() - 3_600_000; // within any retention
    private final Cluster cluster;

    Consuming(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Suite suite) {
        suite.add("consumer: seek to offsets, beginning, end", this::seek);
        suite.add("consumer: beginning and end offsets", this::endOffsets);
        suite.add("consumer: offsets for times", this::offsetsForTimes);
        suite.add("consumer: out of range with every reset policy", this::outOfRange);
        suite.add("consumer: reset by duration", this::resetByDuration);
        suite.add("consumer: pause and resume", this::pause);
        suite.add("consumer: slow, with small fetches", this::slow);
        suite.add("consumer: waits for what is not there yet", this::longPoll);
        suite.add("consumer: large fetches over 30 partitions", this::wideFetch);
        suite.add("consumer: read_committed without transactions", this::readCommitted);
        suite.add("consumer: committed offsets with metadata", this::committed);
        suite.add("consumer: automatic commits", this::autoCommit);
        suite.add("consumer: commits without being a member", this::standaloneCommit);
        suite.add("consumer: a pattern finds topics to come", this::pattern);
        suite.add("consumer: topics and partitions are listed", this::lists);
        suite.add("consumer: a topic that does not exist", this::unknownTopic);
    }

    /** A topic whose partition 0 holds records "0", "1", ... with timestamps 1000 ms apart. */
    private String filled(int count, Object... settings) throws Exception {
        String topic = cluster.topic("c", 1);
        try (Producer<byte[], byte[]> producer = cluster.producer(settings)) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, 0, START + 1000L * i, null, text(i)));
            }
        }
        return topic;
    }

    private static byte[] text(int number) {
        return String.valueOf(number).getBytes(StandardCharsets.UTF_8);
    }

    private static String next(Consumer<byte[], byte[]> consumer) {
        return new String(Cluster.poll(consumer, 1).get(0).value(), StandardCharsets.UTF_8);
    }

    private void seek() throws Exception {
        TopicPartition partition = new TopicPartition(filled(10, "batch.size", 100), 0);
        try (Consumer<byte[], byte[]> consumer = cluster.consumer("max.poll.records", 1)) {
            consumer.assign(List.of(partition));
            for (int target : new int[] {7, 0, 9, 3}) {
                consumer.seek(partition, target);
                Suite.equal(next(consumer), String.valueOf(target));
                Suite.equal(consumer.position(partition), target + 1L);
            }
            consumer.seekToEnd(List.of(partition));
            Suite.equal(consumer.position(partition), 10L);
            consumer.seekToBeginning(List.of(partition));
            Suite.equal(next(consumer), "0");
        }
    }

    private void endOffsets() throws Exception {
        TopicPartition partition = new TopicPartition(filled(25), 0);
        try (Consumer<byte[], byte[]> consumer = cluster.consumer()) {
            Suite.equal(consumer.beginningOffsets(List.of(partition)), Map.of(partition, 0L));
            Suite.equal(consumer.endOffsets(List.of(partition)), Map.of(partition, 25L));
        }
    }

    private void offsetsForTimes() throws Exception {
        for (String codec : Cluster.CODECS) {
            TopicPartition partition = new TopicPartition(filled(50, "compression.type", codec, "linger.ms", 20), 0);
            try (Consumer<byte[], byte[]> consumer = cluster.consumer()) {
                for (int i : new int[] {0, 1, 24, 49}) {
                    OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, START + 1000L * i - 1)).get(partition);
                    Suite.equal(found.offset(), (long) i, codec);
                    Suite.equal(found.timestamp(), START + 1000L * i, codec);
                }
                Suite.equal(consumer.offsetsForTimes(Map.of(partition, START + 1000L * 50)).get(partition), null, codec);
            }
        }
    }

    private void outOfRange() throws Exception {
        TopicPartition partition = new TopicPartition(filled(5), 0);
        for (String policy : List.of("earliest", "latest", "none")) {
            try (Consumer<byte[], byte[]> consumer = cluster.consumer("auto.offset.reset", policy)) {
                consumer.assign(List.of(partition));
                if (policy.equals("none")) {
                    Suite.fails(NoOffsetForPartitionException.class, () -> consumer.poll(Cluster.PATIENCE));
                }
                consumer.seek(partition, 1000);
                switch (policy) {
                    case "earliest" -> Suite.equal(next5(consumer), "0");
                    case "latest" -> {
                        Suite.eventually(() -> {
                            consumer.poll(Duration.ofMillis(50));
                            Suite.equal(consumer.position(partition), 5L);
                        });
                    }
                    default -> Suite.fails(OffsetOutOfRangeException.class, () -> consumer.poll(Cluster.PATIENCE));
                }
            }
        }
    }

    private static String next5(Consumer<byte[], byte[]> consumer) {
        return new String(Cluster.poll(consumer, 5).get(0).value(), StandardCharsets.UTF_8);
    }

    private void resetByDuration() throws Exception {
        TopicPartition partition = new TopicPartition(filled(5), 0);
        try (Consumer<byte[], byte[]> consumer = cluster.consumer("auto.offset.reset", "by_duration:P20000D")) {
            consumer.assign(List.of(partition));
            Suite.equal(next5(consumer), "0");
        }
    }

    private void pause() throws Exception {
        String topic = cluster.topic("c-pause", 2);
        List<TopicPartition> partitions = Cluster.partitions(topic, 2);
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            for (int i = 0; i < 20; i++) {
                producer.send(new ProducerRecord<>(topic, i % 2, null, text(i)));
            }
        }
        try (Consumer<byte[], byte[]> consumer = cluster.consumer()) {
            consumer.assign(partitions);
            consumer.pause(partitions.subList(0, 1));
            Cluster.poll(consumer, 10).forEach(record -> Suite.equal(record.partition(), 1));
            consumer.resume(partitions.subList(0, 1));
            Cluster.poll(consumer, 10).forEach(record -> Suite.equal(record.partition(), 0));
        }
    }

    private void slow() throws Exception {
        String topic = filled(300, "batch.size", 300);
        try (Consumer<byte[], byte[]> consumer =
                cluster.consumer("group.id", cluster.name("g-slow"), "session.timeout.ms", 20_000, "heartbeat.interval.ms", 300,
                        "max.poll.records", 60, "fetch.max.bytes", 500, "max.partition.fetch.bytes", 500)) {
            consumer.subscribe(List.of(topic));
            int count = 0;
            for (int i = 0; count < 300 && i < 1000; i++) {
                for (var record : consumer.poll(Duration.ofSeconds(2))) {
                    Suite.equal(new String(record.value(), StandardCharsets.UTF_8), String.valueOf(count++));
                }
                if (count % 100 < 5) {
                    Thread.sleep(600); // heartbeats go on beside it
                }
                consumer.commitSync();
            }
            Suite.equal(count, 300);
        }
    }

    private void longPoll() throws Exception {
        String topic = cluster.topic("c-wait", 1);
        try (Consumer<byte[], byte[]> consumer = cluster.consumer("fetch.max.wait.ms", 3000, "fetch.min.bytes", 1); Producer<byte[], byte[]> producer = cluster.producer()) {
            consumer.assign(Cluster.partitions(topic, 1));
            for (int i = 0; i < 20; i++) {
                consumer.poll(Duration.ofMillis(20)); // leaves a fetch waiting at the broker
                producer.send(new ProducerRecord<>(topic, text(i))).get();
                Suite.equal(next(consumer), String.valueOf(i));
            }
        }
    }

    private void wideFetch() throws Exception {
        String topic = cluster.topic("c-wide", 30);
        try (Producer<byte[], byte[]> producer = cluster.producer("linger.ms", 10, "batch.size", 100_000)) {
            for (int i = 0; i < 30_000; i++) {
                producer.send(new ProducerRecord<>(topic, i % 30, null, new byte[1000]));
            }
        }
        cluster.read(Cluster.partitions(topic, 30), 30_000, "fetch.max.bytes", 3_000_000, "max.partition.fetch.bytes", 200_000);
    }

    private void readCommitted() throws Exception {
        cluster.read(List.of(new TopicPartition(filled(20), 0)), 20, "isolation.level", "read_committed");
    }

    private void committed() throws Exception {
        TopicPartition partition = new TopicPartition(filled(10), 0);
        String group = cluster.name("g-commit");
        try (Consumer<byte[], byte[]> consumer = cluster.consumer("group.id", group)) {
            consumer.subscribe(List.of(partition.topic()));
            Cluster.poll(consumer, 10);
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(4, "four, ünïcode")));
            OffsetAndMetadata found = consumer.committed(Set.of(partition)).get(partition);
            Suite.equal(found.offset(), 4L);
            Suite.equal(found.metadata(), "four, ünïcode");
        }
        try (Consumer<byte[], byte[]> consumer = cluster.consumer("group.id", group)) {
            consumer.subscribe(List.of(partition.topic()));
            Suite.equal(new String(Cluster.poll(consumer, 6).get(0).value(), StandardCharsets.UTF_8), "4");
        }
    }

    private void autoCommit() throws Exception {
        TopicPartition partition = new TopicPartition(filled(10), 0);
        String group = cluster.name("g-auto");
        try (Consumer<byte[], byte[]> consumer = cluster.consumer("group.id", group, "enable.auto.commit", "true", "auto.commit.interval.ms", 100)) {
            consumer.subscribe(List.of(partition.topic()));
            Cluster.poll(consumer, 10);
            Suite.eventually(() -> {
                consumer.poll(Duration.ofMillis(50));
                Suite.holds(Map.of(partition, new OffsetAndMetadata(10)).keySet().equals(consumer.committed(Set.of(partition)).keySet()), "no commit");
                Suite.holds(consumer.committed(Set.of(partition)).get(partition) != null, "no commit yet");
                Suite.equal(consumer.committed(Set.of(partition)).get(partition).offset(), 10L);
            });
        }
    }

    private void standaloneCommit() throws Exception {
        List<TopicPartition> partitions = Cluster.partitions(cluster.topic("c-alone", 40), 40);
        try (Consumer<byte[], byte[]> consumer = cluster.consumer("group.id", cluster.name("g-alone"))) {
            consumer.assign(partitions);
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            partitions.forEach(partition -> offsets.put(partition, new OffsetAndMetadata(partition.partition() + 100)));
            consumer.commitSync(offsets);
            Map<TopicPartition, OffsetAndMetadata> found = consumer.committed(new HashSet<>(partitions));
            partitions.forEach(partition -> Suite.equal(found.get(partition).offset(), partition.partition() + 100L));
        }
    }

    private void pattern() throws Exception {
        String prefix = cluster.name("c-pattern");
        String[] topics = {prefix + "-a", prefix + "-b"};
        try (Producer<byte[], byte[]> producer = cluster.producer();
                Consumer<byte[], byte[]> consumer = cluster.consumer("group.id", cluster.name("g-pattern"), "metadata.max.age.ms", 300)) {
            consumer.subscribe(Pattern.compile(prefix + "-.*"));
            for (String topic : topics) {
                producer.send(new ProducerRecord<>(topic, text(1))).get();
                Suite.equal(Cluster.poll(consumer, 1).get(0).topic(), topic);
                consumer.commitSync();
            }
        }
    }

    private void lists() throws Exception {
        String topic = cluster.topic("c-lists", 3);
        try (Consumer<byte[], byte[]> consumer = cluster.consumer()) {
            Suite.equal(consumer.partitionsFor(topic).size(), 3);
            Suite.equal(consumer.listTopics().get(topic).size(), 3);
            Suite.equal(consumer.partitionsFor(topic).get(0).leader().id(), 1);
        }
    }

    private void unknownTopic() throws Exception {
        try (Consumer<byte[], byte[]> consumer = cluster.consumer("allow.auto.create.topics", "false")) {
            TopicPartition partition = new TopicPartition(cluster.name("c-unknown"), 0);
            Suite.fails(TimeoutException.class, () -> consumer.endOffsets(List.of(partition), Duration.ofSeconds(1)));
            Suite.holds(!cluster.admin.listTopics().names().get().contains(partition.topic()), "the topic was created");
        }
    }
}
