import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.SharePartitionOffsetInfo;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ShareConsumer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidRecordStateException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Share groups (KIP-932): members that work off the same partitions together, record by record. */
final class ShareGroups {
    /** No lock runs out within a case, unless the case waits for it. */
    private static final int LONG_LOCK_MS = 60_000;
    private final Cluster cluster;

    ShareGroups(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Suite suite) {
        suite.add("share group: what is read is acknowledged with the next poll", this::implicit);
        suite.add("share group: accept, release and reject, record by record", this::explicit);
        suite.add("share group: a record is delivered as often as the limit allows", this::deliveryLimit);
        suite.add("share group: records of a slow member go to others, and it hears of it", this::lockRunsOut);
        suite.add("share group: a member that renews keeps its records", this::renew);
        suite.add("share group: several members of one partition, each record once", this::severalMembers);
        suite.add("share group: members come and go while records flow", this::comeAndGo);
        suite.add("share group: what a member has goes to others when it leaves", this::leaves);
        suite.add("share group: what a member has goes to others when its process is killed", this::vanishes);
        suite.add("share group: a new one begins with what comes, with all, or with what is not too old", this::reset);
        suite.add("share group: committed records alone, or all", this::isolation);
        suite.add("share group: an open transaction holds back what comes after it", this::openTransaction);
        suite.add("share group: no more records than wanted, in either acquire mode", this::limits);
        suite.add("share group: two groups read the same topic, each of them all", this::twoGroups);
        suite.add("share group: a growing topic, and one that comes later", this::growing);
        suite.add("share group: records that are deleted are done with", this::deletedRecords);
        suite.add("share group: described and listed", this::described);
        suite.add("share group: offsets listed, altered and deleted", this::offsets);
        suite.add("share group: deleted only when nobody is in it", this::deleted);
        suite.add("share group: other kinds of group keep their names", this::otherKinds);
        suite.add("share group: settings of its own are checked", this::settings);
    }

    private ShareConsumer<byte[], byte[]> consumer(String group, Object... settings) {
        List<Object> all = new ArrayList<>(List.of("group.id", group));
        all.addAll(List.of(settings));
        return cluster.shareConsumer(all.toArray());
    }

    private ShareConsumer<byte[], byte[]> explicit(String group, String topic, Object... settings) {
        List<Object> all = new ArrayList<>(List.of("share.acknowledgement.mode", "explicit"));
        all.addAll(List.of(settings));
        var consumer = consumer(group, all.toArray());
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    /** A group that reads from the beginning; settings as alternating names and values. */
    private String group(String prefix, String... settings) throws Exception {
        String group = cluster.name(prefix);
        Map<String, String> all = new TreeMap<>(Map.of("share.auto.offset.reset", "earliest", "share.record.lock.duration.ms", String.valueOf(LONG_LOCK_MS)));
        for (int i = 0; i < settings.length; i += 2) {
            all.put(settings[i], settings[i + 1]);
        }
        configure(group, all);
        return group;
    }

    private void configure(String group, Map<String, String> settings) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        var operations = settings.entrySet().stream().map(entry -> new AlterConfigOp(new ConfigEntry(entry.getKey(), entry.getValue()), AlterConfigOp.OpType.SET)).toList();
        cluster.admin.incrementalAlterConfigs(Map.of(resource, operations)).all().get();
        Suite.eventually(() -> {
            var described = cluster.admin.describeConfigs(List.of(resource)).all().get().get(resource);
            settings.forEach((name, value) -> Suite.equal(described.get(name).value(), value, name));
        });
    }

    /** All in one batch, so that who gets some gets all of them at once. */
    private void fill(String topic, int partition, int from, int to) throws Exception {
        try (Producer<byte[], byte[]> producer = cluster.producer("linger.ms", 60_000)) { // closing sends it
            for (int i = from; i < to; i++) {
                producer.send(new ProducerRecord<>(topic, partition, null, String.valueOf(i).getBytes(StandardCharsets.UTF_8)));
            }
        }
    }

    private static int number(ConsumerRecord<byte[], byte[]> record) {
        return Integer.parseInt(new String(record.value(), StandardCharsets.UTF_8));
    }

    private static List<Integer> numbers(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(ShareGroups::number).sorted().toList();
    }

