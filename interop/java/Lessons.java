import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * What is taught first about groups: who gets which partitions, and what members log meanwhile.
 *
 * Shares are written as `a0 a1 | a2`: the partitions of the topics a, b and so on, member by member. Assignors take members in the order of their
 * names.
 */
final class Lessons {
    private final Cluster cluster;

    Lessons(Cluster cluster) {
        this.cluster = cluster;
    }

    void addTo(Suite suite) {
        suite.add("lesson: range, 4 partitions over 2 members and over 3", this::range);
        suite.add("lesson: range, several topics: the first members get more of each", this::rangeOfSeveralTopics);
        suite.add("lesson: a member more than partitions is idle", this::idle);
        suite.add("lesson: round-robin, 6 partitions of 2 topics over 4 members: 2, 2, 1, 1", this::roundRobin);
        suite.add("lesson: after a leave, round-robin moves what sticky keeps", this::afterLeave);
        suite.add("lesson: what eager members log: all is revoked, then added", this::eagerLog);
        suite.add("lesson: what cooperative members log: two steps, nobody stops", this::cooperativeLog);
        suite.add("lesson: what members of the consumer protocol log", this::consumerLog);
        suite.add("lesson: user data of one's own assignor", this::userData);
        suite.add("lesson: the assignor that most members prefer", this::preference);
        suite.add("lesson: from range to cooperative-sticky in two rolling bounces, no record missed", this::bounces);
        suite.add("lesson: who does not come to a rebalance in time is left out", this::late);
        suite.add("lesson: static members go on when the broker restarts", () -> brokerRestarts("classic"));
        suite.add("lesson: members of the consumer protocol go on when the broker restarts", () -> brokerRestarts("consumer"));
        suite.add("lesson: a topic is deleted: classic protocol", () -> deletedTopic("classic"));
        suite.add("lesson: a topic is deleted: consumer protocol", () -> deletedTopic("consumer"));
    }

    private Member member(String group, String name, Class<?> assignor, String... topics) {
        return member(group, name, new Object[] {"partition.assignment.strategy", assignor.getName()}, topics);
    }

    private Member member(String group, String name, Object[] settings, String... topics) {
        List<Object> all = new ArrayList<>(List.of("group.id", group, "client.id", name, "allow.auto.create.topics", "false"));
        all.addAll(List.of(settings));
        if (!all.contains("consumer")) {
            all.addAll(List.of("session.timeout.ms", 60_000, "heartbeat.interval.ms", 100));
        }
        return new Member(cluster.consumer(all.toArray()), topics);
    }

    /** Waits until the members own what is written for each. */
    private static void waitForShares(String shares, List<String> topics, Member... members) throws Exception {
        Suite.eventually(() -> {
            for (Member member : members) {
                Suite.equal(member.failure, null, "failure of a member");
            }
            String actual = Arrays.stream(members).map(member -> share(member, topics)).collect(Collectors.joining(" | "));
            Suite.equal(actual, shares, "shares");
        });
    }

    private static String share(Member member, List<String> topics) {
        return member.owned().stream().map(name -> ClientLog.shortName(name, topics.toArray(new String[0]))).sorted().collect(Collectors.joining(" "));
    }

