import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes to every partition of a topic all the time and tells for how long one took nothing: Failover BOOTSTRAP TOPIC PARTITIONS.
 *
 * <p>A line on standard input ends a stretch of time: the answer is, for each partition, the most milliseconds between two
 * acknowledgements that followed each other in it, or since the last one. The end of the input ends the program.
 */
public final class Failover {
    private static final int EVERY_MS = 5;

    /** When the last acknowledgement of each partition came, and the longest wait for one; guarded by itself. */
    private static final class Waits {
        private final long[] last;
        private final long[] longest;

        Waits(int partitions) {
            last = new long[partitions];
            longest = new long[partitions];
            java.util.Arrays.fill(last, System.nanoTime());
        }

        synchronized void acknowledged(int partition) {
            long now = System.nanoTime();
            longest[partition] = Math.max(longest[partition], now - last[partition]);
            last[partition] = now;
        }

        synchronized String tell() {
            StringBuilder text = new StringBuilder();
            for (int partition = 0; partition < last.length; partition++) {
                long waited = Math.max(longest[partition], System.nanoTime() - last[partition]);
                text.append(partition == 0 ? "" : " ").append(waited / 1_000_000);
                longest[partition] = 0;
            }
            return text.toString();
        }
    }

    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1];
        int partitions = Integer.parseInt(arguments[2]);
        Waits waits = new Waits(partitions);
        Map<String, Object> settings = Map.of("bootstrap.servers", arguments[0], "acks", "all", "linger.ms", "0", "metadata.max.age.ms", "60000");
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            Thread writer = new Thread(() -> {
                byte[] value = new byte[100];
                for (int partition = 0; !Thread.interrupted(); partition = (partition + 1) % partitions) {
                    int to = partition;
                    producer.send(new ProducerRecord<>(topic, to, null, value), (metadata, error) -> {
                        if (error == null) {
                            waits.acknowledged(to);
                        } else {
                            System.err.println("partition " + to + ": " + error);
                        }
                    });
                    LockSupport.parkNanos(EVERY_MS * 1_000_000L / partitions);
                }
            });
            writer.setDaemon(true);
            writer.start();
            BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
            while (input.readLine() != null) {
                System.out.println(waits.tell());
            }
            writer.interrupt();
            writer.join();
        }
    }
}
