import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Clients for the broker at one address. Settings are given as alternating keys and values. */
final class Clients implements AutoCloseable {
    static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};
    final Admin admin;
    private final String bootstrap;

    Clients(String bootstrap) {
        this.bootstrap = bootstrap;
        admin = Admin.create(settings("reconnect.backoff.max.ms", 200, "default.api.timeout.ms", 60_000));
    }

    /** Also when no broker answers any more. */
    @Override
    public void close() {
        admin.close(Duration.ZERO);
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
        Properties all = settings("reconnect.backoff.max.ms", 200);
        all.putAll(settings(settings));
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    Consumer<byte[], byte[]> consumer(Object... settings) {
        Properties all = settings("auto.offset.reset", "earliest", "enable.auto.commit", "false", "allow.auto.create.topics", "false");
        all.putAll(settings(settings));
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }
}
