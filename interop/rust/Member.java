import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.ArrayList;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What the Rust client's examples `group_member` and `keyed` do and print, with Java's clients. */
public final class Member {
    private static final Duration TICK = Duration.ofMillis(100);

    /** BOOTSTRAP TOPIC consumer|share|keyed [KEY=VALUE...] */
    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        for (int i = 3; i < arguments.length; i++) {
            String[] pair = arguments[i].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        switch (arguments[2]) {
            case "consumer" -> consume(settings, arguments[1]);
            case "share" -> share(settings, arguments[1]);
            case "keyed" -> keyed(settings, arguments[1]);
            default -> throw new IllegalArgumentException(arguments[2]);
        }
    }

    /** Standard input is read by a thread of its own. */
    private static Thread input() {
        Thread reading = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (java.io.IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        });
        reading.setDaemon(true);
        reading.start();
        return reading;
    }

    private static void consume(Properties settings, String topic) {
        Thread input = input();
        // What was read and may not have been committed yet.
        List<ConsumerRecord<byte[], byte[]>> read = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    tell("assigned", partitions);
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    commit(consumer, read);
                    tell("revoked", partitions);
                }

                @Override
                public void onPartitionsLost(Collection<TopicPartition> partitions) {
                    tell("lost", partitions);
                }
            });
            while (input.isAlive()) {
                consumer.poll(TICK).forEach(read::add);
                commit(consumer, read);
            }
        }
    }

    private static void commit(KafkaConsumer<byte[], byte[]> consumer, List<ConsumerRecord<byte[], byte[]>> read) {
        if (read.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync();
        } catch (RebalanceInProgressException | CommitFailedException e) {
            // Partitions that are given up are committed before that.
            return;
        }
        read.forEach(record -> System.out.println("got " + record.partition() + " " + record.offset()));
        read.clear();
    }

    private static void tell(String what, Collection<TopicPartition> partitions) {
        System.out.println(what + " " + partitions.stream().map(p -> String.valueOf(p.partition())).collect(Collectors.joining(" ")));
    }

    private static void share(Properties settings, String topic) {
        Thread input = input();
        try (var consumer = new KafkaShareConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (input.isAlive()) {
                var records = consumer.poll(TICK);
                Map<TopicIdPartition, java.util.Optional<KafkaException>> outcomes = consumer.commitSync();
                outcomes.values().forEach(failure -> failure.ifPresent(e -> {
                    throw e;
                }));
                records.forEach(record -> System.out.println("got " + record.partition() + " " + record.offset()));
            }
        }
    }

    private static void keyed(Properties settings, String topic) throws ExecutionException, InterruptedException, TimeoutException {
        List<Future<RecordMetadata>> deliveries = new ArrayList<>();
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
                var lines = new java.util.Scanner(System.in)) {
            while (lines.hasNextLine()) {
                byte[] key = java.util.HexFormat.of().parseHex(lines.nextLine());
                deliveries.add(producer.send(new ProducerRecord<>(topic, key, new byte[] {'v'})));
            }
        }
        for (Future<RecordMetadata> delivery : deliveries) {
            System.out.println(delivery.get(1, TimeUnit.MINUTES).partition());
        }
    }
}