    private static List<Integer> range(int from, int to) {
        List<Integer> all = new ArrayList<>();
        for (int i = from; i < to; i++) {
            all.add(i);
        }
        return all;
    }

    /** Polls until `count` records came; each poll acknowledges what the one before it gave. */
    private static List<ConsumerRecord<byte[], byte[]>> poll(ShareConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + Cluster.PATIENCE.toNanos();
        while (records.size() < count && System.nanoTime() < deadline) {
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
        }
        Suite.equal(records.size(), count, "records");
        return records;
    }

    /** Polls until there are records; there must be `count` at once. Acknowledges nothing. */
    private static List<ConsumerRecord<byte[], byte[]>> take(ShareConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + Cluster.PATIENCE.toNanos();
        while (records.isEmpty() && System.nanoTime() < deadline) {
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
        }
        Suite.equal(records.size(), count, "records");
        return records;
    }

    /** Polls and says `type` of all that comes, until `count` records came. */
    private static List<ConsumerRecord<byte[], byte[]>> takeAll(ShareConsumer<byte[], byte[]> consumer, int count, AcknowledgeType type) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long deadline = System.nanoTime() + Cluster.PATIENCE.toNanos();
        while (records.size() < count && System.nanoTime() < deadline) {
            for (var record : consumer.poll(Duration.ofMillis(200))) {
                records.add(record);
                consumer.acknowledge(record, type);
            }
            committed(consumer);
        }
        Suite.equal(records.size(), count, "records");
        return records;
    }

    private static void nothing(ShareConsumer<byte[], byte[]> consumer, Duration during) {
        long deadline = System.nanoTime() + during.toNanos();
        while (System.nanoTime() < deadline) {
            Suite.equal(consumer.poll(Duration.ofMillis(100)).count(), 0, "records");
        }
    }

    private static void committed(ShareConsumer<byte[], byte[]> consumer) {
        consumer.commitSync().forEach((partition, error) -> Suite.equal(error, Optional.empty(), partition + ""));
    }

    private Map<TopicPartition, SharePartitionOffsetInfo> offsets(String group) throws Exception {
        return cluster.admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(group).get();
    }

    /** How many records are left for the group. Where it starts is written with the next change only. */
    private void waitForLag(String group, String topic, long lag) throws Exception {
        Suite.eventually(() -> {
            var info = offsets(group).get(new TopicPartition(topic, 0));
            Suite.equal(info == null ? null : info.lag(), Optional.of(lag), "lag");
        });
    }

    private int assignedTo(String group) throws Exception {
        try {
            var members = cluster.admin.describeShareGroups(List.of(group)).all().get().get(group).members();
            return members.stream().mapToInt(member -> member.assignment().topicPartitions().size()).sum();
        } catch (ExecutionException e) {
            Suite.holds(e.getCause() instanceof GroupIdNotFoundException, "there may be no group yet: " + e.getCause());
            return 0;
        }
    }

    // -- cases

    private void implicit() throws Exception {
        String topic = cluster.topic("s-implicit", 1);
        String group = group("s-implicit");
        fill(topic, 0, 0, 50);
        try (var consumer = consumer(group)) {
            consumer.subscribe(List.of(topic));
            Suite.equal(numbers(poll(consumer, 50)), range(0, 50));
            fill(topic, 0, 50, 60);
            List<ConsumerRecord<byte[], byte[]>> more = poll(consumer, 10);
            Suite.equal(numbers(more), range(50, 60));
            more.forEach(record -> Suite.equal(record.deliveryCount(), Optional.of((short) 1)));
            Suite.equal(consumer.acquisitionLockTimeoutMs(), Optional.of(LONG_LOCK_MS));
        }
        waitForLag(group, topic, 10); // who leaves gives back what no further poll has acknowledged
        try (var consumer = consumer(group)) {
            consumer.subscribe(List.of(topic));
            Suite.equal(numbers(poll(consumer, 10)), range(50, 60));
            committed(consumer);
            waitForLag(group, topic, 0);
        }
    }

    private void explicit() throws Exception {
        String topic = cluster.topic("s-explicit", 1);
        String group = group("s-explicit");
        fill(topic, 0, 0, 9);
        try (var consumer = explicit(group, topic)) {
            for (var record : take(consumer, 9)) {
                consumer.acknowledge(record, switch (number(record) % 3) {
                    case 0 -> AcknowledgeType.ACCEPT;
                    case 1 -> AcknowledgeType.RELEASE;
                    default -> AcknowledgeType.REJECT;
                });
            }
            committed(consumer);
            waitForLag(group, topic, 3);
            var again = take(consumer, 3);
            Suite.equal(numbers(again), List.of(1, 4, 7));
            again.forEach(record -> Suite.equal(record.deliveryCount(), Optional.of((short) 2)));
            Suite.fails(IllegalStateException.class, () -> consumer.poll(Duration.ofMillis(100))); // all must be acknowledged first
            again.forEach(consumer::acknowledge);
            Suite.fails(IllegalStateException.class, () -> {
                consumer.acknowledge(topic, 0, 0, AcknowledgeType.ACCEPT);
                return null;
            });
            committed(consumer);
            waitForLag(group, topic, 0);
            nothing(consumer, Duration.ofMillis(500));
        }
    }

    private void deliveryLimit() throws Exception {
        String topic = cluster.topic("s-limit", 1);
        String group = group("s-limit", "share.delivery.count.limit", "3");
        fill(topic, 0, 0, 1);
        try (var consumer = explicit(group, topic)) {
            for (short delivery = 1; delivery <= 3; delivery++) {
                var record = take(consumer, 1).get(0);
                Suite.equal(record.deliveryCount(), Optional.of(delivery));
                consumer.acknowledge(record, AcknowledgeType.RELEASE);
                committed(consumer);
            }
            waitForLag(group, topic, 0);
            fill(topic, 0, 1, 2);
            Suite.equal(numbers(takeAll(consumer, 1, AcknowledgeType.ACCEPT)), List.of(1));
        }
    }

    private void lockRunsOut() throws Exception {
        String topic = cluster.topic("s-slow", 1);
        String group = group("s-slow", "share.record.lock.duration.ms", "5000");
        fill(topic, 0, 0, 5);
        try (var slow = explicit(group, topic); var quick = explicit(group, topic)) {
            var held = take(slow, 5);
            configure(group, Map.of("share.record.lock.duration.ms", String.valueOf(LONG_LOCK_MS)));
            var taken = take(quick, 5);
            Suite.equal(numbers(taken), range(0, 5));
            taken.forEach(record -> Suite.equal(record.deliveryCount(), Optional.of((short) 2)));
            held.forEach(slow::acknowledge);
            var errors = slow.commitSync().values().stream().map(error -> error.map(KafkaException::getClass)).toList();
            Suite.equal(errors, List.of(Optional.of(InvalidRecordStateException.class)));
            taken.forEach(quick::acknowledge);
            committed(quick);
            waitForLag(group, topic, 0);
        }
    }

    private void renew() throws Exception {
        String topic = cluster.topic("s-renew", 1);
        String group = group("s-renew", "share.record.lock.duration.ms", "10000");
        fill(topic, 0, 0, 2);
        try (var first = explicit(group, topic); var second = explicit(group, topic)) {
            var records = take(first, 2);
            long started = System.nanoTime();
            while (System.nanoTime() - started < Duration.ofSeconds(13).toNanos()) {
                records.forEach(record -> first.acknowledge(record, AcknowledgeType.RENEW));
                committed(first);
                take(first, 2); // what is renewed comes again
                nothing(second, Duration.ofMillis(100));
            }
            records.forEach(first::acknowledge);
            committed(first);
            waitForLag(group, topic, 0);
        }
    }

    private void severalMembers() throws Exception {
        String topic = cluster.topic("s-several", 1);
        String group = group("s-several");
        try (var a = explicit(group, topic, "max.poll.records", 10); var b = explicit(group, topic, "max.poll.records", 10); var c = explicit(group, topic, "max.poll.records", 10)) {
            var members = List.of(a, b, c);
            members.forEach(member -> member.poll(Duration.ofMillis(100)));
            Suite.eventually(() -> {
                members.forEach(member -> member.poll(Duration.ofMillis(50)));
                Suite.equal(assignedTo(group), 3, "members with the partition");
            });
            for (int i = 0; i < 20; i++) {
                fill(topic, 0, i * 10, i * 10 + 10);
            }
            Map<Integer, Integer> counts = new HashMap<>();
            Map<ShareConsumer<byte[], byte[]>, List<ConsumerRecord<byte[], byte[]>>> held = new HashMap<>();
            for (var member : members) { // each has some while the others have theirs
                held.put(member, take(member, 10));
            }
            Suite.eventually(() -> {
                for (var member : members) {
                    for (var record : held.getOrDefault(member, List.of())) {
                        counts.merge(number(record), 1, Integer::sum);
                        member.acknowledge(record);
                    }
                    committed(member);
                    List<ConsumerRecord<byte[], byte[]>> more = new ArrayList<>();
                    member.poll(Duration.ofMillis(100)).forEach(more::add);
                    held.put(member, more);
                }
                Suite.equal(counts.size(), 200, "records");
            });
            Suite.holds(counts.values().stream().allMatch(count -> count == 1), "a record was delivered twice: " + counts);
        }
        waitForLag(group, topic, 0);
    }

    private void comeAndGo() throws Exception {
        String topic = cluster.topic("s-flow", 3);
        String group = group("s-flow");
        Map<Integer, Integer> counts = new ConcurrentHashMap<>();
        List<Sharer> all = new ArrayList<>();
        try {
            for (int round = 0; round < 6; round++) {
                all.add(new Sharer(consumer(group, "max.poll.records", 20), topic, record -> counts.merge(number(record), 1, Integer::sum)));
                if (round % 2 == 1) {
                    all.get(round / 2).close();
                }
                for (int partition = 0; partition < 3; partition++) {
                    fill(topic, partition, round * 300 + partition * 100, round * 300 + partition * 100 + 100);
                }
            }
            Suite.eventually(() -> {
                all.forEach(member -> Suite.equal(member.failure, null, "failure of a member"));
                Suite.equal(counts.size(), 1800, "records received");
            });
        } finally {
            for (Sharer member : all) {
                member.close();
            }
        }
        Suite.holds(counts.values().stream().allMatch(count -> count == 1), "a record was delivered twice");
        Suite.eventually(() -> offsets(group).forEach((partition, info) -> Suite.equal(info.lag(), Optional.of(0L), partition + "")));
    }

    private void leaves() throws Exception {
        String topic = cluster.topic("s-leave", 1);
        String group = group("s-leave");
        fill(topic, 0, 0, 4);
        try (var second = explicit(group, topic)) {
            try (var first = explicit(group, topic)) {
                var records = take(first, 4);
                first.acknowledge(records.get(0));
                committed(first);
                nothing(second, Duration.ofMillis(500));
            }
            Suite.equal(numbers(takeAll(second, 3, AcknowledgeType.ACCEPT)), List.of(1, 2, 3));
        }
        waitForLag(group, topic, 0);
    }

    private void vanishes() throws Exception {
        String topic = cluster.topic("s-vanish", 1);
        String group = group("s-vanish");
        fill(topic, 0, 0, 4);
        Process process = new ProcessBuilder(ProcessHandle.current().info().command().orElseThrow(), "-cp", System.getProperty("java.class.path"), "-XX:TieredStopAtLevel=1", "-Xmx128m", "Vanishing", cluster.bootstrap(), group, topic)
                .redirectError(ProcessBuilder.Redirect.DISCARD).start();
        try (var second = explicit(group, topic)) {
            Suite.equal(new String(process.getInputStream().readNBytes(2), StandardCharsets.UTF_8), "4\n");
            nothing(second, Duration.ofMillis(500));
            process.destroyForcibly().waitFor();
            Suite.equal(numbers(takeAll(second, 4, AcknowledgeType.ACCEPT)), range(0, 4));
        } finally {
            process.destroyForcibly();
        }
        waitForLag(group, topic, 0);
    }

    private void reset() throws Exception {
        String topic = cluster.topic("s-reset", 1);
        long now = System.currentTimeMillis();
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            for (int i = 0; i < 4; i++) {
                long timestamp = i < 2 ? now - Duration.ofHours(3).toMillis() : now;
                producer.send(new ProducerRecord<>(topic, 0, timestamp, null, String.valueOf(i).getBytes(StandardCharsets.UTF_8))).get();
            }
        }
        for (var expected : Map.of("earliest", range(0, 4), "by_duration:PT1H", range(2, 4), "by_duration:P1D", range(0, 4)).entrySet()) {
            String group = group("s-reset", "share.auto.offset.reset", expected.getKey());
            try (var consumer = explicit(group, topic)) {
                Suite.equal(numbers(takeAll(consumer, expected.getValue().size(), AcknowledgeType.ACCEPT)), expected.getValue(), expected.getKey());
            }
        }
        String group = group("s-reset", "share.auto.offset.reset", "latest");
        try (var consumer = explicit(group, topic)) {
            // From when on a record is new to it is not told: they are written until one came.
            List<Integer> came = new ArrayList<>();
            int[] end = {4};
            Suite.eventually(() -> {
                if (came.isEmpty()) {
                    fill(topic, 0, end[0], ++end[0]);
                }
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    came.add(number(record));
                    consumer.acknowledge(record);
                }
                committed(consumer);
                Suite.holds(came.contains(end[0] - 1), "the last of what was written did not come: " + came);
            });
            Suite.holds(came.get(0) >= 4, "it begins with what was there before: " + came);
            Suite.equal(came, range(came.get(0), end[0]), "from there on it has all");
        }
    }

    private void transaction(Producer<byte[], byte[]> producer, String topic, int from, int to) throws Exception {
        producer.beginTransaction();
        for (int i = from; i < to; i++) {
            producer.send(new ProducerRecord<>(topic, 0, null, String.valueOf(i).getBytes(StandardCharsets.UTF_8))).get();
        }
    }

    private void isolation() throws Exception {
        String topic = cluster.topic("s-isolation", 1);
        String committed = group("s-committed", "share.isolation.level", "read_committed");
        String all = group("s-uncommitted");
        try (Producer<byte[], byte[]> producer = cluster.producer("transactional.id", cluster.name("s-tx"))) {
            producer.initTransactions();
            transaction(producer, topic, 0, 3);
            producer.commitTransaction();
            transaction(producer, topic, 3, 6);
            producer.abortTransaction();
            transaction(producer, topic, 6, 9);
            producer.commitTransaction();
        }
        try (var consumer = explicit(committed, topic)) {
            Suite.equal(numbers(takeAll(consumer, 6, AcknowledgeType.ACCEPT)), List.of(0, 1, 2, 6, 7, 8));
        }
        try (var consumer = explicit(all, topic)) {
            Suite.equal(numbers(takeAll(consumer, 9, AcknowledgeType.ACCEPT)), range(0, 9));
        }
    }

    private void openTransaction() throws Exception {
        String topic = cluster.topic("s-open", 1);
        String group = group("s-open", "share.isolation.level", "read_committed");
        try (Producer<byte[], byte[]> producer = cluster.producer("transactional.id", cluster.name("s-tx")); var consumer = explicit(group, topic)) {
            producer.initTransactions();
            fill(topic, 0, 0, 2);
            transaction(producer, topic, 2, 4);
            fill(topic, 0, 4, 6);
            Suite.equal(numbers(takeAll(consumer, 2, AcknowledgeType.ACCEPT)), List.of(0, 1));
            nothing(consumer, Duration.ofMillis(500));
            producer.commitTransaction();
            Suite.equal(numbers(takeAll(consumer, 4, AcknowledgeType.ACCEPT)), range(2, 6));
        }
    }

    private void limits() throws Exception {
        String topic = cluster.topic("s-max", 1);
        fill(topic, 0, 0, 100); // about one batch
        String group = group("s-exact");
        try (var consumer = explicit(group, topic, "max.poll.records", 7, "share.acquire.mode", "record_limit")) {
            for (int round = 0; round < 3; round++) {
                var records = take(consumer, 7);
                Suite.equal(numbers(records), range(round * 7, round * 7 + 7));
                records.forEach(consumer::acknowledge);
                committed(consumer);
            }
        }
        try (var consumer = explicit(group("s-batches"), topic, "max.poll.records", 7)) {
            Suite.equal(numbers(takeAll(consumer, 100, AcknowledgeType.ACCEPT)), range(0, 100));
        }
    }

    private void twoGroups() throws Exception {
        String topic = cluster.topic("s-two", 1);
        String one = group("s-one");
        String two = group("s-two");
        fill(topic, 0, 0, 10);
        try (var first = explicit(one, topic); var second = explicit(two, topic)) {
            Suite.equal(numbers(takeAll(first, 10, AcknowledgeType.ACCEPT)), range(0, 10));
            Suite.equal(numbers(takeAll(second, 10, AcknowledgeType.REJECT)), range(0, 10));
        }
    }

    private void growing() throws Exception {
        String topic = cluster.topic("s-grow", 1);
        String later = cluster.name("s-later");
        String group = group("s-grow");
        fill(topic, 0, 0, 1);
        try (var consumer = explicit(group, topic, "allow.auto.create.topics", "false")) {
            consumer.subscribe(List.of(topic, later));
            takeAll(consumer, 1, AcknowledgeType.ACCEPT);
            cluster.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get();
            cluster.topicNamed(later, 1);
            fill(topic, 1, 1, 2);
            fill(later, 0, 2, 3);
            Suite.equal(numbers(takeAll(consumer, 2, AcknowledgeType.ACCEPT)), List.of(1, 2));
        }
    }

    private void deletedRecords() throws Exception {
        String topic = cluster.topic("s-records", 1);
        String group = group("s-records");
        fill(topic, 0, 0, 10);
        try (var consumer = explicit(group, topic, "max.poll.records", 2, "share.acquire.mode", "record_limit")) {
            var records = take(consumer, 2);
            cluster.admin.deleteRecords(Map.of(new TopicPartition(topic, 0), org.apache.kafka.clients.admin.RecordsToDelete.beforeOffset(6))).all().get();
            records.forEach(consumer::acknowledge);
            consumer.commitSync(); // of records that are gone: either answer is right
            List<Integer> came = new ArrayList<>();
            Suite.eventually(() -> {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    came.add(number(record));
                    consumer.acknowledge(record);
                }
                consumer.commitSync();
                Suite.equal(came.stream().filter(number -> number >= 6).toList(), range(6, 10)); // it may have asked for two more before they went
            });
        }
        waitForLag(group, topic, 0);
    }

    private void described() throws Exception {
        String topic = cluster.topic("s-described", 2);
        String group = group("s-described");
        try (var consumer = explicit(group, topic, "client.id", "a-client", "client.rack", "a-rack")) {
            Suite.eventually(() -> {
                consumer.poll(Duration.ofMillis(50));
                Suite.equal(assignedTo(group), 2, "partitions");
                var described = cluster.admin.describeShareGroups(List.of(group)).all().get().get(group);
                Suite.equal(described.groupState(), GroupState.STABLE);
                Suite.equal(described.members().size(), 1);
                var member = described.members().iterator().next();
                Suite.equal(member.assignment().topicPartitions(), Set.copyOf(Cluster.partitions(topic, 2)));
                Suite.equal(member.clientId(), "a-client");
                Suite.equal(member.rackId(), Optional.of("a-rack"));
                Suite.equal(member.host(), "/127.0.0.1");
                Suite.equal(member.memberEpoch(), described.groupEpoch());
                Suite.equal(described.targetAssignmentEpoch(), described.groupEpoch());
            });
            var listed = cluster.admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.SHARE)).inGroupStates(Set.of(GroupState.STABLE))).all().get();
            Suite.holds(listed.stream().anyMatch(each -> each.groupId().equals(group) && each.type().equals(Optional.of(GroupType.SHARE))), "the group is listed by type and state");
        }
        Suite.eventually(() -> Suite.equal(cluster.admin.describeShareGroups(List.of(group)).all().get().get(group).groupState(), GroupState.EMPTY));
        Suite.fails(GroupIdNotFoundException.class, () -> cluster.admin.describeShareGroups(List.of("nobody")).all().get());
    }

    private void offsets() throws Exception {
        String topic = cluster.topic("s-offsets", 1);
        String group = group("s-offsets");
        TopicPartition partition = new TopicPartition(topic, 0);
        fill(topic, 0, 0, 10);
        try (var consumer = explicit(group, topic)) {
            var records = take(consumer, 10);
            records.forEach(record -> consumer.acknowledge(record, number(record) == 3 || number(record) == 5 ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT));
            committed(consumer);
            waitForLag(group, topic, 2);
            Suite.fails(GroupNotEmptyException.class, () -> cluster.admin.alterShareGroupOffsets(group, Map.of(partition, 1L)).all().get());
            Suite.fails(GroupNotEmptyException.class, () -> cluster.admin.deleteShareGroupOffsets(group, Set.of(topic)).all().get());
            consumer.unsubscribe();
        }
        cluster.admin.alterShareGroupOffsets(group, Map.of(partition, 7L)).all().get();
        waitForLag(group, topic, 3);
        Suite.equal(offsets(group).get(partition).startOffset(), 7L);
        try (var consumer = explicit(group, topic)) {
            var again = takeAll(consumer, 3, AcknowledgeType.ACCEPT);
            Suite.equal(numbers(again), range(7, 10));
            again.forEach(record -> Suite.equal(record.deliveryCount(), Optional.of((short) 1), "as if it had never been delivered"));
        }
        Suite.fails(UnknownTopicOrPartitionException.class, () -> cluster.admin.alterShareGroupOffsets(group, Map.of(new TopicPartition("nowhere", 0), 7L)).all().get());
        cluster.admin.deleteShareGroupOffsets(group, Set.of(topic)).all().get();
        Suite.equal(offsets(group), Map.of());
        Suite.fails(UnknownTopicOrPartitionException.class, () -> cluster.admin.deleteShareGroupOffsets(group, Set.of("nowhere")).all().get());
        try (var consumer = explicit(group, topic)) {
            Suite.equal(numbers(takeAll(consumer, 10, AcknowledgeType.ACCEPT)), range(0, 10));
        }
    }

    private void deleted() throws Exception {
        String topic = cluster.topic("s-deleted", 1);
        String group = group("s-deleted");
        fill(topic, 0, 0, 3);
        try (var consumer = explicit(group, topic)) {
            takeAll(consumer, 3, AcknowledgeType.ACCEPT);
            Suite.fails(GroupNotEmptyException.class, () -> cluster.admin.deleteShareGroups(List.of(group)).all().get());
        }
        cluster.admin.deleteShareGroups(List.of(group)).all().get();
        Suite.fails(GroupIdNotFoundException.class, () -> cluster.admin.describeShareGroups(List.of(group)).all().get());
        Suite.fails(GroupIdNotFoundException.class, () -> cluster.admin.deleteShareGroups(List.of(group)).all().get());
        try (var consumer = explicit(group, topic)) { // one of the same name knows nothing of it
            Suite.equal(numbers(takeAll(consumer, 3, AcknowledgeType.ACCEPT)), range(0, 3));
        }
    }

    private void otherKinds() throws Exception {
        String topic = cluster.topic("s-other", 1);
        String group = group("s-other");
        fill(topic, 0, 0, 1);
        try (var consumer = explicit(group, topic)) {
            takeAll(consumer, 1, AcknowledgeType.ACCEPT);
            for (String protocol : List.of("classic", "consumer")) {
                try (var other = cluster.consumer("group.id", group, "group.protocol", protocol)) {
                    other.subscribe(List.of(topic));
                    refused(() -> other.poll(Duration.ofMillis(100)));
                }
            }
        }
        String of = cluster.name("s-consumer");
        try (var other = cluster.consumer("group.id", of, "group.protocol", "consumer")) {
            other.subscribe(List.of(topic));
            Cluster.poll(other, 1);
            try (var consumer = explicit(of, topic)) {
                refused(() -> consumer.poll(Duration.ofMillis(100)));
            }
        }
    }

    /** One of the polls to come must fail. */
    private static void refused(Callable<?> poll) throws Exception {
        long deadline = System.nanoTime() + Cluster.PATIENCE.toNanos();
        Suite.fails(ApiException.class, () -> {
            while (System.nanoTime() < deadline) {
                poll.call();
            }
            return null;
        });
    }

    private void settings() throws Exception {
        String group = cluster.name("s-settings");
        for (var faulty : Map.of("share.auto.offset.reset", "sometimes", "share.isolation.level", "both", "share.delivery.count.limit", "1", "share.record.lock.duration.ms", "10", "share.unknown", "1").entrySet()) {
            Suite.fails(InvalidConfigurationException.class, () -> {
                ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
                return cluster.admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry(faulty.getKey(), faulty.getValue()), AlterConfigOp.OpType.SET)))).all().get();
            });
        }
    }
}
