import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;

/** What producers send is what consumers get. */
final class Producing {
    private final Cluster cluster;

    Producing(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Suite suite) {
        for (String codec : Cluster.CODECS) {
            for (String acks : List.of("0", "1", "all")) {
                suite.add("producer: " + codec + ", acks " + acks, () -> sendAndRead(codec, acks, false));
            }
            suite.add("producer: " + codec + ", idempotent", () -> sendAndRead(codec, "all", true));
            suite.add("producer: " + codec + ", records of 1 MB", () -> bigRecords(codec));
            suite.add("producer: the topic compresses with " + codec, () -> topicCompresses(codec));
        }
        suite.add("producer: a record above max.message.bytes", this::tooLarge);
        suite.add("producer: 5 MB records where the topic allows them", this::evenBigger);
        suite.add("producer: headers of every kind", this::headers);
        suite.add("producer: null and empty keys and values", this::nulls);
        suite.add("producer: own timestamps", this::timestamps);
        suite.add("producer: LogAppendTime", this::logAppendTime);
        suite.add("producer: timestamps out of the topic's bounds", this::timestampBounds);
        suite.add("producer: a compacted topic wants keys", this::compactedWantsKeys);
        suite.add("producer: 100 partitions, each in order", this::manyPartitions);
        suite.add("producer: 20 topics that do not exist yet", this::manyTopics);
        suite.add("producer: an unknown partition", this::unknownPartition);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Bytes that compress by about a half. */
    private static byte[] payload(Random random, int size) {
        byte[] bytes = new byte[size];
        random.nextBytes(bytes);
        for (int i = 0; i < size; i += 2) {
            bytes[i] = 'x';
        }
        return bytes;
    }

    private void sendAndRead(String codec, String acks, boolean idempotent) throws Exception {
        String topic = cluster.topic("p-codec", 1);
        Random random = new Random(1);
        List<byte[]> sent = new ArrayList<>();
        List<Future<RecordMetadata>> answers = new ArrayList<>();
        try (Producer<byte[], byte[]> producer =
                cluster.producer("acks", acks, "compression.type", codec, "enable.idempotence", idempotent, "batch.size", 4000, "linger.ms", 2)) {
            for (int i = 0; i < 2000; i++) {
                sent.add(payload(random, random.nextInt(200)));
                answers.add(producer.send(new ProducerRecord<>(topic, bytes("k" + i), sent.get(i))));
            }
        }
        for (int i = 0; i < sent.size(); i++) {
            Suite.equal(answers.get(i).get().offset(), acks.equals("0") ? -1L : i, "acknowledged offset");
        }
        var records = cluster.read(Cluster.partitions(topic, 1), sent.size());
        for (int i = 0; i < sent.size(); i++) {
            Suite.equal(records.get(i).offset(), (long) i);
            Suite.equal(new String(records.get(i).key(), StandardCharsets.UTF_8), "k" + i);
            Suite.holds(Arrays.equals(records.get(i).value(), sent.get(i)), "value " + i + " differs");
        }
    }

    private void bigRecords(String codec) throws Exception {
        String topic = cluster.topic("p-big", 2);
        Random random = new Random(2);
        List<byte[]> sent = new ArrayList<>();
        try (Producer<byte[], byte[]> producer = cluster.producer("compression.type", codec)) {
            for (int i = 0; i < 10; i++) {
                sent.add(payload(random, 1_000_000));
                producer.send(new ProducerRecord<>(topic, i % 2, null, sent.get(i)));
            }
        }
        // Limits below a single record must still let it through.
        var records = cluster.read(Cluster.partitions(topic, 2), 10, "max.partition.fetch.bytes", 1000, "fetch.max.bytes", 1000);
        for (ConsumerRecord<byte[], byte[]> record : records) {
            Suite.holds(Arrays.equals(record.value(), sent.get((int) (2 * record.offset() + record.partition()))), "a value differs");
        }
    }

    private void topicCompresses(String codec) throws Exception {
        String topic = cluster.topic("p-recompress", 1, Map.of("compression.type", codec.equals("none") ? "uncompressed" : codec));
        for (String from : Cluster.CODECS) {
            try (Producer<byte[], byte[]> producer = cluster.producer("compression.type", from, "linger.ms", 20)) {
                for (int i = 0; i < 50; i++) {
                    producer.send(new ProducerRecord<>(topic, bytes("k"), bytes(from + i)));
                }
            }
        }
        var records = cluster.read(Cluster.partitions(topic, 1), 50 * Cluster.CODECS.length);
        for (int i = 0; i < records.size(); i++) {
            Suite.equal(new String(records.get(i).value(), StandardCharsets.UTF_8), Cluster.CODECS[i / 50] + i % 50);
        }
    }

    private void tooLarge() throws Exception {
        String topic = cluster.topic("p-large", 1, Map.of("max.message.bytes", "10000"));
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            Suite.fails(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(topic, new byte[20_000])).get());
            Suite.equal(producer.send(new ProducerRecord<>(topic, new byte[5_000])).get().offset(), 0L);
        }
    }

    private void evenBigger() throws Exception {
        String topic = cluster.topic("p-bigger", 1, Map.of("max.message.bytes", "6000000"));
        try (Producer<byte[], byte[]> producer = cluster.producer("max.request.size", 8_000_000)) {
            producer.send(new ProducerRecord<>(topic, new byte[5_000_000])).get();
        }
        Suite.equal(cluster.read(Cluster.partitions(topic, 1), 1).get(0).value().length, 5_000_000);
    }

    private void headers() throws Exception {
        String topic = cluster.topic("p-headers", 1);
        ProducerRecord<byte[], byte[]> sent = new ProducerRecord<>(topic, bytes("v"));
        sent.headers().add("a", bytes("1")).add("a", bytes("2")).add("empty", new byte[0]).add("null", null).add("ключ", new byte[] {0, -1});
        for (int i = 0; i < 200; i++) {
            sent.headers().add("h" + i, new byte[i]);
        }
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            producer.send(sent).get();
        }
        Header[] expected = sent.headers().toArray();
        Header[] actual = cluster.read(Cluster.partitions(topic, 1), 1).get(0).headers().toArray();
        Suite.equal(actual.length, expected.length, "number of headers");
        for (int i = 0; i < expected.length; i++) {
            Suite.equal(actual[i].key(), expected[i].key());
            Suite.holds(Arrays.equals(actual[i].value(), expected[i].value()), "the value of header " + i + " differs");
        }
    }

    private void nulls() throws Exception {
        String topic = cluster.topic("p-null", 1);
        byte[] empty = new byte[0];
        byte[][] values = {null, empty, bytes("v")};
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            for (byte[] key : values) {
                for (byte[] value : values) {
                    producer.send(new ProducerRecord<>(topic, key, value));
                }
            }
        }
        var records = cluster.read(Cluster.partitions(topic, 1), 9);
        for (int i = 0; i < 9; i++) {
            Suite.holds(Arrays.equals(records.get(i).key(), values[i / 3]), "key " + i);
            Suite.holds(Arrays.equals(records.get(i).value(), values[i % 3]), "value " + i);
        }
    }

    private void timestamps() throws Exception {
        String topic = cluster.topic("p-time", 1, Map.of("retention.ms", "-1"));
        long[] times = {1_000_000_000_000L, 5, 0, 999_999_999_999L, 1_000_000_000_000L};
        try (Producer<byte[], byte[]> producer = cluster.producer("linger.ms", 50)) {
            for (long time : times) {
                producer.send(new ProducerRecord<>(topic, 0, time, null, bytes("v")));
            }
        }
        var records = cluster.read(Cluster.partitions(topic, 1), times.length);
        for (int i = 0; i < times.length; i++) {
            Suite.equal(records.get(i).timestamp(), times[i]);
            Suite.equal(records.get(i).timestampType(), TimestampType.CREATE_TIME);
        }
    }

    private void logAppendTime() throws Exception {
        String topic = cluster.topic("p-append", 1, Map.of("message.timestamp.type", "LogAppendTime"));
        for (String codec : Cluster.CODECS) {
            try (Producer<byte[], byte[]> producer = cluster.producer("compression.type", codec)) {
                RecordMetadata answer = producer.send(new ProducerRecord<>(topic, 0, 5L, null, bytes("v"))).get();
                Suite.holds(answer.timestamp() > 1_600_000_000_000L, "the answer's timestamp is the broker's");
            }
        }
        for (var record : cluster.read(Cluster.partitions(topic, 1), Cluster.CODECS.length)) {
            Suite.equal(record.timestampType(), TimestampType.LOG_APPEND_TIME);
            Suite.holds(record.timestamp() > 1_600_000_000_000L, "the record's timestamp is the broker's");
        }
    }

    private void timestampBounds() throws Exception {
        String topic = cluster.topic("p-bounds", 1, Map.of("message.timestamp.before.max.ms", "60000", "message.timestamp.after.max.ms", "60000"));
        long now = System.currentTimeMillis();
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            for (long time : new long[] {now - 3_600_000, now + 3_600_000}) {
                Suite.fails(InvalidTimestampException.class, () -> producer.send(new ProducerRecord<>(topic, 0, time, null, bytes("v"))).get());
            }
            producer.send(new ProducerRecord<>(topic, 0, now, null, bytes("v"))).get();
        }
    }

    private void compactedWantsKeys() throws Exception {
        String topic = cluster.topic("p-compact", 1, Map.of("cleanup.policy", "compact"));
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            Suite.fails(InvalidRecordException.class, () -> producer.send(new ProducerRecord<>(topic, null, bytes("v"))).get());
            producer.send(new ProducerRecord<>(topic, bytes("k"), bytes("v"))).get();
        }
    }

    private void manyPartitions() throws Exception {
        int partitions = 100;
        String topic = cluster.topic("p-many", partitions);
        try (Producer<byte[], byte[]> producer = cluster.producer("linger.ms", 5)) {
            for (int i = 0; i < 20_000; i++) {
                producer.send(new ProducerRecord<>(topic, i % partitions, null, bytes(String.valueOf(i))));
            }
        }
        Map<Integer, Integer> next = new HashMap<>();
        for (var record : cluster.read(Cluster.partitions(topic, partitions), 20_000)) {
            int expected = next.merge(record.partition(), partitions, Integer::sum) - partitions + record.partition();
            Suite.equal(new String(record.value(), StandardCharsets.UTF_8), String.valueOf(expected));
        }
    }

    private void manyTopics() throws Exception {
        List<Future<RecordMetadata>> answers = new ArrayList<>();
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            for (int i = 0; i < 20; i++) {
                answers.add(producer.send(new ProducerRecord<>(cluster.name("p-auto"), bytes("v"))));
            }
        }
        for (var answer : answers) {
            Suite.equal(answer.get().offset(), 0L);
        }
        cluster.admin.deleteTopics(answers.stream().map(answer -> {
            try {
                return answer.get().topic();
            } catch (Exception e) {
                throw new AssertionError(e);
            }
        }).toList()).all().get();
    }

    private void unknownPartition() throws Exception {
        String topic = cluster.topic("p-unknown", 1);
        try (Producer<byte[], byte[]> producer = cluster.producer(); Producer<byte[], byte[]> hasty = cluster.producer("max.block.ms", 1500)) {
            Suite.equal(producer.partitionsFor(topic).size(), 1);
            Suite.fails(TimeoutException.class, () -> hasty.send(new ProducerRecord<>(topic, 7, null, bytes("v"))).get());
        }
    }
}
