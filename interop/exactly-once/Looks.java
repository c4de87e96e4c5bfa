import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;

/** Looks again and again at all that is committed, while it is being worked on: the lists with a new consumer each time, and the bank. */
final class Looks extends Thread {
    private static final List<TopicPartition> BANK = Topics.partitions(Topics.LEDGER, Topics.BALANCES);
    private final Clients clients;
    private final List<History.Read> reads = new ArrayList<>();
    private final List<ConsumerRecord<String, String>> bank = new ArrayList<>();
    private final List<String> wrong = new ArrayList<>();
    private int snapshots;
    private volatile boolean isDone;

    Looks(Clients clients) {
        this.clients = clients;
    }

    @Override
    public void run() {
        try (Consumer<String, String> consumer = clients.consumer("max.poll.records", 5000)) {
            consumer.assign(BANK);
            consumer.seekToBeginning(BANK);
            while (!isDone) {
                History.Read read = readLists(clients);
                synchronized (this) {
                    reads.add(read);
                }
                lookAtBank(consumer);
                Work.pause(200);
            }
        } catch (RuntimeException e) {
            complain("a reader failed: " + e);
        }
    }

    private synchronized void complain(String what) {
        wrong.add(what);
    }

    static History.Read readLists(Clients clients) {
        long began = System.nanoTime();
        List<ConsumerRecord<String, String>> records = clients.read(Topics.APPENDS.partitions());
        long ended = System.nanoTime();
        Map<String, List<String>> lists = new HashMap<>();
        records.forEach(record -> lists.computeIfAbsent(record.key(), key -> new ArrayList<>()).add(record.value()));
        return new History.Read(began, ended, lists);
    }

    private void lookAtBank(Consumer<String, String> consumer) {
        Map<TopicPartition, Long> first = consumer.endOffsets(BANK);
        Map<TopicPartition, Long> second = consumer.endOffsets(BANK);
        bank.addAll(Clients.readTo(consumer, second));
        second.forEach(consumer::seek);
        List<ConsumerRecord<String, String>> earlier = bank.stream().filter(r -> r.offset() < first.get(new TopicPartition(r.topic(), r.partition()))).toList();
        List<String> found = Bank.checkSnapshot(snapshot(earlier), snapshot(bank));
        synchronized (this) {
            snapshots++;
            wrong.addAll(found);
        }
    }

    static Bank.Snapshot snapshot(List<ConsumerRecord<String, String>> records) {
        return new Bank.Snapshot(
                records.stream().filter(record -> record.topic().equals(Topics.LEDGER.topic())).map(record -> Bank.Transfer.parse(record.value())).toList(),
                records.stream().filter(record -> record.topic().equals(Topics.BALANCES.topic())).map(record -> Bank.Balance.parse(record.value())).toList());
    }

    void finish() throws InterruptedException {
        isDone = true;
        join();
    }

    synchronized List<History.Read> reads() {
        return List.copyOf(reads);
    }

    synchronized int snapshots() {
        return snapshots;
    }

    synchronized List<String> wrong() {
        return List.copyOf(wrong);
    }
}
