import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Collectors;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Appends to lists that lie over several partitions, beside others who do so, and writes down what it lives through. */
final class Appender extends Work {
    private static final int LISTS = 10;
    private final String id;
    private final Journal journal;

    Appender(Clients clients, String process, long seed, String id, Journal journal) {
        super(clients, process, seed);
        this.id = id;
        this.journal = journal;
    }

    @Override
    String transactionalId() {
        return id;
    }

    @Override
    void live(Producer<String, String> producer, String life, Random random) throws Exception {
        for (int number = 0; !isDone(); number++) {
            String transaction = id + "/" + life + "/" + number;
            List<Integer> lists = new ArrayList<>();
            for (int i = random.nextInt(4); i >= 0; i--) {
                lists.add(random.nextInt(LISTS));
            }
            List<String> values = new ArrayList<>();
            for (int i = 0; i < lists.size(); i++) {
                values.add(transaction + "/" + i);
            }
            journal.line("begin", transaction, id, System.nanoTime(), appends(lists, values));
            producer.beginTransaction();
            for (int i = 0; i < lists.size(); i++) {
                int list = lists.get(i);
                producer.send(new ProducerRecord<>(Topics.APPENDS.topic(), Topics.APPENDS.partitionOf(list), "list-" + list, values.get(i)));
            }
            if (random.nextInt(6) == 0) {
                producer.flush();
                producer.abortTransaction();
                journal.line("aborted", transaction, System.nanoTime());
            } else {
                journal.line("committing", transaction, System.nanoTime());
                producer.commitTransaction();
                journal.line("committed", transaction, System.nanoTime());
            }
            pause(random.nextInt(15));
        }
    }

    private static String appends(List<Integer> lists, List<String> values) {
        List<String> appends = new ArrayList<>();
        for (int i = 0; i < lists.size(); i++) {
            appends.add("list-" + lists.get(i) + "=" + values.get(i));
        }
        return appends.stream().collect(Collectors.joining(" "));
    }
}
