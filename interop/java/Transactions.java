import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** What is written in a transaction is there with all of it or not at all. */
final class Transactions {
    private static final Duration PATIENCE = Cluster.PATIENCE;
    private final Cluster cluster;

    Transactions(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Suite suite) {
        suite.add("transactions: committed over several partitions", this::committed);
        suite.add("transactions: aborted, and between them committed ones", this::aborted);
        suite.add("transactions: an empty one is committed and aborted", this::empty);
        suite.add("transactions: one that is open hides what follows it", this::open);
        suite.add("transactions: offsets go with what was made of the records", this::offsets);
        suite.add("transactions: a second instance fences the first", this::fenced);
        suite.add("transactions: one that takes too long is aborted", this::timedOut);
        suite.add("transactions: are listed and described", this::described);
        suite.add("transactions: an administrator aborts and fences", this::administered);
        suite.add("transactions: several producers at once", this::several);
    }

    private Producer<byte[], byte[]> producer(String id, Object... settings) {
        List<Object> all = new ArrayList<>(List.of("transactional.id", id, "linger.ms", 0));
        all.addAll(List.of(settings));
        Producer<byte[], byte[]> producer = cluster.producer(all.toArray());
        producer.initTransactions();
        return producer;
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, int partition, String value) {
        return new ProducerRecord<>(topic, partition, null, value.getBytes(StandardCharsets.UTF_8));
    }

    private List<String> read(String topic, int partitions, int count, String isolation) {
        List<ConsumerRecord<byte[], byte[]>> records = cluster.read(Cluster.partitions(topic, partitions), count, "isolation.level", isolation);
        return records.stream().map(record -> new String(record.value(), StandardCharsets.UTF_8)).sorted().collect(Collectors.toList());
    }

    /** All that a reader of what is committed gets, up to the end that it is told. */
    private List<String> committedTo(String topic, int partitions) {
        try (Consumer<byte[], byte[]> consumer = cluster.consumer("isolation.level", "read_committed")) {
            List<TopicPartition> all = Cluster.partitions(topic, partitions);
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            List<String> values = new ArrayList<>();
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (all.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                Suite.holds(System.nanoTime() < deadline, "the end is not reached");
                consumer.poll(Duration.ofMillis(100)).forEach(r -> values.add(new String(r.value(), StandardCharsets.UTF_8)));
            }
            values.sort(null);
            return values;
        }
    }

    /** The answer to a commit comes before its markers are written: what was committed is seen soon afterwards. */
    private void waitForCommitted(String topic, int partitions, List<String> expected) throws Exception {
        Suite.eventually(() -> Suite.equal(committedTo(topic, partitions), expected.stream().sorted().toList(), "what is committed"));
    }

    private void committed() throws Exception {
        String topic = cluster.topic("committed", 3);
        List<String> expected = new ArrayList<>();
        try (Producer<byte[], byte[]> producer = producer(cluster.name("id"))) {
            for (int round = 0; round < 20; round++) {
                producer.beginTransaction();
                for (int partition = 0; partition < 3; partition++) {
                    expected.add(round + "-" + partition);
                    producer.send(record(topic, partition, round + "-" + partition));
                }
                producer.commitTransaction();
            }
        }
        waitForCommitted(topic, 3, expected);
    }

    private void aborted() throws Exception {
        String topic = cluster.topic("aborted", 2);
        List<String> expected = new ArrayList<>();
        try (Producer<byte[], byte[]> producer = producer(cluster.name("id"))) {
            for (int round = 0; round < 20; round++) {
                producer.beginTransaction();
                for (int partition = 0; partition < 2; partition++) {
                    String value = round + "-" + partition;
                    if (round % 2 == 0) {
                        expected.add(value);
                    }
                    producer.send(record(topic, partition, value)).get();
                }
                if (round % 2 == 0) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
            }
        }
        waitForCommitted(topic, 2, expected);
        Suite.equal(read(topic, 2, 40, "read_uncommitted").size(), 40);
    }

