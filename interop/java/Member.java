import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;

/** A member of a group in a thread of its own, which polls, counts and commits until it is told to end. */
final class Member implements ConsumerRebalanceListener, AutoCloseable {
    private enum Ending { NONE, LEAVE, STAY }

    private final Consumer<byte[], byte[]> consumer;
    private final Thread thread;
    private final CountDownLatch ended = new CountDownLatch(1);
    private final Set<TopicPartition> owned = ConcurrentHashMap.newKeySet();
    private volatile Ending ending = Ending.NONE;

    /** How often each record, as `topic-partition@offset`, was received. */
    final Map<String, AtomicInteger> received = new ConcurrentHashMap<>();
    final AtomicInteger assignments = new AtomicInteger();
    /** All partitions that were ever taken away again. */
    final Set<TopicPartition> revoked = ConcurrentHashMap.newKeySet();
    private volatile boolean commits = true;
    /** While it is there, what is to be revoked is not given away, and who has lost something does not join again. */
    volatile CountDownLatch holdsRevocation;
    volatile Throwable failure;
    volatile String memberId = "";
    volatile int generation;

    Member(Consumer<byte[], byte[]> consumer, String... topics) {
        this(consumer, subscriber -> subscriber.subscribe(consumer, List.of(topics)));
    }

    /** The broker matches the pattern. */
    Member(Consumer<byte[], byte[]> consumer, SubscriptionPattern pattern) {
        this(consumer, subscriber -> subscriber.subscribe(consumer, pattern));
    }

    private void subscribe(Consumer<byte[], byte[]> consumer, List<String> topics) {
        consumer.subscribe(topics, this);
    }

    private void subscribe(Consumer<byte[], byte[]> consumer, SubscriptionPattern pattern) {
        consumer.subscribe(pattern, this);
    }

    private Member(Consumer<byte[], byte[]> consumer, java.util.function.Consumer<Member> subscribe) {
        this.consumer = consumer;
        thread = new Thread(() -> run(subscribe), "member");
        thread.setDaemon(true);
        thread.start();
    }

    private void run(java.util.function.Consumer<Member> subscribe) {
        try {
            subscribe.accept(this);
            while (ending == Ending.NONE) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(50))) {
                    received.computeIfAbsent(record.topic() + "-" + record.partition() + "@" + record.offset(), key -> new AtomicInteger()).incrementAndGet();
                }
                commit();
                memberId = consumer.groupMetadata().memberId();
                generation = consumer.groupMetadata().generationId();
            }
        } catch (Throwable e) {
            failure = e;
        } finally {
            var operation = ending == Ending.STAY ? CloseOptions.GroupMembershipOperation.REMAIN_IN_GROUP : CloseOptions.GroupMembershipOperation.DEFAULT;
            try {
                consumer.close(CloseOptions.groupMembershipOperation(operation).withTimeout(Cluster.PATIENCE));
            } catch (RuntimeException e) {
                failure = failure == null ? e : failure;
            }
            ended.countDown();
        }
    }

    /** No commit is under way afterwards, and none follows. */
    synchronized void stopCommitting() {
        commits = false;
    }

    private synchronized void commit() {
        if (!commits) {
            return;
        }
        try {
            consumer.commitSync();
        } catch (RebalanceInProgressException | CommitFailedException e) {
            // The next poll joins again; what was read is committed when partitions are handed over.
        }
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        holdOn();
        commit();
        owned.removeAll(partitions);
        revoked.addAll(partitions);
    }

    private void holdOn() {
        CountDownLatch held = holdsRevocation;
        if (held != null) {
            try {
                held.await();
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        owned.addAll(partitions);
        assignments.incrementAndGet();
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        holdOn();
        owned.removeAll(partitions);
    }

    Set<String> owned() {
        Set<String> names = new TreeSet<>();
        owned.forEach(partition -> names.add(partition.toString()));
        return names;
    }

    /** Leaves the group. */
    @Override
    public void close() throws InterruptedException {
        end(Ending.LEAVE);
    }

    /** Goes without a word, as a crash would. */
    void vanish() throws InterruptedException {
        end(Ending.STAY);
    }

    private void end(Ending how) throws InterruptedException {
        if (ending == Ending.NONE) {
            ending = how;
        }
        Suite.holds(ended.await(2 * Cluster.PATIENCE.toSeconds(), TimeUnit.SECONDS), "the member did not end");
    }

    static OffsetAndMetadata at(long offset) {
        return new OffsetAndMetadata(offset);
    }
}
