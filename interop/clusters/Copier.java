import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * Copies what is written, each transaction with its group's positions; every fourth is aborted and done again. After an error another begins
 * where the group stands.
 */
final class Copier extends Thread {
    static final String GROUP = "copiers";
    private static final int ABORTED_OF = 4;
    private final Clients clients;
    private final Object[] membership;
    private final Stalls stalls = new Stalls();
    private volatile long copied;
    private volatile long aborted;
    private volatile boolean isDone;

    Copier(Clients clients, String protocol) {
        super("copier");
        this.clients = clients;
        membership = Traffic.membership(GROUP, protocol);
    }

    @Override
    public void run() {
        while (!isDone) {
            Producer<byte[], byte[]> producer = clients.producer("transactional.id", "copier", "transaction.timeout.ms", 30_000, "max.block.ms", 120_000, "linger.ms", 5);
            try (Consumer<byte[], byte[]> consumer = clients.consumer(membership)) {
                producer.initTransactions();
                consumer.subscribe(List.of(Traffic.WRITTEN));
                copy(producer, consumer);
            } catch (RuntimeException e) {
                System.err.println("the copier begins anew: " + e);
                Traffic.pause(200);
            } finally {
                producer.close(Duration.ZERO);
            }
        }
    }

    private void copy(Producer<byte[], byte[]> producer, Consumer<byte[], byte[]> consumer) {
        for (int number = 1; !isDone; number++) {
            ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
            if (records.isEmpty()) {
                continue;
            }
            producer.beginTransaction();
            Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
            Map<TopicPartition, Long> begins = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> record : records) {
                TopicPartition from = new TopicPartition(record.topic(), record.partition());
                producer.send(new ProducerRecord<>(Traffic.COPIED, record.partition(), null, Long.toString(record.offset()).getBytes()));
                positions.put(from, new OffsetAndMetadata(record.offset() + 1));
                begins.putIfAbsent(from, record.offset());
            }
            producer.sendOffsetsToTransaction(positions, consumer.groupMetadata());
            if (number % ABORTED_OF == 0) {
                producer.flush();
                producer.abortTransaction();
                begins.forEach(consumer::seek);
                aborted += records.count();
            } else {
                producer.commitTransaction();
                copied += records.count();
                stalls.goesOn();
            }
        }
    }

    /** Of what was committed for certain. */
    long copied() {
        return copied;
    }

    long aborted() {
        return aborted;
    }

    Stalls stalls() {
        return stalls;
    }

    Map<TopicPartition, Long> positions() throws Exception {
        var options = new ListConsumerGroupOffsetsOptions().requireStable(true);
        return Traffic.offsets(clients.admin.listConsumerGroupOffsets(GROUP, options).partitionsToOffsetAndMetadata().get());
    }

    void finish() throws InterruptedException {
        isDone = true;
        join(120_000);
    }
}
