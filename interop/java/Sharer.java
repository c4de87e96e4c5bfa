import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ShareConsumer;

/** A member of a share group in a thread of its own, which takes records until it is told to end, and acknowledges them. */
final class Sharer implements AutoCloseable {
    private final ShareConsumer<byte[], byte[]> consumer;
    private final CountDownLatch ended = new CountDownLatch(1);
    private volatile boolean isOver;
    volatile Throwable failure;

    Sharer(ShareConsumer<byte[], byte[]> consumer, String topic, Consumer<ConsumerRecord<byte[], byte[]>> take) {
        this.consumer = consumer;
        Thread thread = new Thread(() -> run(topic, take), "sharer");
        thread.setDaemon(true);
        thread.start();
    }

    private void run(String topic, Consumer<ConsumerRecord<byte[], byte[]>> take) {
        try (consumer) {
            consumer.subscribe(List.of(topic));
            while (!isOver) {
                consumer.poll(Duration.ofMillis(50)).forEach(take);
            }
            consumer.commitSync();
        } catch (Throwable e) {
            failure = e;
        } finally {
            ended.countDown();
        }
    }

    @Override
    public void close() throws InterruptedException {
        isOver = true;
        Suite.holds(ended.await(2 * Cluster.PATIENCE.toSeconds(), TimeUnit.SECONDS), "the member did not end");
    }
}