    private void waitForAssignor(String group, String assignor) throws Exception {
        Suite.eventually(() -> Suite.equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).partitionAssignor(), assignor, "assignor"));
    }

    private void fill(String topic, int partitions, int from, int to) throws Exception {
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            for (int i = from; i < to; i++) {
                producer.send(new ProducerRecord<>(topic, i % partitions, null, String.valueOf(i).getBytes(StandardCharsets.UTF_8)));
            }
        }
    }

    private static void waitForRecords(int count, List<Member> members) throws Exception {
        Suite.eventually(() -> {
            Set<String> all = new HashSet<>();
            members.forEach(member -> all.addAll(member.received.keySet()));
            Suite.equal(all.size(), count, "records received");
        });
    }

    private void range() throws Exception {
        String topic = cluster.topic("l-range", 4);
        String group = cluster.name("l-range");
        try (Member first = member(group, "1st", RangeAssignor.class, topic)) {
            waitForShares("a0 a1 a2 a3", List.of(topic), first);
            try (Member second = member(group, "2nd", RangeAssignor.class, topic)) {
                waitForShares("a0 a1 | a2 a3", List.of(topic), first, second);
                try (Member third = member(group, "3rd", RangeAssignor.class, topic)) {
                    waitForShares("a0 a1 | a2 | a3", List.of(topic), first, second, third);
                }
                waitForShares("a0 a1 | a2 a3", List.of(topic), first, second);
            }
        }
    }

    private void rangeOfSeveralTopics() throws Exception {
        List<String> topics = List.of(cluster.topic("l-topics", 3), cluster.topic("l-topics", 3), cluster.topic("l-topics", 1));
        String group = cluster.name("l-topics");
        String[] names = topics.toArray(new String[0]);
        try (Member first = member(group, "1st", RangeAssignor.class, names); Member second = member(group, "2nd", RangeAssignor.class, names)) {
            waitForShares("a0 a1 b0 b1 c0 | a2 b2", topics, first, second);
        }
    }

    private void idle() throws Exception {
        String topic = cluster.topic("l-idle", 2);
        String group = cluster.name("l-idle");
        for (Class<?> assignor : List.of(RangeAssignor.class, RoundRobinAssignor.class)) {
            try (Member first = member(group, "1st", assignor, topic); Member second = member(group, "2nd", assignor, topic);
                    Member third = member(group, "3rd", assignor, topic)) {
                waitForShares("a0 | a1 | ", List.of(topic), first, second, third);
                Suite.eventually(() -> Suite.equal(cluster.admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), 3, "members"));
            }
        }
    }

    private void roundRobin() throws Exception {
        List<String> topics = List.of(cluster.topic("l-round", 3), cluster.topic("l-round", 3));
        String group = cluster.name("l-round");
        String[] names = topics.toArray(new String[0]);
        try (Member first = member(group, "1st", RoundRobinAssignor.class, names); Member second = member(group, "2nd", RoundRobinAssignor.class, names);
                Member third = member(group, "3rd", RoundRobinAssignor.class, names); Member fourth = member(group, "4th", RoundRobinAssignor.class, names)) {
            waitForShares("a0 b1 | a1 b2 | a2 | b0", topics, first, second, third, fourth);
        }
    }

    private void afterLeave() throws Exception {
        String topic = cluster.topic("l-leave", 6);
        for (Class<?> assignor : List.of(RoundRobinAssignor.class, StickyAssignor.class)) {
            String group = cluster.name("l-leave");
            try (Member first = member(group, "1st", assignor, topic)) {
                waitForShares("a0 a1 a2 a3 a4 a5", List.of(topic), first);
                try (Member second = member(group, "2nd", assignor, topic)) {
                    Suite.eventually(() -> Suite.equal(first.owned().size() + " " + second.owned().size(), "3 3"));
                    try (Member third = member(group, "3rd", assignor, topic)) {
                        Suite.eventually(() -> Suite.equal(first.owned().size() + " " + second.owned().size() + " " + third.owned().size(), "2 2 2"));
                        Set<String> ofFirst = first.owned();
                        Set<String> ofSecond = second.owned();
                        third.close();
                        Suite.eventually(() -> Suite.equal(first.owned().size() + " " + second.owned().size(), "3 3"));
                        boolean keeps = first.owned().containsAll(ofFirst) && second.owned().containsAll(ofSecond);
                        Suite.equal(keeps, assignor == StickyAssignor.class, assignor.getSimpleName() + " keeps what it can");
                    }
                }
            }
        }
    }

    private void eagerLog() throws Exception {
        String topic = cluster.topic("l-eager", 4);
        String group = cluster.name("l-eager");
        try (ClientLog log = new ClientLog(); Member first = member(group, "1st", RangeAssignor.class, topic)) {
            waitForShares("a0 a1 a2 a3", List.of(topic), first);
            try (Member second = member(group, "2nd", RangeAssignor.class, topic)) {
                waitForShares("a0 a1 | a2 a3", List.of(topic), first, second);
                Suite.equal(log.of("2nd", topic), List.of("adds a2 a3"), "the second");
                Suite.equal(log.ofAll(topic).subList(0, 2), List.of("1st adds a0 a1 a2 a3", "1st revokes a0 a1 a2 a3"), "before anybody gets something");
            }
            waitForShares("a0 a1 a2 a3", List.of(topic), first);
            List<String> lines = List.of("adds a0 a1 a2 a3", "revokes a0 a1 a2 a3", "adds a0 a1", "revokes a0 a1", "adds a0 a1 a2 a3");
            Suite.equal(log.of("1st", topic), lines, "the first");
        }
    }

    private void cooperativeLog() throws Exception {
        String topic = cluster.topic("l-coop", 4);
        String group = cluster.name("l-coop");
        try (ClientLog log = new ClientLog(); Member first = member(group, "1st", CooperativeStickyAssignor.class, topic)) {
            waitForShares("a0 a1 a2 a3", List.of(topic), first);
            try (Member second = member(group, "2nd", CooperativeStickyAssignor.class, topic)) {
                waitForShares("a0 a1 | a2 a3", List.of(topic), first, second);
                List<String> ofFirst = List.of(
                        "assigned a0 a1 a2 a3, owned -, added a0 a1 a2 a3, revoked -", "adds a0 a1 a2 a3",
                        "assigned a0 a1, owned a0 a1 a2 a3, added -, revoked a2 a3", "revokes a2 a3");
                Suite.equal(log.of("1st", topic), ofFirst, "the first");
                Suite.equal(log.of("2nd", topic), List.of("assigned a2 a3, owned -, added a2 a3, revoked -", "adds a2 a3"), "the second");
                Suite.equal(log.ofAll(topic), List.of("1st adds a0 a1 a2 a3", "1st revokes a2 a3", "2nd adds a2 a3"), "one step after the other");
            }
        }
    }

    private void consumerLog() throws Exception {
        String topic = cluster.topic("l-848", 4);
        String group = cluster.name("l-848");
        Object[] settings = {"group.protocol", "consumer"};
        try (ClientLog log = new ClientLog(); Member first = member(group, "1st", settings, topic)) {
            waitForShares("a0 a1 a2 a3", List.of(topic), first);
            try (Member second = member(group, "2nd", settings, topic)) {
                Suite.eventually(() -> Suite.equal(first.owned().size() + " " + second.owned().size(), "2 2"));
                List<String> ofFirst = assigned(log.of("1st", topic));
                String left = share(first, List.of(topic));
                String moved = share(second, List.of(topic));
                List<String> expected = List.of("assigned a0 a1 a2 a3, owned -, added a0 a1 a2 a3, revoked -", "assigned " + left + ", owned a0 a1 a2 a3, added -, revoked " + moved);
                Suite.equal(ofFirst, expected, "the first");
                Suite.equal(assigned(log.of("2nd", topic)), List.of("assigned " + moved + ", owned -, added " + moved + ", revoked -"), "the second");
            }
        }
    }

    private static List<String> assigned(List<String> lines) {
        return lines.stream().filter(line -> line.startsWith("assigned")).toList();
    }

    private void userData() throws Exception {
        String topic = cluster.topic("l-data", 6);
        String group = cluster.name("l-data");
        try (Member light = member(group, "1st", new Object[] {"partition.assignment.strategy", Weighing.class.getName(), "weight", 1}, topic);
                Member middle = member(group, "2nd", new Object[] {"partition.assignment.strategy", Weighing.class.getName(), "weight", 2}, topic);
                Member heavy = member(group, "3rd", new Object[] {"partition.assignment.strategy", Weighing.class.getName(), "weight", 3}, topic)) {
            waitForShares("a0 | a1 a2 | a3 a4 a5", List.of(topic), light, middle, heavy);
            for (int weight : List.of(1, 2, 3)) {
                Suite.equal(Weighing.TOLD.get(weight), "the weights are [1, 2, 3]", "told to " + weight);
            }
            waitForAssignor(group, "weighing");
        }
    }

    private static Object[] assignors(Class<?>... assignors) {
        return new Object[] {"partition.assignment.strategy", Arrays.stream(assignors).map(Class::getName).collect(Collectors.joining(","))};
    }

    private void preference() throws Exception {
        String topic = cluster.topic("l-prefer", 4);
        String group = cluster.name("l-prefer");
        try (Member first = member(group, "1st", assignors(RangeAssignor.class, RoundRobinAssignor.class), topic)) {
            waitForShares("a0 a1 a2 a3", List.of(topic), first);
            waitForAssignor(group, "range");
            try (Member second = member(group, "2nd", assignors(RoundRobinAssignor.class, StickyAssignor.class, RangeAssignor.class), topic);
                    Member third = member(group, "3rd", assignors(RoundRobinAssignor.class, RangeAssignor.class), topic)) {
                // All know range, too, but only one would rather have it.
                waitForShares("a0 a3 | a1 | a2", List.of(topic), first, second, third);
                waitForAssignor(group, "roundrobin");
            }
        }
    }

    private void bounces() throws Exception {
        String topic = cluster.topic("l-bounce", 4);
        String group = cluster.name("l-bounce");
        List<Member> all = new ArrayList<>();
        List<Member> alive = new ArrayList<>();
        int sent = 0;
        try {
            for (String name : List.of("1st", "2nd")) {
                alive.add(member(group, name, RangeAssignor.class, topic));
            }
            all.addAll(alive);
            Object[][] bounces = {assignors(CooperativeStickyAssignor.class, RangeAssignor.class), assignors(CooperativeStickyAssignor.class)};
            String[] expected = {"range", "cooperative-sticky", "cooperative-sticky", "cooperative-sticky"};
            for (int step = 0; step < expected.length; step++) {
                Suite.eventually(() -> Suite.equal(alive.get(0).owned().size() + " " + alive.get(1).owned().size(), "2 2"));
                fill(topic, 4, sent, sent + 100);
                sent += 100;
                alive.remove(0).close();
                Member next = member(group, "bounced", bounces[step / 2], topic);
                alive.add(next);
                all.add(next);
                waitForAssignor(group, expected[step]);
            }
            Suite.eventually(() -> Suite.equal(alive.get(0).owned().size() + " " + alive.get(1).owned().size(), "2 2"));
            waitForRecords(sent, all);
            for (Member member : all) {
                Suite.equal(member.failure, null, "failure of a member");
            }
        } finally {
            for (Member member : alive) {
                member.close();
            }
        }
    }

    private void late() throws Exception {
        String topic = cluster.topic("l-late", 2);
        String group = cluster.name("l-late");
        Object[] hasty = {"partition.assignment.strategy", RangeAssignor.class.getName(), "max.poll.interval.ms", 2000};
        try (Member late = member(group, "1st", hasty, topic)) {
            waitForShares("a0 a1", List.of(topic), late);
            CountDownLatch release = new CountDownLatch(1);
            late.holdsRevocation = release;
            try (Member other = member(group, "2nd", hasty, topic)) {
                waitForShares("a0 a1", List.of(topic), other);
                late.holdsRevocation = null;
                release.countDown();
                waitForShares("a0 | a1", List.of(topic), late, other);
            } finally {
                release.countDown();
            }
        }
    }

    private void brokerRestarts(String protocol) throws Exception {
        String topic = cluster.topic("l-restart", 4);
        String group = cluster.name("l-restart");
        boolean isClassic = protocol.equals("classic");
        List<Member> members = new ArrayList<>();
        try {
            for (String name : List.of("1st", "2nd")) {
                Object[] settings = isClassic
                        ? new Object[] {"group.instance.id", name, "partition.assignment.strategy", RangeAssignor.class.getName()}
                        : new Object[] {"group.protocol", "consumer", "group.remote.assignor", "range"};
                members.add(member(group, name, settings, topic));
            }
            Member first = members.get(0);
            Member second = members.get(1);
            Suite.eventually(() -> Suite.equal(first.owned().size() + " " + second.owned().size(), "2 2"));
            Suite.eventually(() -> Suite.equal(first.generation, second.generation, "generation of both"));
            List<Object> before = List.of(first.owned(), second.owned(), first.memberId, second.memberId, first.generation);
            int assignments = first.assignments.get() + second.assignments.get();
            fill(topic, 4, 0, 40);
            waitForRecords(40, members);
            cluster.restartBroker();
            fill(topic, 4, 40, 80);
            waitForRecords(80, members);
            Suite.equal(List.of(first.owned(), second.owned(), first.memberId, second.memberId, first.generation), before, "who owns what");
            Suite.equal(first.assignments.get() + second.assignments.get(), assignments, "assignments");
            Suite.equal(first.failure, null, "failure of the first");
            if (isClassic) {
                // The new broker still knows the instance.
                second.close();
                Member again = member(group, "again", new Object[] {"group.instance.id", "2nd", "partition.assignment.strategy", RangeAssignor.class.getName()}, topic);
                members.set(1, again);
                waitForShares("a0 a1 | a2 a3", List.of(topic), first, again);
                Suite.eventually(() -> Suite.equal(again.generation, before.get(4), "generation"));
            }
        } finally {
            for (Member member : members) {
                member.close();
            }
        }
    }

    private void deletedTopic(String protocol) throws Exception {
        String stays = cluster.topic("l-stays", 2);
        String goes = cluster.topic("l-goes", 2);
        List<String> topics = List.of(stays, goes);
        String group = cluster.name("l-delete");
        Object[] settings = {"group.protocol", protocol, "metadata.max.age.ms", 300};
        try (Member first = member(group, "1st", settings, stays, goes); Member second = member(group, "2nd", settings, stays, goes)) {
            Suite.eventually(() -> Suite.equal(first.owned().size() + " " + second.owned().size(), "2 2"));
            first.stopCommitting(); // of a topic that is gone it would try for a minute
            second.stopCommitting();
            cluster.admin.deleteTopics(List.of(goes)).all().get();
            Suite.eventually(() -> {
                Set<String> both = new HashSet<>(first.owned());
                both.addAll(second.owned());
                Suite.equal(both, Set.of(stays + "-0", stays + "-1"), "what is left");
                Suite.equal(first.owned().size() + " " + second.owned().size(), "1 1");
            });
            Suite.equal(first.failure, null, "failure of the first");
            Suite.equal(share(second, topics).length(), 2, "the share of the second");
        }
    }
}
