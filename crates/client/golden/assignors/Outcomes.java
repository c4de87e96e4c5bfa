import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/** Prints what the Java client's assignors make of groups that change at random: one block a rebalance. */
public class Outcomes {
    static final String[] RACKS = {"r1", "r2", "r3"};

    public static void main(String[] arguments) {
        Random random = new Random(431);
        Map<String, Supplier<ConsumerPartitionAssignor>> assignors = new TreeMap<>();
        assignors.put("range", RangeAssignor::new);
        assignors.put("roundrobin", RoundRobinAssignor::new);
        assignors.put("sticky", StickyAssignor::new);
        assignors.put("cooperative-sticky", CooperativeStickyAssignor::new);
        assignors.forEach((name, assignor) -> {
            int groups = name.contains("sticky") ? 10 : 5;
            for (int group = 0; group < groups; group++)
                new Outcomes(random, name, assignor, group % 2 == 1, group % 4 < 2).run();
        });
    }

    final Random random;
    final String name;
    final Supplier<ConsumerPartitionAssignor> assignor;
    final boolean withRacks;
    final boolean sameTopics;
    final TreeMap<String, List<Set<String>>> topics = new TreeMap<>();
    final List<Member> members = new ArrayList<>();
    int generation = 0;

    class Member {
        final String id = "c-" + Integer.toHexString(random.nextInt());
        final String instance = random.nextInt(4) == 0 ? "i-" + random.nextInt(10000) : null;
        final String rack = withRacks && random.nextInt(8) > 0 ? RACKS[random.nextInt(3)] : null;
        final ConsumerPartitionAssignor own = assignor.get();
        List<TopicPartition> owned = List.of();
        int generation = -1;
        TreeSet<String> topics = choice();
    }

    Outcomes(Random random, String name, Supplier<ConsumerPartitionAssignor> assignor, boolean withRacks, boolean sameTopics) {
        this.random = random;
        this.name = name;
        this.assignor = assignor;
        this.withRacks = withRacks;
        this.sameTopics = sameTopics;
        for (int topic = 0; topic < 2 + random.nextInt(3); topic++)
            addTopic();
        for (int member = 0; member < 2 + random.nextInt(6); member++)
            members.add(new Member());
    }

    void addTopic() {
        int size = random.nextInt(3) == 0 ? 4 : 1 + random.nextInt(10);
        List<Set<String>> partitions = new ArrayList<>();
        for (int partition = 0; partition < size; partition++)
            partitions.add(replicas());
        topics.put("t" + (char) ('a' + random.nextInt(26)), partitions);
    }

    Set<String> replicas() {
        Set<String> racks = new TreeSet<>();
        int count = random.nextInt(10) == 0 ? 0 : 1 + random.nextInt(2);
        for (int replica = 0; replica < count; replica++)
            racks.add(RACKS[random.nextInt(3)]);
        return racks;
    }

    TreeSet<String> choice() {
        if (sameTopics)
            return new TreeSet<>(topics.keySet());
        TreeSet<String> chosen = new TreeSet<>();
        for (String topic : topics.keySet())
            if (random.nextInt(3) > 0)
                chosen.add(topic);
        chosen.add(topics.firstKey());
        return chosen;
    }

    void run() {
        for (int round = 0; round < 5; round++) {
            rebalance();
            change();
        }
    }

    void change() {
        switch (random.nextInt(7)) {
            case 0: case 1: members.add(new Member()); break;
            case 2: case 3: if (members.size() > 1) members.remove(random.nextInt(members.size())); break;
            case 4: addTopic(); break;
            case 5: topics.get(topics.lastKey()).add(replicas()); break;
            default: if (topics.size() > 1) topics.remove(topics.lastKey()); break;
        }
        if (random.nextInt(3) == 0)
            members.add(random.nextInt(members.size() + 1), new Member());
        for (Member member : members)
            if (sameTopics || random.nextInt(4) == 0)
                member.topics = choice();
    }

    void rebalance() {
        generation++;
        Map<String, Subscription> subscriptions = new HashMap<>();
        List<String> block = new ArrayList<>();
        block.add("case " + name);
        topics.forEach((topic, partitions) -> block.add("topic " + topic + partitions.stream()
            .map(racks -> " " + (racks.isEmpty() ? "-" : String.join(",", racks))).collect(Collectors.joining())));
        for (Member member : members) {
            // Eager members have given up everything, and say what they had in their user data at most.
            List<TopicPartition> owned = name.startsWith("cooperative") ? member.owned : List.of();
            // Now and then a client of before subscriptions had generations.
            int said = random.nextInt(8) == 0 ? -1 : member.generation;
            ByteBuffer data = member.own.subscriptionUserData(member.topics);
            Subscription subscription = new Subscription(new ArrayList<>(member.topics), data, owned, said, Optional.ofNullable(member.rack));
            subscription.setGroupInstanceId(Optional.ofNullable(member.instance));
            subscriptions.put(member.id, subscription);
            block.add("member " + member.id + " instance=" + text(member.instance) + " rack=" + text(member.rack)
                + " generation=" + said + " topics=" + String.join(",", member.topics) + " owned=" + text(owned)
                + " data=" + (data == null ? "-" : HexFormat.of().formatHex(data.array())));
        }
        Map<String, Assignment> assignments = new HashMap<>();
        try {
            assignments.putAll(assignor.get().assign(cluster(), new GroupSubscription(subscriptions)).groupAssignment());
        } catch (IllegalStateException | NullPointerException contradictory) {
            return;
        }
        long given = assignments.values().stream().mapToLong(assignment -> assignment.partitions().size()).sum();
        long distinct = assignments.values().stream().flatMap(assignment -> assignment.partitions().stream()).distinct().count();
        for (Member member : members) {
            Assignment assignment = assignments.get(member.id);
            block.add("gets " + member.id + " " + text(assignment.partitions()));
            // Now and then one doesn't hear of it, and stays with what it had.
            if (random.nextInt(10) > 0) {
                member.own.onAssignment(assignment, new ConsumerGroupMetadata("group", generation, member.id, Optional.empty()));
                member.owned = assignment.partitions();
                member.generation = generation;
            }
        }
        boolean unwanted = members.stream().anyMatch(member ->
            assignments.get(member.id).partitions().stream().anyMatch(partition -> !member.topics.contains(partition.topic())));
        // Where members' claims contradict each other, Java's may give a partition to two of them or to one that doesn't
        // read its topic, or fail (above): nothing to copy.
        if (given == distinct && !unwanted)
            block.forEach(System.out::println);
    }

    Cluster cluster() {
        Map<String, Node> nodes = new TreeMap<>();
        for (int rack = 0; rack < RACKS.length; rack++)
            nodes.put(RACKS[rack], new Node(rack, "host", 9092, RACKS[rack]));
        List<PartitionInfo> infos = new ArrayList<>();
        topics.forEach((topic, partitions) -> {
            for (int partition = 0; partition < partitions.size(); partition++) {
                Node[] replicas = partitions.get(partition).stream().map(nodes::get).toArray(Node[]::new);
                infos.add(new PartitionInfo(topic, partition, null, replicas, replicas));
            }
        });
        return new Cluster("cluster", nodes.values(), infos, Set.of(), Set.of());
    }

    static String text(String text) {
        return text == null ? "-" : text;
    }

    static String text(List<TopicPartition> partitions) {
        String all = partitions.stream().map(partition -> partition.topic() + ":" + partition.partition()).sorted().collect(Collectors.joining(","));
        return all.isEmpty() ? "-" : all;
    }
}
