import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Clients that come back soon to a broker that was away. Settings are given as alternating keys and values. */
final class Clients {
    /** For what must come, on whatever machine. */
    static final Duration PATIENCE = Duration.ofSeconds(200);
    private final String bootstrap;

    Clients(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    private Properties settings(Object... keysAndValues) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("reconnect.backoff.ms", "20");
        settings.put("reconnect.backoff.max.ms", "200");
        settings.put("retry.backoff.ms", "20");
        settings.put("retry.backoff.max.ms", "200");
        for (int i = 0; i < keysAndValues.length; i += 2) {
            settings.put(keysAndValues[i], String.valueOf(keysAndValues[i + 1]));
        }
        return settings;
    }

    Admin admin() {
        return Admin.create(settings("default.api.timeout.ms", PATIENCE.toMillis()));
    }

    /** Its transactions are aborted soon if it goes away. */
    Producer<String, String> producer(String transactionalId) {
        Properties settings = settings("transactional.id", transactionalId, "transaction.timeout.ms", 10_000, "linger.ms", 1);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    /** Of what is committed. */
    Consumer<String, String> consumer(Object... settings) {
        Properties all = settings("isolation.level", "read_committed", "auto.offset.reset", "earliest", "enable.auto.commit", "false", "allow.auto.create.topics", "false",
                "default.api.timeout.ms", PATIENCE.toMillis());
        for (int i = 0; i < settings.length; i += 2) {
            all.put(settings[i], String.valueOf(settings[i + 1]));
        }
        return new KafkaConsumer<>(all, new StringDeserializer(), (topic, value) -> text(topic, value));
    }

    private static String text(String topic, byte[] value) {
        return topic.equals(Topics.COUNTS.topic()) ? String.valueOf(ByteBuffer.wrap(value).getLong()) : new String(value, StandardCharsets.UTF_8);
    }

    /** All that is committed at this moment: up to the last stable offsets that a new consumer is told. */
    List<ConsumerRecord<String, String>> read(Collection<TopicPartition> partitions) {
        try (Consumer<String, String> consumer = consumer("max.poll.records", 5000)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            return readTo(consumer, consumer.endOffsets(partitions));
        }
    }

    /** What lies between the consumer's positions and `ends`. What it got beyond them is not told, and not read again. */
    static List<ConsumerRecord<String, String>> readTo(Consumer<String, String> consumer, Map<TopicPartition, Long> ends) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("the end is not reached");
            }
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(50))) {
                if (record.offset() < ends.get(new TopicPartition(record.topic(), record.partition()))) {
                    records.add(record);
                }
            }
        }
        return records;
    }
}
