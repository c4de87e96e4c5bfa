import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.errors.ElectionNotNeededException;

/** Writers of all codecs, a group that reads what they write, and a copier that copies it in transactions. */
final class Traffic implements AutoCloseable {
    static final String WRITTEN = "written";
    static final String COPIED = "copied";
    private static final Duration PATIENCE = Duration.ofSeconds(240);
    private static final int PARTITIONS = Clients.CODECS.length;
    private final Clients clients;
    private final List<Integer> brokers;
    private final Wrong wrong = new Wrong();
    private final List<Writer> writers = new ArrayList<>();
    private final Readers readers;
    private final Copier copier;
    /** Of what was written; once it is settled. */
    private final long[] ends = new long[PARTITIONS];

    Traffic(Clients clients, List<Integer> brokers, String readersProtocol, String copierProtocol) {
        this.clients = clients;
        this.brokers = brokers;
        for (int partition = 0; partition < PARTITIONS; partition++) {
            writers.add(new Writer(clients, wrong, partition, Clients.CODECS[partition]));
        }
        readers = new Readers(clients, wrong, PARTITIONS, readersProtocol);
        copier = new Copier(clients, copierProtocol);
    }

    static List<Integer> numbers(String separatedByCommas) {
        return Arrays.stream(separatedByCommas.split(",")).map(Integer::valueOf).toList();
    }

    /** Settings of a member that is missed soon. */
    static Object[] membership(String group, String protocol) {
        List<Object> settings = new ArrayList<>(List.of("group.id", group, "group.protocol", protocol, "isolation.level", "read_committed"));
        if (protocol.equals("classic")) {
            settings.addAll(List.of("session.timeout.ms", 10_000, "heartbeat.interval.ms", 500));
        }
        return settings.toArray();
    }

