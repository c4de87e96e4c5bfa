import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;

/** Feeds the work, watches what becomes of it, and judges it in the end. */
final class Observer implements AutoCloseable {
    /** The group of Kafka Streams' own word count. */
    private static final String STREAMS = "streams-wordcount";
    private static final String[] WORDS = {"all", "streams", "lead", "to", "kafka", "hello", "join", "summit"};
    private final Clients clients;
    private final Path journals;
    private final Admin admin;
    private final List<Feeder> feeders;
    private final List<Thread> feeding = new ArrayList<>();
    private final Tail tail;
    private final Looks looks;
    private final Glances glances;

    /** `journals`: where the workers write. */
    Observer(String bootstrap, Path journals, int transactionVersion, long seed) throws Exception {
        clients = new Clients(bootstrap);
        this.journals = journals;
        admin = clients.admin();
        setTransactionVersion(transactionVersion);
        admin.createTopics(Arrays.stream(Topics.values()).map(Topics::toCreate).toList()).all().get();
        Map<TopicPartition, OffsetAndMetadata> begin = new HashMap<>();
        Topics.IN.partitions().forEach(partition -> begin.put(partition, new OffsetAndMetadata(0)));
        for (Copiers copiers : Copiers.values()) {
            admin.alterConsumerGroupOffsets(copiers.group(), begin).all().get();
        }
        feeders = List.of(new Feeder(clients, seed, Topics.IN, Observer::value), new Feeder(clients, seed + 1, Topics.LINES, Observer::line));
        tail = new Tail(clients);
        looks = new Looks(clients);
        glances = new Glances(clients, seed);
    }

    void start() {
        feeders.forEach(feeder -> feeding.add(new Thread(feeder)));
        feeding.forEach(Thread::start);
        tail.start();
        looks.start();
        glances.start();
    }

    @Override
    public void close() {
        feeders.forEach(Feeder::finish);
        admin.close();
    }

    private static String value(boolean isCommitted, String unique, Random random) {
        return (isCommitted ? Copies.COMMITTED : Copies.ABORTED) + "-" + unique;
    }

    /** Some words, and one that no other line has. */
    private static String line(boolean isCommitted, String unique, Random random) {
        StringBuilder line = new StringBuilder(isCommitted ? Copies.COMMITTED : Copies.ABORTED);
        for (int i = random.nextInt(4); i >= 0; i--) {
            line.append(' ').append(WORDS[random.nextInt(WORDS.length)]);
        }
        return line.append(' ').append(unique.replace('-', 'x')).toString();
    }

    void setTransactionVersion(int version) throws Exception {
        short now = admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("transaction.version").maxVersionLevel();
        if (now != version) {
            var type = version > now ? FeatureUpdate.UpgradeType.UPGRADE : FeatureUpdate.UpgradeType.SAFE_DOWNGRADE;
            admin.updateFeatures(Map.of("transaction.version", new FeatureUpdate((short) version, type)), new UpdateFeaturesOptions()).all().get();
        }
    }

    /** How many records of each kind of work a reader of what is committed has seen. */
    Map<String, Integer> progress() {
        Map<String, Integer> progress = new LinkedHashMap<>();
        for (Copiers copiers : Copiers.values()) {
            progress.put("copied by " + copiers.group(), tail.count(copiers.out()));
        }
        progress.put("transferred", tail.count(Topics.LEDGER));
        progress.put("appended", tail.count(Topics.APPENDS));
        progress.put("counted", tail.count(Topics.COUNTS));
        return progress;
    }

