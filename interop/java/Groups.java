import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.GroupMaxSizeReachedException;
import org.apache.kafka.common.errors.InconsistentGroupProtocolException;

/** Groups of the classic protocol: who owns what while members come and go. */
final class Groups {
    private static final int PARTITIONS = 6;
    private final Cluster cluster;

    Groups(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Suite suite) {
        for (Class<?> assignor : List.of(RangeAssignor.class, RoundRobinAssignor.class, StickyAssignor.class, CooperativeStickyAssignor.class)) {
            suite.add("group: " + assignor.getSimpleName() + ", members join and leave while records flow", () -> joinAndLeave(assignor));
        }
        suite.add("group: a vanished member's partitions move after its session", this::vanished);
        suite.add("group: a member that does not poll loses its partitions", this::pollTooSeldom);
        suite.add("group: a static member comes back to the same partitions without a rebalance", this::staticMember);
        suite.add("group: a second one with the same instance id fences the first", this::fencing);
        suite.add("group: members are removed by the admin", this::removeMembers);
        suite.add("group: a growing topic is assigned anew", this::growingTopic);
        suite.add("group: a common protocol is agreed on, or there is none", this::protocols);
        suite.add("group: group.max.size", this::maxSize);
        suite.add("group: many groups side by side", this::manyGroups);
    }

    /** Sessions are long, so that no member is given up because the machine is busy, but where that is the point. */
    private Consumer<byte[], byte[]> consumer(String group, Class<?> assignor, Object... settings) {
        List<Object> all = new ArrayList<>(List.of("group.id", group, "partition.assignment.strategy", assignor.getName(), "heartbeat.interval.ms", 200));
        all.addAll(List.of(settings));
        return cluster.consumer(all.toArray());
    }

