import java.time.Duration;
import java.util.Random;
import org.apache.kafka.clients.producer.Producer;

/** Something that is done in transactions until it is told to stop, by one producer after the other: after any error a new one begins. */
abstract class Work implements Runnable {
    final Clients clients;
    /** Says which life of which process this is, unlike any other. */
    private final String process;
    private final long seed;
    private int lives;
    private long begun;
    private volatile boolean isDone;

    Work(Clients clients, String process, long seed) {
        this.clients = clients;
        this.process = process;
        this.seed = seed;
    }

    abstract String transactionalId();

    /** Works with this producer until it fails, is done, or has had enough. */
    abstract void live(Producer<String, String> producer, String life, Random random) throws Exception;

    /** How long to rest between two lives, in milliseconds. */
    int restMs(Random random) {
        return random.nextInt(100);
    }

    /** How long this life lasts. */
    final int ageMs() {
        return (int) Duration.ofNanos(System.nanoTime() - begun).toMillis();
    }

    final boolean isDone() {
        return isDone;
    }

    final void finish() {
        isDone = true;
    }

    @Override
    public final void run() {
        Random random = new Random(seed);
        while (!isDone) {
            begun = System.nanoTime();
            Producer<String, String> producer = clients.producer(transactionalId());
            boolean isWhole = false;
            try {
                producer.initTransactions();
                live(producer, process + "-" + lives++, random);
                isWhole = true;
            } catch (Exception e) {
                System.err.printf("%s of %s begins anew: %s%n", transactionalId(), process, e);
                // Some tidy up, others leave it to whoever comes after them.
                if (random.nextBoolean()) {
                    abort(producer);
                }
            }
            producer.close(isWhole ? Clients.PATIENCE : Duration.ZERO);
            rest(restMs(random));
        }
    }

    private void rest(int ms) {
        long until = System.nanoTime() + Duration.ofMillis(ms).toNanos();
        while (!isDone && System.nanoTime() < until) {
            pause(10);
        }
    }

    private static void abort(Producer<String, String> producer) {
        try {
            producer.abortTransaction();
        } catch (RuntimeException e) {
            // It was fenced, or is past help.
        }
    }

    static void pause(int ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
