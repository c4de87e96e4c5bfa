import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/** A consumer in the rack of a broker. Leaders elsewhere send it there (KIP-392), and what it reads there is what was written. */
final class Nearby {
    private static final Duration PATIENCE = Duration.ofSeconds(240);
    /** Written and read after the consumer was sent to the broker. */
    private static final int MORE = 50;
    private final Clients clients;
    private final Wrong wrong;
    private final int broker;
    private final List<TopicPartition> partitions;
    /** The number that is to come next, of each partition. */
    private final long[] next;

    Nearby(Clients clients, Wrong wrong, int partitions, int broker) {
        this.clients = clients;
        this.wrong = wrong;
        this.broker = broker;
        this.partitions = IntStream.range(0, partitions).mapToObj(partition -> new TopicPartition(Traffic.WRITTEN, partition)).toList();
        next = new long[partitions];
    }

    /** How many records came. */
    long read() {
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        try (Consumer<byte[], byte[]> consumer = clients.consumer("client.rack", "rack-" + broker)) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long[] ends = null;
            while (ends == null || !hasRead(ends)) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("in the rack of " + broker + " all is read from " + sources(consumer));
                }
                consumer.poll(Duration.ofMillis(100)).forEach(this::see);
                if (ends == null && isNear(consumer)) {
                    Map<TopicPartition, Long> told = consumer.endOffsets(partitions);
                    ends = partitions.stream().mapToLong(partition -> told.get(partition) + MORE).toArray();
                }
            }
        }
        return IntStream.range(0, next.length).mapToLong(partition -> next[partition]).sum();
    }

    private void see(ConsumerRecord<byte[], byte[]> record) {
        long number = Writer.number(record.value());
        if (number != record.offset() || number != next[record.partition()]) {
            wrong.add("in the rack of " + broker + " " + number + " is at " + record.offset() + " of partition " + record.partition()
                    + ", and " + next[record.partition()] + " was to come");
        }
        next[record.partition()] = record.offset() + 1;
    }

    private boolean hasRead(long[] ends) {
        return IntStream.range(0, ends.length).allMatch(partition -> next[partition] >= ends[partition]);
    }

    private boolean isNear(Consumer<byte[], byte[]> consumer) {
        return sources(consumer).stream().allMatch(source -> source == broker);
    }

    /** The broker that each partition is read from: the leader, unless that has named another. */
    private List<Integer> sources(Consumer<byte[], byte[]> consumer) {
        List<Integer> sources = new ArrayList<>();
        for (PartitionInfo partition : consumer.partitionsFor(Traffic.WRITTEN)) {
            int nearest = nearest(consumer, partition.partition());
            sources.add(nearest >= 0 || partition.leader() == null ? nearest : Integer.valueOf(partition.leader().id()));
        }
        return sources;
    }

    private static int nearest(Consumer<byte[], byte[]> consumer, int partition) {
        return consumer.metrics().values().stream()
                .filter(metric -> metric.metricName().name().equals("preferred-read-replica"))
                .filter(metric -> Integer.toString(partition).equals(metric.metricName().tags().get("partition")))
                .mapToInt(metric -> ((Number) metric.metricValue()).intValue())
                .findFirst()
                .orElse(-1);
    }
}