    private void fill(String topic, int partitions, int from, int to) throws Exception {
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            for (int i = from; i < to; i++) {
                producer.send(new ProducerRecord<>(topic, i % partitions, null, String.valueOf(i).getBytes(StandardCharsets.UTF_8)));
            }
        }
    }

    /** Waits until the members together own exactly these partitions, each once, within one difference of equal shares. */
    private static void waitForShares(Set<TopicPartition> partitions, Member... members) throws Exception {
        Set<String> expected = new TreeSet<>();
        partitions.forEach(partition -> expected.add(partition.toString()));
        Suite.eventually(() -> {
            Set<String> all = new TreeSet<>();
            int sum = 0;
            for (Member member : members) {
                Suite.equal(member.failure, null, "failure of a member");
                Set<String> owned = member.owned();
                sum += owned.size();
                all.addAll(owned);
                Suite.holds(owned.size() >= partitions.size() / members.length, "an unfair share: " + owned);
            }
            Suite.equal(all, expected, "owned together");
            Suite.equal(sum, expected.size(), "owned by several");
        });
    }

    private static void waitForRecords(int count, Member... members) throws Exception {
        Suite.eventually(() -> {
            Set<String> all = new HashSet<>();
            for (Member member : members) {
                all.addAll(member.received.keySet());
            }
            Suite.equal(all.size(), count, "records received");
        });
    }

    private void joinAndLeave(Class<?> assignor) throws Exception {
        String topic = cluster.topic("g-flow", PARTITIONS);
        String group = cluster.name("g-flow");
        Set<TopicPartition> partitions = new HashSet<>(Cluster.partitions(topic, PARTITIONS));
        fill(topic, PARTITIONS, 0, 600);
        try (Member first = new Member(consumer(group, assignor), topic)) {
            waitForShares(partitions, first);
            try (Member second = new Member(consumer(group, assignor), topic)) {
                waitForShares(partitions, first, second);
                fill(topic, PARTITIONS, 600, 1200);
                try (Member third = new Member(consumer(group, assignor), topic)) {
                    waitForShares(partitions, first, second, third);
                    fill(topic, PARTITIONS, 1200, 1800);
                    waitForRecords(1800, first, second, third);
                    third.close();
                    waitForShares(partitions, first, second);
                    first.received.putAll(third.received);
                }
                second.close();
                waitForShares(partitions, first);
                fill(topic, PARTITIONS, 1800, 2400);
                waitForRecords(2400, first, second);
                for (Member member : List.of(first, second)) {
                    member.received.forEach((record, times) -> Suite.equal(times.get(), 1, record + " was received"));
                }
                waitForCommitted(group, partitions, 2400L / PARTITIONS);
            }
        }
        Suite.eventually(() -> Suite.equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState(), GroupState.EMPTY));
        waitForCommitted(group, partitions, 2400L / PARTITIONS);
    }

    private void waitForCommitted(String group, Set<TopicPartition> partitions, long offset) throws Exception {
        Suite.eventually(() -> {
            var committed = cluster.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            for (TopicPartition partition : partitions) {
                var found = committed.get(partition);
                Suite.equal(found == null ? null : found.offset(), offset, "committed in " + partition);
            }
        });
    }

    private void vanished() throws Exception {
        String topic = cluster.topic("g-vanish", PARTITIONS);
        String group = cluster.name("g-vanish");
        Set<TopicPartition> partitions = new HashSet<>(Cluster.partitions(topic, PARTITIONS));
        try (Member first = new Member(consumer(group, RangeAssignor.class), topic)) {
            Member second = new Member(consumer(group, RangeAssignor.class, "session.timeout.ms", 3000), topic);
            waitForShares(partitions, first, second);
            second.vanish();
            waitForShares(partitions, first);
        }
    }

    private void pollTooSeldom() throws Exception {
        String topic = cluster.topic("g-seldom", 2);
        String group = cluster.name("g-seldom");
        fill(topic, 2, 0, 10);
        try (Consumer<byte[], byte[]> lazy = consumer(group, RangeAssignor.class, "max.poll.interval.ms", 2000)) {
            lazy.subscribe(List.of(topic));
            Cluster.pollDifferent(lazy, 10);
            try (Member diligent = new Member(consumer(group, RangeAssignor.class), topic)) {
                waitForShares(new HashSet<>(Cluster.partitions(topic, 2)), diligent);
                waitForRecords(10, diligent);
                Suite.fails(CommitFailedException.class, () -> {
                    lazy.commitSync();
                    return null;
                });
            }
        }
    }

    private void staticMember() throws Exception {
        String topic = cluster.topic("g-static", PARTITIONS);
        String group = cluster.name("g-static");
        Set<TopicPartition> partitions = new HashSet<>(Cluster.partitions(topic, PARTITIONS));
        Object[] moving = {"session.timeout.ms", 60_000, "group.instance.id", "moving"};
        try (Member first = new Member(consumer(group, RangeAssignor.class, "session.timeout.ms", 60_000, "group.instance.id", "staying"), topic)) {
            waitForShares(partitions, first);
            Member second = new Member(consumer(group, RangeAssignor.class, moving), topic);
            waitForShares(partitions, first, second);
            Set<String> before = second.owned();
            String idBefore = second.memberId;
            Suite.eventually(() -> Suite.equal(first.generation, second.generation, "generation of both"));
            int generation = first.generation;
            int assignments = first.assignments.get();
            second.close(); // a static member does not leave by closing
            try (Member again = new Member(consumer(group, RangeAssignor.class, moving), topic)) {
                waitForShares(partitions, first, again);
                Suite.equal(again.owned(), before, "owned after coming back");
                Suite.eventually(() -> Suite.equal(again.generation, generation, "generation"));
                Suite.equal(first.assignments.get(), assignments, "assignments that the other one saw");
                Suite.holds(!again.memberId.equals(idBefore), "a new member id");
            }
        }
    }

    private void fencing() throws Exception {
        String topic = cluster.topic("g-fence", 2);
        String group = cluster.name("g-fence");
        Object[] same = {"group.instance.id", "one"};
        try (Member first = new Member(consumer(group, RangeAssignor.class, same), topic)) {
            waitForShares(new HashSet<>(Cluster.partitions(topic, 2)), first);
            try (Member second = new Member(consumer(group, RangeAssignor.class, same), topic)) {
                waitForShares(new HashSet<>(Cluster.partitions(topic, 2)), second);
                Suite.eventually(() -> Suite.holds(first.failure instanceof FencedInstanceIdException, "the first one failed with " + first.failure));
            }
        }
    }

    private void removeMembers() throws Exception {
        String topic = cluster.topic("g-remove", 2);
        String group = cluster.name("g-remove");
        Object[] named = {"group.instance.id", "named", "session.timeout.ms", 60_000};
        Member gone = new Member(consumer(group, RangeAssignor.class, named), topic);
        waitForShares(new HashSet<>(Cluster.partitions(topic, 2)), gone);
        gone.close();
        Suite.equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), 1, "members");
        cluster.admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("named")))).all().get();
        Suite.equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), 0, "members");
        try (Member dynamic = new Member(consumer(group, RangeAssignor.class), topic)) {
            waitForShares(new HashSet<>(Cluster.partitions(topic, 2)), dynamic);
            int assignments = dynamic.assignments.get();
            cluster.admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all().get();
            Suite.eventually(() -> Suite.holds(dynamic.assignments.get() > assignments, "it joins again"));
        }
    }

    private void growingTopic() throws Exception {
        String topic = cluster.topic("g-grow", 2);
        String group = cluster.name("g-grow");
        try (Member only = new Member(consumer(group, RangeAssignor.class, "metadata.max.age.ms", 300), topic)) {
            waitForShares(new HashSet<>(Cluster.partitions(topic, 2)), only);
            cluster.admin.createPartitions(Map.of(topic, org.apache.kafka.clients.admin.NewPartitions.increaseTo(5))).all().get();
            waitForShares(new HashSet<>(Cluster.partitions(topic, 5)), only);
        }
    }

    private void protocols() throws Exception {
        String topic = cluster.topic("g-proto", 2);
        String group = cluster.name("g-proto");
        String both = RoundRobinAssignor.class.getName() + "," + RangeAssignor.class.getName();
        try (Member first = new Member(cluster.consumer("group.id", group, "partition.assignment.strategy", both), topic);
                Member second = new Member(consumer(group, RangeAssignor.class), topic)) {
            waitForShares(new HashSet<>(Cluster.partitions(topic, 2)), first, second);
            Suite.eventually(() -> Suite.equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).partitionAssignor(), "range"));
            try (Member stranger = new Member(consumer(group, StickyAssignor.class), topic)) {
                Suite.eventually(() -> Suite.holds(stranger.failure instanceof InconsistentGroupProtocolException, "failed with " + stranger.failure));
            }
            waitForShares(new HashSet<>(Cluster.partitions(topic, 2)), first, second);
        }
    }

    private void maxSize() throws Exception {
        String topic = cluster.topic("g-size", 4);
        String group = cluster.name("g-size");
        List<Member> members = new ArrayList<>();
        try {
            for (int i = 0; i < 4; i++) { // the broker runs with group.max.size=4
                members.add(new Member(consumer(group, RangeAssignor.class), topic));
            }
            waitForShares(new HashSet<>(Cluster.partitions(topic, 4)), members.toArray(new Member[0]));
            try (Member tooMany = new Member(consumer(group, RangeAssignor.class), topic)) {
                Suite.eventually(() -> Suite.holds(tooMany.failure instanceof GroupMaxSizeReachedException, "failed with " + tooMany.failure));
            }
        } finally {
            for (Member member : members) {
                member.close();
            }
        }
    }

    private void manyGroups() throws Exception {
        String topic = cluster.topic("g-many", 2);
        fill(topic, 2, 0, 20);
        List<Member> members = new ArrayList<>();
        try {
            for (int i = 0; i < 20; i++) {
                members.add(new Member(consumer(cluster.name("g-many"), RangeAssignor.class), topic));
            }
            for (Member member : members) {
                waitForRecords(20, member);
            }
        } finally {
            for (Member member : members) {
                member.close();
            }
        }
    }
}