    static void pause(int ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static Map<TopicPartition, Long> offsets(Map<TopicPartition, OffsetAndMetadata> positions) {
        Map<TopicPartition, Long> offsets = new HashMap<>();
        positions.forEach((partition, position) -> {
            if (position != null) {
                offsets.put(partition, position.offset());
            }
        });
        return offsets;
    }

    static void expectPositions(String group, Map<TopicPartition, Long> positions, long[] ends) {
        for (int partition = 0; partition < ends.length; partition++) {
            Long position = positions.get(new TopicPartition(WRITTEN, partition));
            if (position == null || position != ends[partition]) {
                throw new IllegalStateException(group + " stands at " + positions + " and not at " + Arrays.toString(ends));
            }
        }
    }

    /** Creates the topics, their leaders on all brokers in turn, and lets everybody go. */
    Map<String, Long> begin() throws Exception {
        Map<Integer, List<Integer>> replicas = new HashMap<>();
        for (int partition = 0; partition < PARTITIONS; partition++) {
            List<Integer> rotated = new ArrayList<>();
            for (int i = 0; i < brokers.size(); i++) {
                rotated.add(brokers.get((partition + i) % brokers.size()));
            }
            replicas.put(partition, rotated);
        }
        Map<String, String> settings = Map.of("min.insync.replicas", Integer.toString(Math.max(1, brokers.size() - 1)));
        clients.admin.createTopics(List.of(new NewTopic(WRITTEN, replicas).configs(settings), new NewTopic(COPIED, replicas).configs(settings))).all().get();
        writers.forEach(Thread::start);
        readers.begin();
        copier.start();
        return progress();
    }

    @Override
    public void close() throws Exception {
        for (Writer writer : writers) {
            writer.finish();
        }
        copier.finish();
        readers.close();
        clients.close();
    }

    /** How many records there are; complains if anything was wrong. */
    Map<String, Long> progress() {
        wrong.check();
        Map<String, Long> progress = new LinkedHashMap<>();
        writers.forEach(writer -> progress.put("of " + writer.getName(), writer.acknowledged()));
        progress.put("read", readers.read());
        progress.put("copied", copier.copied());
        return progress;
    }

    /** How long each has stood still, at the longest, since this was last asked, in milliseconds. */
    Map<String, Long> stalls() {
        Map<String, Long> stalls = new LinkedHashMap<>();
        stalls.put("writing", writers.stream().mapToLong(writer -> writer.stalls().takeMs()).max().orElse(0));
        stalls.put("reading", readers.stalls().takeMs());
        stalls.put("copying", copier.stalls().takeMs());
        return stalls;
    }

    private Map<TopicPartition, TopicPartitionInfo> partitions() throws ExecutionException, InterruptedException {
        var names = clients.admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get();
        Map<TopicPartition, TopicPartitionInfo> partitions = new HashMap<>();
        clients.admin.describeTopics(names).allTopicNames().get().forEach(
                (name, topic) -> topic.partitions().forEach(partition -> partitions.put(new TopicPartition(name, partition.partition()), partition)));
        return partitions;
    }

    /** Partitions of all topics that lack a leader or a replica. */
    List<String> unsynced() throws Exception {
        List<String> unsynced = new ArrayList<>();
        partitions().forEach((partition, info) -> {
            if (info.leader() == null || info.isr().size() < info.replicas().size()) {
                unsynced.add(partition + " led by " + info.leader() + ", in sync " + info.isr());
            }
        });
        return unsynced;
    }

    /** How many partitions each broker leads. */
    Map<Integer, Integer> led() throws Exception {
        Map<Integer, Integer> led = new TreeMap<>();
        partitions().values().stream().filter(info -> info.leader() != null).forEach(info -> led.merge(info.leader().id(), 1, Integer::sum));
        return led;
    }

    /** Gives leaderships back to the preferred replicas. */
    Map<String, Integer> prefer() throws Exception {
        var outcomes = clients.admin.electLeaders(ElectionType.PREFERRED, null).partitions().get();
        List<Throwable> failed = outcomes.values().stream().flatMap(Optional::stream).filter(failure -> !(failure instanceof ElectionNotNeededException)).toList();
        if (!failed.isEmpty()) {
            throw new IllegalStateException("not all are elected: " + failed);
        }
        return Map.of("elected", outcomes.size());
    }

    /** In the rack of each broker a consumer reads all that is there by now, until what other brokers lead comes from that broker. */
    Map<String, Long> nearby() throws Exception {
        long read = 0;
        for (int broker : brokers) {
            read += new Nearby(clients, wrong, PARTITIONS, broker).read();
        }
        wrong.check();
        return Map.of("read from replicas nearby", read);
    }

    /** Writes no more. Returns when all that was written is acknowledged, read and copied. */
    Map<String, Long> settle() throws Exception {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            ends[partition] = writers.get(partition).finish();
        }
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        while (!readers.hasRead(ends) || !standsAtEnds(copier.positions())) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("not all is read and copied: " + progress() + ", " + Arrays.toString(ends) + ", copied " + copier.positions());
            }
            pause(50);
        }
        copier.finish();
        readers.close();
        return progress();
    }

    private boolean standsAtEnds(Map<TopicPartition, Long> positions) {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            if (positions.getOrDefault(new TopicPartition(WRITTEN, partition), 0L) < ends[partition]) {
                return false;
            }
        }
        return true;
    }

    /** Reads all anew: each number is where it belongs, and its copy is there once and in order. */
    Map<String, Long> judge() throws Exception {
        readers.judge(ends);
        expectPositions(Copier.GROUP, copier.positions(), ends);
        long written = 0;
        for (int partition = 0; partition < PARTITIONS; partition++) {
            List<Long> offsets = new ArrayList<>();
            for (ConsumerRecord<byte[], byte[]> record : read(new TopicPartition(WRITTEN, partition), "read_committed")) {
                if (Writer.number(record.value()) != record.offset()) {
                    wrong.add(Writer.number(record.value()) + " is at " + record.offset() + " of " + WRITTEN + "-" + partition);
                }
                offsets.add(record.offset());
            }
            expectAll(WRITTEN, partition, offsets);
            List<Long> copies = read(new TopicPartition(COPIED, partition), "read_committed").stream().map(record -> Long.valueOf(new String(record.value()))).toList();
            expectAll(COPIED, partition, copies);
            written += offsets.size();
        }
        long all = 0;
        for (int partition = 0; partition < PARTITIONS; partition++) {
            all += read(new TopicPartition(COPIED, partition), "read_uncommitted").size();
        }
        if (all - written < copier.aborted()) {
            wrong.add("of " + copier.aborted() + " records of aborted transactions there are " + (all - written));
        }
        wrong.check();
        return Map.of("written and copied", written, "of aborted transactions", all - written);
    }

    /** Complains unless these are the numbers from 0 to the end, once each and in order. */
    private void expectAll(String topic, int partition, List<Long> numbers) {
        for (int i = 0; i < numbers.size(); i++) {
            if (numbers.get(i) != i) {
                wrong.add(topic + "-" + partition + " has " + numbers.get(i) + " in place " + i);
                return;
            }
        }
        if (numbers.size() != ends[partition]) {
            wrong.add(topic + "-" + partition + " has " + numbers.size() + " of " + ends[partition]);
        }
    }

    private List<ConsumerRecord<byte[], byte[]>> read(TopicPartition partition, String isolation) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        try (Consumer<byte[], byte[]> consumer = clients.consumer("isolation.level", isolation, "max.poll.records", 5000)) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("the end of " + partition + " is not reached");
                }
                consumer.poll(Duration.ofMillis(100)).forEach(records::add);
            }
        }
        return records;
    }
}
