import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;

/** Reads what is committed here and there, in small pieces and in the middle of transactions, mostly near the ends; and keeps what it was shown. */
final class Glances extends Thread {
    private static final List<TopicPartition> PARTITIONS = Arrays.stream(Topics.values()).filter(topic -> !topic.isCompacted()).flatMap(topic -> topic.partitions().stream()).toList();
    private static final int NEAR = 50;
    private final Clients clients;
    private final Random random;
    private final Map<TopicPartition, Map<Long, String>> shown = new HashMap<>();
    private final List<String> wrong = new ArrayList<>();
    private volatile boolean isDone;

    Glances(Clients clients, long seed) {
        this.clients = clients;
        this.random = new Random(seed);
    }

    @Override
    public void run() {
        try (Consumer<String, String> consumer = clients.consumer("max.partition.fetch.bytes", 1000, "fetch.max.wait.ms", 20)) {
            consumer.assign(PARTITIONS);
            while (!isDone) {
                consumer.endOffsets(PARTITIONS).forEach((partition, end) -> consumer.seek(partition, somewhereBefore(end)));
                for (int polls = 0; polls < 10 && !isDone; polls++) {
                    consumer.poll(Duration.ofMillis(20)).forEach(this::keep);
                }
            }
        } catch (RuntimeException e) {
            complain("a reader failed: " + e);
        }
    }

    private long somewhereBefore(long end) {
        long back = random.nextInt(4) == 0 ? (long) (random.nextDouble() * end) : random.nextInt(NEAR);
        return Math.max(0, end - back);
    }

    private synchronized void keep(ConsumerRecord<String, String> record) {
        Map<Long, String> of = shown.computeIfAbsent(new TopicPartition(record.topic(), record.partition()), partition -> new HashMap<>());
        String before = of.put(record.offset(), Tail.text(record));
        if (before != null && !before.equals(Tail.text(record))) {
            complain(record.topic() + "-" + record.partition() + " has " + Tail.text(record) + " at " + record.offset() + " after " + before);
        }
    }

    private synchronized void complain(String what) {
        wrong.add(what);
    }

    void finish() throws InterruptedException {
        isDone = true;
        join();
    }

    synchronized int count() {
        return shown.values().stream().mapToInt(Map::size).sum();
    }

    /** What is wrong with it, next to all that is there: nothing that was shown is gone. */
    synchronized List<String> check(List<ConsumerRecord<String, String>> all) {
        Map<TopicPartition, Map<Long, String>> there = new HashMap<>();
        all.forEach(record -> there.computeIfAbsent(new TopicPartition(record.topic(), record.partition()), of -> new HashMap<>()).put(record.offset(), Tail.text(record)));
        List<String> found = new ArrayList<>(wrong);
        shown.forEach((partition, records) -> records.forEach((offset, text) -> {
            String now = there.getOrDefault(partition, Map.of()).get(offset);
            if (!text.equals(now)) {
                found.add(partition + " showed " + text + " at " + offset + ", where now is " + now);
            }
        }));
        return found;
    }
}
