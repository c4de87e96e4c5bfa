import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Consumes as a member of a group, and produces a copy of each record in one transaction with the group's positions. */
final class Copier extends Work {
    private final int index;
    private final Object[] membership;

    /** `protocol` is that of the group. */
    Copier(Clients clients, String process, long seed, int index, String protocol) {
        super(clients, process, seed);
        this.index = index;
        // Who waits for a coordinator that is away does not hold up the other for long.
        String group = Copiers.JAVA.group();
        membership = protocol.equals("consumer")
                ? new Object[] {"group.id", group, "group.protocol", protocol, "max.poll.interval.ms", 10_000}
                : new Object[] {"group.id", group, "group.protocol", protocol, "max.poll.interval.ms", 10_000, "session.timeout.ms", 3000, "heartbeat.interval.ms", 300};
    }

    @Override
    String transactionalId() {
        return "copier-" + index;
    }

    @Override
    void live(Producer<String, String> producer, String life, Random random) {
        try (Consumer<String, String> consumer = clients.consumer(membership)) {
            consumer.subscribe(List.of(Topics.IN.topic()));
            while (!isDone()) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
                Map<TopicPartition, Long> begins = new HashMap<>();
                for (ConsumerRecord<String, String> record : records) {
                    TopicPartition from = new TopicPartition(record.topic(), record.partition());
                    String copy = Copies.copyOf(record.partition(), record.offset(), record.value());
                    producer.send(new ProducerRecord<>(Topics.OUT.topic(), Topics.OUT.partitionOf((int) record.offset()), null, copy));
                    positions.put(from, new OffsetAndMetadata(record.offset() + 1));
                    begins.putIfAbsent(from, record.offset());
                }
                producer.sendOffsetsToTransaction(positions, consumer.groupMetadata());
                if (random.nextInt(6) == 0) {
                    producer.abortTransaction();
                    begins.forEach(consumer::seek);
                } else {
                    producer.commitTransaction();
                }
            }
        }
    }
}
