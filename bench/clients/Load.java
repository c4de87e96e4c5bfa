import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache Kafka's clients under the loads of bench/clients: produce|consume key=value... What is measured comes as one line of JSON. */
final class Load {
    private static final int BATCH_SIZE_BYTES = 128 * 1024;
    private static final int LINGER_MS = 5;
    private static final int BUFFER_MEMORY_BYTES = 32 * 1024 * 1024;
    private static final int VALUES = 1000;
    private static final String[] FIELDS = {
        "order", "customer", "status", "price", "city", "country", "quantity", "created",
        "updated", "warehouse", "carrier", "currency", "discount", "category", "product", "weight",
    };
    private static final double TICKS_PER_S = 100; // USER_HZ of Linux

    private final Map<String, String> options = new HashMap<>();
    private long[] latenciesNs = new long[0];

    private Load(String[] arguments) {
        for (String argument : Arrays.asList(arguments).subList(1, arguments.length)) {
            String[] parts = argument.split("=", 2);
            options.put(parts[0], parts[1]);
        }
    }

    private int number(String key) {
        return Integer.parseInt(options.getOrDefault(key, "0"));
    }

    /** The values that are sent, in turn: fields with numbers, as JSON has them, by a generator that the other programs have too. */
    private byte[][] values() {
        int state = 1;
        byte[][] values = new byte[VALUES][];
        for (int i = 0; i < VALUES; i++) {
            StringBuilder value = new StringBuilder();
            while (value.length() < number("size")) {
                state = state * 1664525 + 1013904223;
                value.append(String.format("\"%s\":%04d,", FIELDS[state >>> 28], (state >>> 8) % 10000));
            }
            values[i] = value.substring(0, number("size")).getBytes(StandardCharsets.US_ASCII);
        }
        return values;
    }

    /** Sends so many records and waits for all acknowledgements; paced, and with their latencies, where a rate is given. */
    private void send(KafkaProducer<byte[], byte[]> producer, byte[][] values, int count, int rate) {
        AtomicReference<Exception> failure = new AtomicReference<>();
        long[] latencies = new long[rate > 0 ? count : 0];
        long began = System.nanoTime();
        for (int i = 0; i < count; i++) {
            int number = i;
            long due = began + (rate > 0 ? (long) (i * 1e9 / rate) : 0);
            for (long ahead = due - System.nanoTime(); rate > 0 && ahead > 0; ahead = due - System.nanoTime()) {
                LockSupport.parkNanos(ahead);
            }
            producer.send(new ProducerRecord<>(options.get("topic"), values[i % VALUES]), (written, error) -> {
                if (error != null) {
                    failure.set(error);
                } else if (rate > 0) {
                    latencies[number] = System.nanoTime() - due;
                }
            });
        }
        producer.flush();
        if (failure.get() != null) {
            throw new IllegalStateException(failure.get());
        }
        latenciesNs = latencies;
    }

    /** Reads at least so many records, and looks at each. */
    private static void read(KafkaConsumer<byte[], byte[]> consumer, int count) {
        long bytes = 0;
        for (int records = 0; records < count; ) {
            ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofSeconds(60));
            if (polled.isEmpty()) {
                throw new IllegalStateException("no record within a minute");
            }
            records += polled.count();
            for (ConsumerRecord<byte[], byte[]> record : polled) {
                bytes += record.value().length;
            }
        }
        if (bytes == 0) {
            throw new IllegalStateException("the records are empty");
        }
    }

    private KafkaProducer<byte[], byte[]> producer() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", options.get("bootstrap"));
        settings.put("compression.type", options.get("codec"));
        settings.put("batch.size", BATCH_SIZE_BYTES);
        settings.put("linger.ms", LINGER_MS);
        settings.put("buffer.memory", (long) BUFFER_MEMORY_BYTES);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private KafkaConsumer<byte[], byte[]> consumer() {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", options.get("bootstrap"));
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        List<TopicPartition> partitions = new ArrayList<>();
        for (int partition = 0; partition < number("partitions"); partition++) {
            partitions.add(new TopicPartition(options.get("topic"), partition));
        }
        consumer.assign(partitions);
        return consumer;
    }

    /** Seconds of all threads, in the program and in the kernel. */
    private static double cpuSeconds() throws Exception {
        String stat = Files.readString(Path.of("/proc/self/stat"));
        String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        return (Double.parseDouble(fields[11]) + Double.parseDouble(fields[12])) / TICKS_PER_S;
    }

    private static double memoryMaxMb() throws Exception {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Double.parseDouble(line.replaceAll("\\D", "")) / 1024;
            }
        }
        throw new IllegalStateException("no VmHWM");
    }

    private void run(Measured warm, Measured measured) throws Exception {
        warm.run();
        double before = cpuSeconds();
        long began = System.nanoTime();
        measured.run();
        double seconds = (System.nanoTime() - began) / 1e9;
        double records = number("records");
        StringBuilder line = new StringBuilder(String.format(Locale.ROOT, "{\"records/s\": %f, \"CPU us/record\": %f, \"RSS MB\": %f",
            records / seconds, (cpuSeconds() - before) * 1e6 / records, memoryMaxMb()));
        if (latenciesNs.length > 0) {
            Arrays.sort(latenciesNs);
            line.append(String.format(Locale.ROOT, ", \"p50 ms\": %f, \"p99 ms\": %f",
                latenciesNs[latenciesNs.length / 2] / 1e6, latenciesNs[(int) (latenciesNs.length * 0.99)] / 1e6));
        }
        System.out.println(line.append('}'));
    }

    private interface Measured {
        void run() throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        Load load = new Load(arguments);
        int warm = load.number("warm");
        int records = load.number("records");
        if (arguments[0].equals("produce")) {
            byte[][] values = load.values();
            try (KafkaProducer<byte[], byte[]> producer = load.producer()) {
                load.run(() -> load.send(producer, values, warm, 0), () -> load.send(producer, values, records, load.number("rate")));
            }
        } else {
            try (KafkaConsumer<byte[], byte[]> consumer = load.consumer()) {
                load.run(() -> read(consumer, warm), () -> read(consumer, records));
            }
        }
    }
}
