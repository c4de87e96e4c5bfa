import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Feeds a topic in transactions, of which some are aborted. What it feeds says whether it is to be committed. */
final class Feeder extends Work {
    interface Source {
        /** Unlike any other of this number, and named by whether it will be committed. */
        String value(boolean isCommitted, String unique, Random random);
    }

    private final Topics topic;
    private final Source source;
    /** What was committed or aborted; of the rest nothing is known. */
    private final Map<String, Boolean> outcomes = new ConcurrentHashMap<>();

    Feeder(Clients clients, long seed, Topics topic, Source source) {
        super(clients, "feeder", seed);
        this.topic = topic;
        this.source = source;
    }

    @Override
    String transactionalId() {
        return "feeder-of-" + topic.topic();
    }

    Map<String, Boolean> outcomes() {
        return outcomes;
    }

    @Override
    void live(Producer<String, String> producer, String life, Random random) {
        for (int number = 0; !isDone(); number++) {
            boolean isCommitted = random.nextInt(5) > 0;
            List<String> values = new ArrayList<>();
            producer.beginTransaction();
            for (int i = random.nextInt(8); i >= 0; i--) {
                String value = source.value(isCommitted, life + "-" + number + "-" + i, random);
                values.add(value);
                producer.send(new ProducerRecord<>(topic.topic(), topic.partitionOf(random.nextInt(100)), null, value));
            }
            if (isCommitted) {
                producer.commitTransaction();
            } else {
                producer.flush();
                producer.abortTransaction();
            }
            values.forEach(value -> outcomes.put(value, isCommitted));
            pause(20 + random.nextInt(30));
        }
    }
}
