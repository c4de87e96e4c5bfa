import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupMaxSizeReachedException;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.errors.UnreleasedInstanceIdException;
import org.apache.kafka.common.errors.UnsupportedAssignorException;

/** Groups of the consumer protocol (KIP-848): the broker decides who owns what. */
final class ConsumerGroups {
    private static final int PARTITIONS = 6;
    private final Cluster cluster;

    ConsumerGroups(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Suite suite) {
        suite.add("consumer group: members join and leave while records flow", this::joinAndLeave);
        suite.add("consumer group: range gives runs, 4 over 2 and 4 over 3", this::range);
        suite.add("consumer group: one member too many has nothing", this::idle);
        suite.add("consumer group: what stays is not moved when one leaves", this::sticky);
        suite.add("consumer group: the partitions of a static member that is gone move after its session", this::vanished);
        suite.add("consumer group: a member that does not poll loses its partitions", this::pollTooSeldom);
        suite.add("consumer group: a static member comes back to the same partitions", this::staticMember);
        suite.add("consumer group: an instance id is held until it is released", this::unreleased);
        suite.add("consumer group: a pattern is matched by the broker, with topics to come", this::pattern);
        suite.add("consumer group: a growing topic is assigned anew", this::growingTopic);
        suite.add("consumer group: what is no assignor and no pattern", this::refusals);
        suite.add("consumer group: group.consumer.max.size", this::maxSize);
        suite.add("consumer group: described and listed", this::described);
        suite.add("consumer group: settings of its own, and what a static member that is gone keeps while its session lasts", this::ownSettings);
        suite.add("consumer group: members are removed by the admin", this::removeMembers);
        suite.add("consumer group: from the classic protocol and back, no record missed", this::migration);
        suite.add("consumer group: static members go from the classic protocol and back", this::staticMigration);
    }

    private Consumer<byte[], byte[]> consumer(String group, Object... settings) {
        List<Object> all = new ArrayList<>(List.of("group.id", group, "group.protocol", "consumer"));
        all.addAll(List.of(settings));
        return cluster.consumer(all.toArray());
    }

    private Consumer<byte[], byte[]> classic(String group, Object... settings) {
        List<Object> all = new ArrayList<>(List.of("group.id", group, "partition.assignment.strategy", CooperativeStickyAssignor.class.getName(),
                "heartbeat.interval.ms", 200));
        all.addAll(List.of(settings));
        return cluster.consumer(all.toArray());
    }

    /** A group whose members are missed after this time, and not after the broker's 45 s. */
    private String groupWithSession(String prefix, int sessionMs) throws Exception {
        String group = cluster.name(prefix);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        String key = "consumer.session.timeout.ms";
        var op = new AlterConfigOp(new ConfigEntry(key, String.valueOf(sessionMs)), AlterConfigOp.OpType.SET);
        cluster.admin.incrementalAlterConfigs(Map.of(resource, List.of(op))).all().get();
        Suite.eventually(() -> Suite.equal(cluster.admin.describeConfigs(List.of(resource)).all().get().get(resource).get(key).value(), String.valueOf(sessionMs)));
        return group;
    }

    private void waitForCommitted(String group, List<TopicPartition> partitions, long offset) throws Exception {
        Suite.eventually(() -> {
            var committed = cluster.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            for (TopicPartition partition : partitions) {
                var found = committed.get(partition);
                Suite.equal(found == null ? null : found.offset(), offset, "committed in " + partition);
            }
        });
    }

