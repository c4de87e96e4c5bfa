import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Transactions that begin on one broker and end on the next. */
final class Transacting implements AutoCloseable {
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    private static final String TOPIC = "handed-over";
    private static final List<TopicPartition> PARTITIONS = List.of(new TopicPartition(TOPIC, 0), new TopicPartition(TOPIC, 1));
    private final Clients clients;
    private Producer<byte[], byte[]> producer;
    private int rounds;

    Transacting(Clients clients) {
        this.clients = clients;
    }

    @Override
    public void close() {
        if (producer != null) {
            producer.close(Duration.ZERO);
        }
    }

    /** The answer comes when it is decided how a transaction ends, the markers later. */
    static void waitForMarkers(Clients clients, String transactionalId) throws Exception {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (!clients.admin.describeTransactions(List.of(transactionalId)).description(transactionalId).get().state().toString().startsWith("Complete")) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("the transaction is not complete");
            }
            Thread.sleep(20);
        }
    }

    /** Leaves a transaction open that has written to two partitions, and committed an offset. */
    Object begin() throws Exception {
        if (producer == null) {
            clients.admin.createTopics(List.of(new NewTopic(TOPIC, Optional.of(2), Optional.empty()))).all().get();
            producer = clients.producer("transactional.id", TOPIC, "transaction.timeout.ms", 600_000);
            producer.initTransactions();
        }
        rounds++;
        producer.beginTransaction();
        for (TopicPartition partition : PARTITIONS) {
            producer.send(new ProducerRecord<>(TOPIC, partition.partition(), null, ("round " + rounds + " of " + partition.partition()).getBytes())).get();
        }
        producer.sendOffsetsToTransaction(Map.of(PARTITIONS.get(0), new OffsetAndMetadata(rounds)), new ConsumerGroupMetadata(TOPIC));
        return Map.of();
    }

    /** Ends it; returns what readers of what is committed see then. */
    Object end(boolean commits) throws Exception {
        if (commits) {
            producer.commitTransaction();
        } else {
            producer.abortTransaction();
        }
        waitForMarkers(clients, TOPIC);
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        TreeSet<String> values = new TreeSet<>();
        try (Consumer<byte[], byte[]> consumer = clients.consumer("isolation.level", "read_committed")) {
            consumer.assign(PARTITIONS);
            consumer.seekToBeginning(PARTITIONS);
            Map<TopicPartition, Long> ends = consumer.endOffsets(PARTITIONS);
            while (PARTITIONS.stream().anyMatch(p -> consumer.position(p) < ends.get(p)) && System.nanoTime() < deadline) {
                consumer.poll(Duration.ofMillis(100)).forEach(record -> values.add(new String(record.value())));
            }
        }
        OffsetAndMetadata offset = clients.admin.listConsumerGroupOffsets(TOPIC, new ListConsumerGroupOffsetsOptions().requireStable(true))
                .partitionsToOffsetAndMetadata().get().get(PARTITIONS.get(0));
        return Map.of("values", List.copyOf(values), "offset", offset == null ? -1 : offset.offset());
    }
}
