import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.TopicPartition;

/** What the work is done on. Segments are short, so that transactions lie over several of them. */
enum Topics {
    /** What is to be copied. */
    IN("copy-in", 4, false),
    OUT("copy-out", 3, false),
    /** What librdkafka's members copy to, a topic for each way in which their groups are balanced. */
    OUT_RANGE("copy-out-range", 3, false),
    OUT_COOPERATIVE("copy-out-cooperative", 3, false),
    OUT_CONSUMER("copy-out-consumer", 3, false),
    /** One record a transfer. */
    LEDGER("ledger", 2, false),
    /** The balances that each transfer has led to. */
    BALANCES("balances", 4, false),
    /** The same, of which compaction keeps the last of each account. */
    LATEST("latest", 2, true),
    APPENDS("appends", 3, false),
    /** As Kafka Streams' word count names them. */
    LINES("streams-plaintext-input", 2, false),
    COUNTS("streams-wordcount-output", 2, false);

    private static final Map<String, String> SHORT_SEGMENTS = Map.of("segment.ms", "1500");
    private static final Map<String, String> COMPACTED = Map.of("segment.ms", "500", "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01", "delete.retention.ms", "500");
    private final String topic;
    private final int partitions;
    private final boolean isCompacted;

    Topics(String topic, int partitions, boolean isCompacted) {
        this.topic = topic;
        this.partitions = partitions;
        this.isCompacted = isCompacted;
    }

    String topic() {
        return topic;
    }

    boolean isCompacted() {
        return isCompacted;
    }

    /** The partition that something of this number belongs to. */
    int partitionOf(int number) {
        return number % partitions;
    }

    List<TopicPartition> partitions() {
        List<TopicPartition> all = new ArrayList<>();
        for (int partition = 0; partition < partitions; partition++) {
            all.add(new TopicPartition(topic, partition));
        }
        return all;
    }

    static List<TopicPartition> partitions(Topics... topics) {
        return Arrays.stream(topics).flatMap(topic -> topic.partitions().stream()).toList();
    }

    NewTopic toCreate() {
        return new NewTopic(topic, Optional.of(partitions), Optional.empty()).configs(isCompacted ? COMPACTED : SHORT_SEGMENTS);
    }
}
