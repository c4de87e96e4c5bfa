import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Configurable;
import org.apache.kafka.common.TopicPartition;

/**
 * Gives each member as many partitions as its setting `weight` says. The weights travel as user data with the subscriptions, and what the leader
 * saw of them travels back with the assignments.
 */
public final class Weighing implements ConsumerPartitionAssignor, Configurable {
    /** What each member was told by the leader, by its weight. */
    static final Map<Integer, String> TOLD = new ConcurrentHashMap<>();
    private int weight;

    @Override
    public void configure(Map<String, ?> settings) {
        weight = Integer.parseInt(String.valueOf(settings.get("weight")));
    }

    @Override
    public String name() {
        return "weighing";
    }

    @Override
    public ByteBuffer subscriptionUserData(Set<String> topics) {
        return bytes(String.valueOf(weight));
    }

    @Override
    public GroupAssignment assign(Cluster cluster, GroupSubscription group) {
        List<TopicPartition> left = new ArrayList<>();
        group.groupSubscription().values().iterator().next().topics().forEach(topic -> {
            for (int partition = 0; partition < cluster.partitionCountForTopic(topic); partition++) {
                left.add(new TopicPartition(topic, partition));
            }
        });
        Map<Integer, String> members = new TreeMap<>();
        group.groupSubscription().forEach((member, subscription) -> members.put(Integer.valueOf(text(subscription.userData())), member));
        Map<String, Assignment> assignments = new HashMap<>();
        members.forEach((weight, member) -> {
            List<TopicPartition> share = left.subList(0, Math.min(weight, left.size()));
            assignments.put(member, new Assignment(new ArrayList<>(share), bytes("the weights are " + members.keySet())));
            share.clear();
        });
        return new GroupAssignment(assignments);
    }

    @Override
    public void onAssignment(Assignment assignment, ConsumerGroupMetadata metadata) {
        TOLD.put(weight, text(assignment.userData()));
    }

    private static ByteBuffer bytes(String text) {
        return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String text(ByteBuffer bytes) {
        return StandardCharsets.UTF_8.decode(bytes.duplicate()).toString();
    }
}