    /** Who waits for whom: what was fed, where the groups stand, which transactions are open. What can't be had is told with why. */
    Map<String, String> standing() {
        Map<String, String> standing = new LinkedHashMap<>();
        standing.put("fed", tail.count(Topics.IN) + " to be copied, " + tail.count(Topics.LINES) + " lines");
        List<String> groups = new ArrayList<>(List.of(STREAMS));
        Arrays.stream(Copiers.values()).forEach(copiers -> groups.add(copiers.group()));
        for (String group : groups) {
            var stable = new ListConsumerGroupOffsetsOptions().requireStable(true).timeoutMs(20_000);
            standing.put(group, told(() -> admin.describeConsumerGroups(List.of(group)).all().get().get(group)));
            standing.put("positions of " + group, told(() -> admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()));
            standing.put("stable positions of " + group, told(() -> admin.listConsumerGroupOffsets(group, stable).partitionsToOffsetAndMetadata().get()));
        }
        standing.put("open", told(() -> admin.listTransactions().all().get().stream().filter(t -> !isAtEnd(t)).toList()));
        standing.put("held open", told(() -> {
            List<String> held = new ArrayList<>();
            for (var described : admin.describeProducers(allPartitions()).all().get().entrySet()) {
                described.getValue().activeProducers().stream().filter(p -> p.currentTransactionStartOffset().isPresent()).forEach(p -> held.add(described.getKey() + " by " + p));
            }
            return held;
        }));
        return standing;
    }

    private static String told(Callable<?> question) {
        try {
            return String.valueOf(question.call());
        } catch (Exception e) {
            return String.valueOf(e);
        }
    }

    /** Feeds no more. Returns when all that was fed is copied and counted. */
    Map<String, Integer> settle() throws Exception {
        feeders.forEach(Feeder::finish);
        for (Thread thread : feeding) {
            thread.join();
        }
        int records = clients.read(Topics.IN.partitions()).size();
        long words = clients.read(Topics.LINES.partitions()).stream().mapToLong(line -> line.value().split(" ").length).sum();
        for (Copiers copiers : Copiers.values()) {
            settle(copiers.out(), records, copiers.group());
        }
        settle(Topics.COUNTS, words, STREAMS);
        return progress();
    }

    /** Returns when there are so many records, which this group makes; else complains, and says where it stands. */
    private void settle(Topics topic, long wanted, String group) throws Exception {
        try {
            Suite.eventually(() -> Suite.holds(tail.count(topic) >= wanted, tail.count(topic) + " of " + wanted + " in " + topic), Clients.PATIENCE);
        } catch (AssertionError e) {
            var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            var positions = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            throw new AssertionError(e.getMessage() + "; " + described + "; " + positions + "; " + admin.listTransactions().all().get(), e);
        }
    }

    /** Returns when no transaction is open any more, in no partition: those of whoever was killed have timed out. */
    Map<String, Integer> idle() throws Exception {
        Map<String, Integer> counts = new LinkedHashMap<>();
        Suite.eventually(() -> {
            List<TransactionListing> open = admin.listTransactions().all().get().stream().filter(t -> !isAtEnd(t)).toList();
            Suite.holds(open.isEmpty(), "transactions are open: " + open);
            List<TopicPartition> partitions = allPartitions();
            for (var described : admin.describeProducers(partitions).all().get().entrySet()) {
                for (var producer : described.getValue().activeProducers()) {
                    Suite.holds(producer.currentTransactionStartOffset().isEmpty(), producer + " hangs in " + described.getKey());
                }
            }
            Map<TopicPartition, OffsetSpec> ends = new HashMap<>();
            partitions.forEach(partition -> ends.put(partition, OffsetSpec.latest()));
            var committed = new ListOffsetsOptions(IsolationLevel.READ_COMMITTED);
            var stable = admin.listOffsets(ends, committed).all().get();
            var whole = admin.listOffsets(ends).all().get();
            for (TopicPartition partition : partitions) {
                Suite.equal(stable.get(partition).offset(), whole.get(partition).offset(), "the last stable offset of " + partition);
            }
            counts.put("ids", admin.listTransactions().all().get().size());
            counts.put("partitions", partitions.size());
        }, Clients.PATIENCE);
        return counts;
    }

    private static boolean isAtEnd(TransactionListing transaction) {
        return switch (transaction.state()) {
            case EMPTY, COMPLETE_COMMIT, COMPLETE_ABORT -> true;
            default -> false;
        };
    }

    private List<TopicPartition> allPartitions() throws Exception {
        var options = new ListTopicsOptions().listInternal(true);
        var topics = admin.describeTopics(admin.listTopics(options).names().get()).allTopicNames().get();
        List<TopicPartition> partitions = new ArrayList<>();
        topics.values().forEach(topic -> topic.partitions().forEach(p -> partitions.add(new TopicPartition(topic.name(), p.partition()))));
        return partitions;
    }