    private void fill(String topic, int partitions, int from, int to) throws Exception {
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            for (int i = from; i < to; i++) {
                producer.send(new ProducerRecord<>(topic, i % partitions, null, String.valueOf(i).getBytes(StandardCharsets.UTF_8)));
            }
        }
    }

    private void waitForSizes(List<Integer> sizes, Member... members) throws Exception {
        Suite.eventually(() -> {
            for (Member member : members) {
                Suite.equal(member.failure, null, "failure of a member");
            }
            Suite.equal(Stream.of(members).map(member -> member.owned().size()).sorted().toList(), sizes, "partitions of each member");
            Set<String> all = new HashSet<>();
            Stream.of(members).forEach(member -> all.addAll(member.owned()));
            Suite.equal(all.size(), sizes.stream().mapToInt(size -> size).sum(), "partitions with one owner");
        });
    }

    private static void waitForRecords(int count, Member... members) throws Exception {
        Suite.eventually(() -> {
            Set<String> all = new HashSet<>();
            for (Member member : members) {
                Suite.equal(member.failure, null, "failure of a member");
                all.addAll(member.received.keySet());
            }
            Suite.equal(all.size(), count, "records received");
        });
    }

    private GroupType typeOf(String group) throws Exception {
        var listed = cluster.admin.listGroups(new ListGroupsOptions()).all().get();
        return listed.stream().filter(each -> each.groupId().equals(group)).findFirst().orElseThrow().type().orElseThrow();
    }

    private void joinAndLeave() throws Exception {
        String topic = cluster.topic("c-flow", PARTITIONS);
        String group = cluster.name("c-flow");
        fill(topic, PARTITIONS, 0, 600);
        try (Member first = new Member(consumer(group), topic)) {
            waitForSizes(List.of(6), first);
            try (Member second = new Member(consumer(group), topic)) {
                waitForSizes(List.of(3, 3), first, second);
                Suite.equal(second.revoked.size(), 0, "taken from the second");
                Suite.equal(first.revoked.size(), 3, "taken from the first");
                fill(topic, PARTITIONS, 600, 1200);
                try (Member third = new Member(consumer(group), topic)) {
                    waitForSizes(List.of(2, 2, 2), first, second, third);
                    fill(topic, PARTITIONS, 1200, 1800);
                    waitForRecords(1800, first, second, third);
                    third.close();
                    waitForSizes(List.of(3, 3), first, second);
                    first.received.putAll(third.received);
                }
                second.close();
                waitForSizes(List.of(6), first);
                fill(topic, PARTITIONS, 1800, 2400);
                waitForRecords(2400, first, second);
                waitForCommitted(group, Cluster.partitions(topic, PARTITIONS), 2400L / PARTITIONS);
            }
        }
        Suite.eventually(() -> Suite.equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState(), GroupState.EMPTY));
        waitForCommitted(group, Cluster.partitions(topic, PARTITIONS), 2400L / PARTITIONS);
    }

    private void range() throws Exception {
        String topic = cluster.topic("c-range", 4);
        String group = cluster.name("c-range");
        try (Member first = new Member(consumer(group, "group.remote.assignor", "range"), topic);
                Member second = new Member(consumer(group, "group.remote.assignor", "range"), topic)) {
            waitForSizes(List.of(2, 2), first, second);
            Suite.equal(Set.of(first.owned(), second.owned()), Set.of(names(topic, 0, 1), names(topic, 2, 3)));
            try (Member third = new Member(consumer(group, "group.remote.assignor", "range"), topic)) {
                waitForSizes(List.of(1, 1, 2), first, second, third);
                Suite.equal(Set.of(first.owned(), second.owned(), third.owned()), Set.of(names(topic, 0, 1), names(topic, 2), names(topic, 3)));
            }
        }
    }

    private static Set<String> names(String topic, int... partitions) {
        Set<String> names = new TreeSet<>();
        for (int partition : partitions) {
            names.add(new TopicPartition(topic, partition).toString());
        }
        return names;
    }

    private void idle() throws Exception {
        String topic = cluster.topic("c-idle", 2);
        String group = cluster.name("c-idle");
        try (Member first = new Member(consumer(group), topic); Member second = new Member(consumer(group), topic);
                Member third = new Member(consumer(group), topic)) {
            waitForSizes(List.of(0, 1, 1), first, second, third);
        }
    }

    private void sticky() throws Exception {
        String topic = cluster.topic("c-sticky", PARTITIONS);
        String group = cluster.name("c-sticky");
        try (Member first = new Member(consumer(group), topic); Member second = new Member(consumer(group), topic)) {
            Member third = new Member(consumer(group), topic);
            waitForSizes(List.of(2, 2, 2), first, second, third);
            Set<String> ofFirst = first.owned();
            Set<String> ofSecond = second.owned();
            third.close();
            waitForSizes(List.of(3, 3), first, second);
            Suite.holds(first.owned().containsAll(ofFirst), "the first kept its own");
            Suite.holds(second.owned().containsAll(ofSecond), "the second kept its own");
        }
    }

    private void vanished() throws Exception {
        String topic = cluster.topic("c-vanish", PARTITIONS);
        String group = groupWithSession("c-vanish", 3000);
        try (Member first = new Member(consumer(group), topic)) {
            Member second = new Member(consumer(group, "group.instance.id", "gone"), topic);
            waitForSizes(List.of(3, 3), first, second);
            second.close();
            waitForSizes(List.of(6), first);
        }
    }

    private void pollTooSeldom() throws Exception {
        String topic = cluster.topic("c-seldom", 2);
        String group = cluster.name("c-seldom");
        fill(topic, 2, 0, 10);
        try (Consumer<byte[], byte[]> lazy = consumer(group, "max.poll.interval.ms", 2000)) {
            lazy.subscribe(List.of(topic));
            Cluster.pollDifferent(lazy, 10);
            try (Member diligent = new Member(consumer(group), topic)) {
                waitForSizes(List.of(2), diligent);
                waitForRecords(10, diligent);
            }
        }
    }

    private void staticMember() throws Exception {
        String topic = cluster.topic("c-static", PARTITIONS);
        String group = cluster.name("c-static");
        try (Member first = new Member(consumer(group, "group.instance.id", "staying"), topic)) {
            waitForSizes(List.of(6), first);
            Member second = new Member(consumer(group, "group.instance.id", "moving"), topic);
            waitForSizes(List.of(3, 3), first, second);
            Set<String> before = second.owned();
            int assignments = first.assignments.get();
            second.close(); // a static member does not leave by closing
            try (Member again = new Member(consumer(group, "group.instance.id", "moving"), topic)) {
                waitForSizes(List.of(3, 3), first, again);
                Suite.equal(again.owned(), before, "owned after coming back");
                Suite.equal(first.assignments.get(), assignments, "assignments that the other one saw");
            }
        }
    }

    private void unreleased() throws Exception {
        String topic = cluster.topic("c-fence", 2);
        String group = cluster.name("c-fence");
        try (Member first = new Member(consumer(group, "group.instance.id", "one"), topic)) {
            waitForSizes(List.of(2), first);
            try (Member second = new Member(consumer(group, "group.instance.id", "one"), topic)) {
                Suite.eventually(() -> Suite.holds(second.failure instanceof UnreleasedInstanceIdException, "the second one failed with " + second.failure));
            }
            Suite.equal(first.failure, null, "failure of the first");
        }
    }

    private void pattern() throws Exception {
        String prefix = cluster.name("c-pattern");
        String first = cluster.topicNamed(prefix + "-1", 2);
        cluster.topicNamed("not-" + prefix + "-1", 2);
        String group = cluster.name("c-pattern-group");
        try (Member member = new Member(consumer(group), new SubscriptionPattern(prefix + "-[0-9]+"))) {
            waitForSizes(List.of(2), member);
            fill(first, 2, 0, 10);
            waitForRecords(10, member);
            cluster.topicNamed(prefix + "-2", 3);
            Suite.eventually(() -> Suite.equal(member.owned().size(), 5, "partitions, the new topic's included"));
        }
    }

    private void growingTopic() throws Exception {
        String topic = cluster.topic("c-grow", 2);
        String group = cluster.name("c-grow");
        try (Member only = new Member(consumer(group, "metadata.max.age.ms", 300), topic)) {
            waitForSizes(List.of(2), only);
            cluster.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
            waitForSizes(List.of(5), only);
        }
    }

    private void refusals() throws Exception {
        String topic = cluster.topic("c-refused", 2);
        try (Member member = new Member(consumer(cluster.name("c-refused"), "group.remote.assignor", "sticky"), topic)) {
            Suite.eventually(() -> Suite.holds(member.failure instanceof UnsupportedAssignorException, "failed with " + member.failure));
        }
        try (Member member = new Member(consumer(cluster.name("c-refused")), new SubscriptionPattern("("))) {
            Suite.eventually(() -> Suite.holds(member.failure instanceof InvalidRegularExpression, "failed with " + member.failure));
        }
    }

    private void maxSize() throws Exception {
        String topic = cluster.topic("c-size", 4);
        String group = cluster.name("c-size");
        List<Member> members = new ArrayList<>();
        try {
            for (int i = 0; i < 4; i++) { // the broker runs with group.consumer.max.size=4
                members.add(new Member(consumer(group), topic));
            }
            waitForSizes(List.of(1, 1, 1, 1), members.toArray(new Member[0]));
            try (Member tooMany = new Member(consumer(group), topic)) {
                Suite.eventually(() -> Suite.holds(tooMany.failure instanceof GroupMaxSizeReachedException, "failed with " + tooMany.failure));
            }
        } finally {
            for (Member member : members) {
                member.close();
            }
        }
    }

    private void described() throws Exception {
        String topic = cluster.topic("c-described", 2);
        String group = cluster.name("c-described");
        try (Member member = new Member(consumer(group, "client.id", "me", "client.rack", "here"), topic)) {
            waitForSizes(List.of(2), member);
            Suite.eventually(() -> {
                var described = cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                Suite.equal(described.groupState(), GroupState.STABLE);
                Suite.equal(described.type(), GroupType.CONSUMER);
                Suite.equal(described.partitionAssignor(), "uniform");
                Suite.equal(described.groupEpoch(), described.targetAssignmentEpoch());
                var only = described.members().iterator().next();
                Suite.equal(only.clientId(), "me");
                Suite.equal(only.memberEpoch(), described.groupEpoch());
                Suite.equal(only.upgraded().orElseThrow(), true);
                Suite.equal(only.assignment().topicPartitions().size(), 2);
                Suite.equal(only.targetAssignment().orElseThrow().topicPartitions(), only.assignment().topicPartitions());
            });
            Suite.equal(typeOf(group), GroupType.CONSUMER);
            var filtered = cluster.admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.CONSUMER)).inGroupStates(Set.of(GroupState.STABLE))).all().get();
            Suite.holds(filtered.stream().anyMatch(each -> each.groupId().equals(group)), "the group is listed by type and state");
        }
    }

    private void ownSettings() throws Exception {
        String topic = cluster.topic("c-own", 2);
        String hasty = groupWithSession("c-hasty", 3000);
        String patient = groupWithSession("c-patient", 60_000);
        try (Member ofHasty = new Member(consumer(hasty), topic); Member ofPatient = new Member(consumer(patient), topic)) {
            Member goneFromHasty = new Member(consumer(hasty, "group.instance.id", "gone"), topic);
            Member goneFromPatient = new Member(consumer(patient, "group.instance.id", "gone"), topic);
            waitForSizes(List.of(1, 1), ofHasty, goneFromHasty);
            waitForSizes(List.of(1, 1), ofPatient, goneFromPatient);
            goneFromPatient.close();
            goneFromHasty.close();
            waitForSizes(List.of(2), ofHasty);
            Suite.equal(ofPatient.owned().size(), 1, "partitions while the other's session lasts");
        }
    }

    private void removeMembers() throws Exception {
        String topic = cluster.topic("c-remove", 2);
        String group = cluster.name("c-remove");
        Member gone = new Member(consumer(group, "group.instance.id", "named"), topic);
        waitForSizes(List.of(2), gone);
        gone.close();
        Suite.equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), 1, "members");
        cluster.admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("named")))).all().get();
        Suite.equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), 0, "members");
    }

    /** Members are replaced one by one, first by ones of the consumer protocol, then by classic ones again, while records flow. */
    private void migration() throws Exception {
        String topic = cluster.topic("c-migrate", 4);
        String group = cluster.name("c-migrate");
        List<Member> all = new ArrayList<>();
        List<Member> alive = new ArrayList<>();
        int sent = 0;
        try {
            for (int i = 0; i < 2; i++) {
                alive.add(new Member(classic(group), topic));
            }
            all.addAll(alive);
            waitForSizes(List.of(2, 2), alive.toArray(new Member[0]));
            Suite.equal(typeOf(group), GroupType.CLASSIC);
            for (boolean toConsumer : List.of(true, true, false, false)) {
                fill(topic, 4, sent, sent + 400);
                sent += 400;
                Member next = new Member(toConsumer ? consumer(group) : classic(group), topic);
                all.add(next);
                alive.add(next);
                waitForSizes(List.of(1, 1, 2), alive.toArray(new Member[0]));
                fill(topic, 4, sent, sent + 400);
                sent += 400;
                Suite.equal(typeOf(group), GroupType.CONSUMER);
                alive.remove(0).close();
                waitForSizes(List.of(2, 2), alive.toArray(new Member[0]));
            }
            Suite.eventually(() -> Suite.equal(typeOf(group), GroupType.CLASSIC));
            fill(topic, 4, sent, sent + 400);
            sent += 400;
            Set<String> received = new HashSet<>();
            int expected = sent;
            Suite.eventually(() -> {
                all.forEach(member -> received.addAll(member.received.keySet()));
                Suite.equal(received.size(), expected, "records received");
            });
            waitForCommitted(group, Cluster.partitions(topic, 4), sent / 4L);
        } finally {
            for (Member member : alive) {
                member.close();
            }
        }
        waitForCommitted(group, Cluster.partitions(topic, 4), sent / 4L);
    }

    private void staticMigration() throws Exception {
        String topic = cluster.topic("c-static-migrate", 4);
        String group = cluster.name("c-static-migrate");
        Object[] named = {"group.instance.id", "one"};
        Member member = new Member(classic(group, named), topic);
        waitForSizes(List.of(4), member);
        member.close();
        member = new Member(consumer(group, named), topic);
        waitForSizes(List.of(4), member);
        Suite.eventually(() -> Suite.equal(typeOf(group), GroupType.CONSUMER));
        member.close();
        member = new Member(classic(group, named), topic);
        waitForSizes(List.of(4), member);
        Suite.eventually(() -> Suite.equal(typeOf(group), GroupType.CLASSIC));
        member.close();
    }
}
