import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;

/** Reads what is committed as it comes, over all the times that the broker is away, and keeps it. */
final class Tail extends Thread {
    private final Clients clients;
    private final Map<TopicPartition, TreeMap<Long, String>> seen = new HashMap<>();
    private final List<String> wrong = new ArrayList<>();
    private volatile boolean isDone;

    Tail(Clients clients) {
        this.clients = clients;
        Topics.partitions(Topics.values()).forEach(partition -> seen.put(partition, new TreeMap<>()));
    }

    @Override
    public void run() {
        try (Consumer<String, String> consumer = clients.consumer()) {
            List<TopicPartition> partitions = List.copyOf(seen.keySet());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (!isDone) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    keep(record);
                }
            }
        } catch (RuntimeException e) {
            complain("the reader failed: " + e);
        }
    }

    private synchronized void keep(ConsumerRecord<String, String> record) {
        TreeMap<Long, String> of = seen.get(new TopicPartition(record.topic(), record.partition()));
        if (!of.isEmpty() && of.lastKey() >= record.offset()) {
            complain("offset " + record.offset() + " after " + of.lastKey());
        }
        of.put(record.offset(), text(record));
    }

    private synchronized void complain(String what) {
        wrong.add(what);
    }

    /** Of counts also what they are of. */
    static String text(ConsumerRecord<String, String> record) {
        return record.topic().equals(Topics.COUNTS.topic()) ? record.key() + " " + record.value() : record.value();
    }

    void finish() throws InterruptedException {
        isDone = true;
        join();
    }

    synchronized int count(Topics topic) {
        return topic.partitions().stream().mapToInt(partition -> seen.get(partition).size()).sum();
    }

    /** What is wrong with it, next to all that is there: it has seen all of that, and nothing else but what was compacted away. */
    synchronized List<String> check(List<ConsumerRecord<String, String>> all) {
        List<String> found = new ArrayList<>(wrong);
        Map<TopicPartition, TreeMap<Long, String>> there = new HashMap<>();
        for (ConsumerRecord<String, String> record : all) {
            TopicPartition partition = new TopicPartition(record.topic(), record.partition());
            there.computeIfAbsent(partition, of -> new TreeMap<>()).put(record.offset(), text(record));
        }
        for (TopicPartition partition : seen.keySet()) {
            TreeMap<Long, String> now = there.getOrDefault(partition, new TreeMap<>());
            TreeMap<Long, String> then = seen.get(partition);
            now.forEach((offset, text) -> {
                // Of what compaction leaves, it may have come too late for some.
                if (!text.equals(then.get(offset)) && (!isCompacted(partition) || then.containsKey(offset))) {
                    found.add(partition + " has " + text + " at " + offset + ", where " + then.get(offset) + " was seen");
                }
            });
            then.forEach((offset, text) -> {
                if (!now.containsKey(offset) && !isCompacted(partition)) {
                    found.add(partition + " had " + text + " at " + offset + " and has it no more");
                }
            });
        }
        return found;
    }

    private static boolean isCompacted(TopicPartition partition) {
        return partition.topic().equals(Topics.LATEST.topic());
    }
}