    /** Reads no more: what was read so far is judged. */
    Map<String, Integer> lookAway() throws Exception {
        List<ConsumerRecord<String, String>> all = clients.read(Topics.partitions(Topics.values()));
        Suite.eventually(() -> none(tail.check(all)), Clients.PATIENCE);
        looks.finish();
        tail.finish();
        glances.finish();
        none(glances.check(all));
        return Map.of("records", all.size(), "glances", glances.count());
    }

    /** A reader who was there all the time has seen what is there now. */
    Map<String, Integer> judgeTail() {
        List<ConsumerRecord<String, String>> all = clients.read(Topics.partitions(Topics.values()));
        none(tail.check(all));
        return Map.of("records", all.size());
    }

    Map<String, Integer> judgeCopies() throws Exception {
        List<String> fed = new ArrayList<>();
        List<String> wanted = new ArrayList<>();
        Map<Integer, Long> positions = new TreeMap<>();
        for (ConsumerRecord<String, String> record : clients.read(Topics.IN.partitions())) {
            fed.add(record.value());
            wanted.add(Copies.copyOf(record.partition(), record.offset(), record.value()));
            positions.put(record.partition(), record.offset() + 1);
        }
        none(Copies.checkFed(fed, feeders.get(0).outcomes()));
        List<String> wrong = new ArrayList<>();
        for (Copiers copiers : Copiers.values()) {
            Copies.check(wanted, values(copiers.out()), positions, positions(copiers.group())).forEach(finding -> wrong.add(copiers.group() + ": " + finding));
        }
        none(wrong);
        return Map.of("copies by each of " + Copiers.values().length + " groups", wanted.size());
    }

    private Map<Integer, Long> positions(String group) throws Exception {
        var options = new ListConsumerGroupOffsetsOptions().requireStable(true);
        Map<Integer, Long> positions = new TreeMap<>();
        admin.listConsumerGroupOffsets(group, options).partitionsToOffsetAndMetadata().get().forEach((p, position) -> positions.put(p.partition(), position.offset()));
        return positions;
    }

    private List<String> values(Topics topic) {
        return clients.read(topic.partitions()).stream().map(ConsumerRecord::value).toList();
    }

    Map<String, Integer> judgeCounts() {
        List<String> lines = values(Topics.LINES);
        none(Copies.checkFed(lines, feeders.get(1).outcomes()));
        Map<String, List<Long>> counts = new HashMap<>();
        clients.read(Topics.COUNTS.partitions()).forEach(r -> counts.computeIfAbsent(r.key(), word -> new ArrayList<>()).add(Long.parseLong(r.value())));
        none(Copies.checkCounts(lines, counts));
        return Map.of("lines", lines.size(), "words", counts.size(), "counts", counts.values().stream().mapToInt(List::size).sum());
    }

    Map<String, Integer> judgeBank() throws Exception {
        none(looks.wrong());
        Map<String, Boolean> outcomes = new HashMap<>();
        Journal.read(journals, "bank").forEach(line -> outcomes.put(line[1], line[0].equals("committed")));
        Bank.Snapshot end = Looks.snapshot(clients.read(Topics.partitions(Topics.LEDGER, Topics.BALANCES)));
        none(Bank.checkEnd(end, outcomes));
        List<Bank.Balance> latest = values(Topics.LATEST).stream().map(Bank.Balance::parse).toList();
        none(Bank.checkLatest(latest, end.balances()));
        return Map.of("transfers", end.ledger().size(), "aborted", (int) outcomes.values().stream().filter(is -> !is).count(), "snapshots", looks.snapshots(), "left by compaction", latest.size());
    }

    Map<String, Integer> judgeAppends() throws Exception {
        none(looks.wrong());
        List<History.Transaction> history = History.of(Journal.read(journals, "appends"));
        none(AppendChecker.check(history, looks.reads(), Looks.readLists(clients)));
        Map<String, Integer> counts = new TreeMap<>();
        history.forEach(transaction -> counts.merge(transaction.outcome().name().toLowerCase(), 1, Integer::sum));
        counts.put("reads", looks.reads().size() + 1);
        return counts;
    }

    private static void none(List<String> wrong) {
        Suite.holds(wrong.isEmpty(), wrong.size() + " findings: " + wrong.stream().limit(5).toList());
    }
}