    private void empty() throws Exception {
        String topic = cluster.topic("empty", 1);
        try (Producer<byte[], byte[]> producer = producer(cluster.name("id"))) {
            producer.beginTransaction();
            producer.commitTransaction();
            producer.beginTransaction();
            producer.abortTransaction();
            producer.beginTransaction();
            producer.send(record(topic, 0, "a"));
            producer.commitTransaction();
        }
        waitForCommitted(topic, 1, List.of("a"));
    }

    private void open() throws Exception {
        String topic = cluster.topic("open", 1);
        try (Producer<byte[], byte[]> producer = producer(cluster.name("id")); Producer<byte[], byte[]> plain = cluster.producer()) {
            plain.send(record(topic, 0, "before")).get();
            producer.beginTransaction();
            producer.send(record(topic, 0, "in")).get();
            plain.send(record(topic, 0, "beside")).get();
            Suite.equal(committedTo(topic, 1), List.of("before"));
            Suite.equal(read(topic, 1, 3, "read_uncommitted"), List.of("before", "beside", "in"));
            producer.commitTransaction();
        }
        waitForCommitted(topic, 1, List.of("before", "beside", "in"));
    }

    private void offsets() throws Exception {
        String from = cluster.topic("from", 1);
        String to = cluster.topic("to", 1);
        String group = cluster.name("group");
        TopicPartition source = new TopicPartition(from, 0);
        try (Producer<byte[], byte[]> plain = cluster.producer()) {
            for (int i = 0; i < 30; i++) {
                plain.send(record(from, 0, "in " + i)).get();
            }
        }
        try (Producer<byte[], byte[]> producer = producer(cluster.name("id")); Consumer<byte[], byte[]> consumer = cluster.consumer("group.id", group, "max.poll.records", 10)) {
            consumer.subscribe(List.of(from));
            int rounds = 0;
            long done = 0;
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (done < 30) {
                Suite.holds(System.nanoTime() < deadline, "only " + done + " are done");
                List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
                consumer.poll(Duration.ofMillis(100)).forEach(records::add);
                if (records.isEmpty()) {
                    continue;
                }
                long next = records.get(records.size() - 1).offset() + 1;
                producer.beginTransaction();
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    producer.send(record(to, 0, new String(record.value(), StandardCharsets.UTF_8).replace("in", "out")));
                }
                producer.sendOffsetsToTransaction(Map.of(source, new OffsetAndMetadata(next)), consumer.groupMetadata());
                if (rounds++ == 1) {
                    producer.abortTransaction();
                    consumer.seek(source, done);
                } else {
                    producer.commitTransaction();
                    done = next;
                }
                Suite.equal(consumer.committed(Set.of(source)).get(source).offset(), done);
            }
        }
        waitForCommitted(to, 1, IntStream.range(0, 30).mapToObj(i -> "out " + i).toList());
    }

    private void fenced() throws Exception {
        String topic = cluster.topic("fenced", 1);
        String id = cluster.name("id");
        try (Producer<byte[], byte[]> first = producer(id)) {
            first.beginTransaction();
            first.send(record(topic, 0, "first")).get();
            try (Producer<byte[], byte[]> second = producer(id)) {
                Suite.fails(KafkaException.class, () -> {
                    first.send(record(topic, 0, "late")).get();
                    first.commitTransaction();
                    return "a commit";
                });
                second.beginTransaction();
                second.send(record(topic, 0, "second"));
                second.commitTransaction();
            }
        }
        waitForCommitted(topic, 1, List.of("second"));
    }

    private void timedOut() throws Exception {
        String topic = cluster.topic("timed-out", 1);
        try (Producer<byte[], byte[]> producer = producer(cluster.name("id"), "transaction.timeout.ms", 5000)) {
            producer.beginTransaction();
            producer.send(record(topic, 0, "late")).get();
            try (Producer<byte[], byte[]> plain = cluster.producer()) {
                plain.send(record(topic, 0, "plain")).get();
            }
            waitForCommitted(topic, 1, List.of("plain"));
            Suite.fails(KafkaException.class, () -> {
                producer.commitTransaction();
                return "a commit";
            });
        }
    }

    private TransactionDescription describe(String id) throws Exception {
        return cluster.admin.describeTransactions(List.of(id)).description(id).get();
    }

    private void described() throws Exception {
        String topic = cluster.topic("described", 2);
        String id = cluster.name("described");
        try (Producer<byte[], byte[]> producer = producer(id)) {
            Suite.equal(describe(id).state(), TransactionState.EMPTY);
            producer.beginTransaction();
            producer.send(record(topic, 1, "a")).get();
            TransactionDescription description = describe(id);
            Suite.equal(description.state(), TransactionState.ONGOING);
            Suite.equal(description.topicPartitions(), Set.of(new TopicPartition(topic, 1)));
            Suite.equal(description.transactionTimeoutMs(), 60_000L);
            Suite.holds(description.transactionStartTimeMs().isPresent(), "a start");
            ListTransactionsOptions options = new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING)).filterOnTransactionalIdPattern(id + ".*");
            List<TransactionListing> listed = new ArrayList<>(cluster.admin.listTransactions(options).all().get());
            Suite.equal(listed.stream().map(TransactionListing::transactionalId).collect(Collectors.toList()), List.of(id));
            Suite.equal(listed.get(0).producerId(), description.producerId());
            Suite.equal(cluster.admin.listTransactions(options.filterOnDuration(3_600_000)).all().get().size(), 0);
            producer.commitTransaction();
            Suite.eventually(() -> Suite.equal(describe(id).state(), TransactionState.COMPLETE_COMMIT));
        }
    }

    private void administered() throws Exception {
        String topic = cluster.topic("administered", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        String id = cluster.name("id");
        try (Producer<byte[], byte[]> producer = producer(id)) {
            producer.beginTransaction();
            producer.send(record(topic, 0, "a")).get();
            ProducerState state = cluster.admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers().get(0);
            Suite.equal(state.currentTransactionStartOffset().getAsLong(), 0L);
            cluster.admin.abortTransaction(new AbortTransactionSpec(partition, state.producerId(), (short) state.producerEpoch(), state.coordinatorEpoch().orElse(0))).all().get();
            Suite.equal(committedTo(topic, 1), List.of());
            cluster.admin.fenceProducers(List.of(id)).all().get();
            Suite.fails(KafkaException.class, () -> {
                producer.send(record(topic, 0, "b")).get();
                producer.commitTransaction();
                return "a commit";
            });
        }
        Suite.equal(committedTo(topic, 1), List.of());
    }

    private void several() throws Exception {
        String topic = cluster.topic("several", 4);
        List<Thread> threads = new ArrayList<>();
        List<Throwable> errors = new ArrayList<>();
        List<String> expected = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            String id = cluster.name("id");
            for (int round = 0; round < 10; round++) {
                for (int partition = 0; partition < 4 && round % 3 != 2; partition++) {
                    expected.add(id + " " + round + " " + partition);
                }
            }
            Thread thread = new Thread(() -> {
                try (Producer<byte[], byte[]> producer = producer(id)) {
                    for (int round = 0; round < 10; round++) {
                        producer.beginTransaction();
                        for (int partition = 0; partition < 4; partition++) {
                            producer.send(record(topic, partition, id + " " + round + " " + partition));
                        }
                        if (round % 3 == 2) {
                            producer.abortTransaction();
                        } else {
                            producer.commitTransaction();
                        }
                    }
                } catch (Throwable e) {
                    synchronized (errors) {
                        errors.add(e);
                    }
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        Suite.equal(errors, List.of());
        waitForCommitted(topic, 4, expected);
    }
}
