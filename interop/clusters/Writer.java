import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

/**
 * Writes numbers to one partition, idempotent and with acks=all, in one codec. Nobody else writes there, so each number's offset is itself:
 * whatever is lost, there twice, or out of order is seen at once.
 */
final class Writer extends Thread {
    /** Longer than any node may be away: what fails before has failed for another reason. */
    private static final long DELIVERY_TIMEOUT_MS = 240_000;
    private static final int BURST = 10;
    private static final int PAUSE_MS = 40;
    private static final byte[] FILLER = " and some more that compresses".repeat(8).getBytes();
    private final int partition;
    private final Producer<byte[], byte[]> producer;
    private final Wrong wrong;
    private final Stalls stalls = new Stalls();
    private final AtomicLong acknowledged = new AtomicLong();
    private long sent;
    private volatile boolean isDone;

    Writer(Clients clients, Wrong wrong, int partition, String codec) {
        super("writer-" + partition);
        this.partition = partition;
        this.wrong = wrong;
        producer = clients.producer("acks", "all", "enable.idempotence", true, "compression.type", codec, "linger.ms", 5, "request.timeout.ms", 10_000,
                "delivery.timeout.ms", DELIVERY_TIMEOUT_MS, "max.block.ms", DELIVERY_TIMEOUT_MS);
    }

    @Override
    public void run() {
        try (producer) {
            // As long as a leader has nothing of a producer it takes whatever comes first, also the second of two batches whose first was
            // refused because it was not the leader yet.
            send();
            producer.flush();
            while (!isDone) {
                for (int i = 0; i < BURST; i++) {
                    send();
                }
                Traffic.pause(PAUSE_MS);
            }
        } catch (RuntimeException e) {
            wrong.add(getName() + " failed: " + e);
        }
    }

    private void send() {
        long number = sent++;
        producer.send(new ProducerRecord<>(Traffic.WRITTEN, partition, null, value(number)), (metadata, failure) -> acknowledged(number, metadata, failure));
    }

    private void acknowledged(long number, RecordMetadata metadata, Exception failure) {
        if (failure != null) {
            wrong.add(number + " of " + getName() + " failed: " + failure);
            return;
        }
        // An acknowledgement that was lost may be given again without its offset.
        if (metadata.hasOffset() && metadata.offset() != number) {
            wrong.add(number + " of " + getName() + " is acknowledged at " + metadata.offset());
        }
        acknowledged.incrementAndGet();
        stalls.goesOn();
    }

    private static byte[] value(long number) {
        byte[] text = Long.toString(number).getBytes();
        byte[] value = new byte[text.length + FILLER.length];
        System.arraycopy(text, 0, value, 0, text.length);
        System.arraycopy(FILLER, 0, value, text.length, FILLER.length);
        return value;
    }

    static long number(byte[] value) {
        String text = new String(value);
        return Long.parseLong(text.substring(0, text.indexOf(' ')));
    }

    long acknowledged() {
        return acknowledged.get();
    }

    Stalls stalls() {
        return stalls;
    }

    /** Writes no more, and returns when all is acknowledged. */
    long finish() throws InterruptedException {
        isDone = true;
        join(DELIVERY_TIMEOUT_MS);
        if (isAlive() || acknowledged() != sent) {
            wrong.add(getName() + " has " + acknowledged() + " of " + sent + " acknowledged");
        }
        return sent;
    }
}
