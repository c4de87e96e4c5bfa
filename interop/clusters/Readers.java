import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/**
 * A group that reads what is written. What always holds: no record is left out, each has its number at its offset, and the group's
 * positions never go back, whoever coordinates it.
 */
final class Readers implements AutoCloseable {
    static final String GROUP = "readers";
    private static final int MEMBERS = 2;
    private final Clients clients;
    private final Wrong wrong;
    private final Object[] membership;
    private final Stalls stalls = new Stalls();
    private final List<Thread> threads = new ArrayList<>();
    /** The number that is to come next, of each partition. */
    private final long[] next;
    private final long[] committed;
    private long read;
    private volatile boolean isDone;

    Readers(Clients clients, Wrong wrong, int partitions, String protocol) {
        this.clients = clients;
        this.wrong = wrong;
        next = new long[partitions];
        committed = new long[partitions];
        membership = Traffic.membership(GROUP, protocol);
        for (int i = 0; i < MEMBERS; i++) {
            threads.add(new Thread(this::work, "reader-" + i));
        }
        threads.add(new Thread(this::watch, "watcher"));
    }

    void begin() {
        threads.forEach(Thread::start);
    }

    @Override
    public void close() throws InterruptedException {
        isDone = true;
        for (Thread thread : threads) {
            thread.join(60_000);
        }
    }

    private void work() {
        while (!isDone) {
            try (Consumer<byte[], byte[]> consumer = clients.consumer(membership)) {
                consumer.subscribe(List.of(Traffic.WRITTEN));
                while (!isDone) {
                    ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
                    records.forEach(this::see);
                    if (!records.isEmpty()) {
                        stalls.goesOn();
                        consumer.commitAsync();
                    }
                }
                consumer.commitSync();
            } catch (WakeupException e) {
                return;
            } catch (RuntimeException e) {
                // It begins anew where the group stands.
                System.err.println(Thread.currentThread().getName() + " begins anew: " + e);
                Traffic.pause(200);
            }
        }
    }

    private synchronized void see(ConsumerRecord<byte[], byte[]> record) {
        int partition = record.partition();
        if (Writer.number(record.value()) != record.offset()) {
            wrong.add(Writer.number(record.value()) + " is at " + record.offset() + " of partition " + partition);
        }
        if (record.offset() > next[partition]) {
            wrong.add("of partition " + partition + " there is left out: from " + next[partition] + " to " + record.offset());
        }
        if (record.offset() >= next[partition]) {
            next[partition] = record.offset() + 1;
            read++;
        }
    }

    /** Looks at the group's positions from outside. */
    private void watch() {
        while (!isDone) {
            try {
                positions().forEach(this::seeCommitted);
            } catch (ExecutionException | InterruptedException e) {
                System.err.println("the positions are not told: " + e);
            }
            Traffic.pause(300);
        }
    }

    private Map<TopicPartition, Long> positions() throws ExecutionException, InterruptedException {
        var options = new ListConsumerGroupOffsetsOptions().requireStable(true);
        return Traffic.offsets(clients.admin.listConsumerGroupOffsets(GROUP, options).partitionsToOffsetAndMetadata().get());
    }

    private synchronized void seeCommitted(TopicPartition partition, long offset) {
        int index = partition.partition();
        if (offset < committed[index]) {
            wrong.add("the position of " + GROUP + " in " + partition + " goes back from " + committed[index] + " to " + offset);
        }
        committed[index] = offset;
    }

    synchronized long read() {
        return read;
    }

    Stalls stalls() {
        return stalls;
    }

    synchronized boolean hasRead(long[] ends) {
        for (int partition = 0; partition < ends.length; partition++) {
            if (next[partition] < ends[partition]) {
                return false;
            }
        }
        return true;
    }

    /** Complains unless the group stands at the ends. */
    void judge(long[] ends) throws ExecutionException, InterruptedException {
        Traffic.expectPositions(GROUP, positions(), ends);
    }
}
