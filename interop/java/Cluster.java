import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.consumer.ShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The broker under test, and clients for it. Settings are given as alternating keys and values. */
final class Cluster implements AutoCloseable {
    static final Duration PATIENCE = Duration.ofSeconds(60);
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};

    private final String bootstrap;
    final Admin admin;
    private int names;

    Cluster(String bootstrap) {
        this.bootstrap = bootstrap;
        admin = Admin.create(settings());
    }

    @Override
    public void close() {
        admin.close();
    }

    Properties settings(Object... keysAndValues) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < keysAndValues.length; i += 2) {
            settings.put(keysAndValues[i], String.valueOf(keysAndValues[i + 1]));
        }
        return settings;
    }

    Producer<byte[], byte[]> producer(Object... settings) {
        return new KafkaProducer<>(settings(settings), new ByteArraySerializer(), new ByteArraySerializer());
    }

    Consumer<byte[], byte[]> consumer(Object... settings) {
        Properties all = settings("auto.offset.reset", "earliest", "enable.auto.commit", "false");
        all.putAll(settings(settings));
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Ends the broker in good order and starts it again; returns when it serves. See interop/with-broker. */
    void restartBroker() throws IOException {
        Path control = Path.of(System.getenv("BROKER_CONTROL"));
        Files.writeString(control.resolve("commands"), "restart\n");
        Suite.equal(Files.readString(control.resolve("answers")), "done\n");
    }

    ShareConsumer<byte[], byte[]> shareConsumer(Object... settings) {
        return new KafkaShareConsumer<>(settings(settings), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    String bootstrap() {
        return bootstrap;
    }

    /** A name that nothing had before. */
    String name(String prefix) {
        return prefix + "-" + names++;
    }

    String topic(String prefix, int partitions) throws Exception {
        return topic(prefix, partitions, Map.of());
    }

    String topic(String prefix, int partitions, Map<String, String> configs) throws Exception {
        String name = name(prefix);
        create(new NewTopic(name, Optional.of(partitions), Optional.empty()).configs(configs));
        return name;
    }

    String topicNamed(String name, int partitions) throws Exception {
        create(new NewTopic(name, Optional.of(partitions), Optional.empty()));
        return name;
    }

    /** Creates a topic and waits until the broker leads its partitions: the controller answers earlier. */
    void create(NewTopic topic) throws Exception {
        admin.createTopics(List.of(topic)).all().get();
        Suite.eventually(() -> Suite.holds(admin.listTopics().names().get().contains(topic.name()), topic.name() + " is not listed"));
        admin.listOffsets(partitions(topic.name(), topic.numPartitions()).stream().collect(Collectors.toMap(p -> p, p -> OffsetSpec.latest()))).all().get();
    }

    static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            partitions.add(new TopicPartition(topic, i));
        }
        return partitions;
    }

    /** Reads the partitions from their beginnings until `count` records came, or complains. */
    List<ConsumerRecord<byte[], byte[]>> read(Collection<TopicPartition> partitions, int count, Object... settings) {
        try (Consumer<byte[], byte[]> consumer = consumer(settings)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            return poll(consumer, count);
        }
    }

    /** Polls until `count` records came, or complains; more than that are a complaint as well. */
    static List<ConsumerRecord<byte[], byte[]>> poll(Consumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (records.size() < count && System.nanoTime() < deadline) {
            consumer.poll(Duration.ofMillis(100)).forEach(records::add);
        }
        Suite.equal(records.size(), count, "records");
        return records;
    }

    /** Polls until `count` different records came. Some may come again: whoever polls too seldom begins anew. */
    static void pollDifferent(Consumer<byte[], byte[]> consumer, int count) throws Exception {
        Set<String> records = new HashSet<>();
        Suite.eventually(() -> {
            consumer.poll(Duration.ofMillis(100)).forEach(record -> records.add(record.partition() + "@" + record.offset()));
            Suite.equal(records.size(), count, "different records");
        });
    }
}
