import java.io.IOException;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatRequestData;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatResponseData;
import org.apache.kafka.common.message.HeartbeatRequestData;
import org.apache.kafka.common.message.JoinGroupRequestData;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocol;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocolCollection;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.message.LeaveGroupRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestPartition;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestTopic;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestGroup;
import org.apache.kafka.common.message.SyncGroupRequestData;
import org.apache.kafka.common.message.SyncGroupRequestData.SyncGroupRequestAssignment;

/** Members that lie, and that say more than can be kept. */
final class Hostile {
    /** More than a record of `__consumer_offsets` can hold. */
    private static final int TOO_MUCH = 3 << 20;
    private final Connection connection;
    private final Uuid topicId;

    Hostile(Connection connection, Uuid topicId) {
        this.connection = connection;
        this.topicId = topicId;
    }

    void all() throws IOException {
        lyingLeader();
        largeSubscription();
        largeAssignment();
        manyProtocols();
        strangers();
        commits();
        consumerProtocol();
    }

    private JoinGroupRequestData joining(String group, int protocols, byte[] metadata) {
        var named = IntStream.range(0, protocols).mapToObj(i -> new JoinGroupRequestProtocol().setName("p" + i).setMetadata(metadata)).toList();
        return new JoinGroupRequestData().setGroupId(group).setSessionTimeoutMs(30_000).setRebalanceTimeoutMs(30_000).setProtocolType("consumer")
                .setProtocols(new JoinGroupRequestProtocolCollection(named.iterator()));
    }

    /** Joins as the only member; the answer has its member id and generation. */
    private JoinGroupResponseData join(JoinGroupRequestData request) throws IOException {
        var first = (JoinGroupResponseData) connection.ask(request, 9);
        return (JoinGroupResponseData) connection.ask(request.duplicate().setMemberId(first.memberId()), 9);
    }

    private static SyncGroupRequestData sync(String group, JoinGroupResponseData member, SyncGroupRequestAssignment... assignments) {
        return new SyncGroupRequestData().setGroupId(group).setMemberId(member.memberId()).setGenerationId(member.generationId()).setProtocolType("consumer")
                .setProtocolName("p0").setAssignments(List.of(assignments));
    }

    private static SyncGroupRequestAssignment assignment(String member, byte[] bytes) {
        return new SyncGroupRequestAssignment().setMemberId(member).setAssignment(bytes);
    }

    private void lyingLeader() throws IOException {
        String group = "lying";
        JoinGroupResponseData member = join(joining(group, 1, new byte[] {-1, -1}));
        Main.say("JoinGroup with a subscription that makes no sense", 9, "errorCode=" + member.errorCode());
        Main.ask("SyncGroup with another protocol", sync(group, member).setProtocolName("p1"), 5);
        Main.ask("SyncGroup with another type of protocol", sync(group, member).setProtocolType("connect"), 5);
        Main.ask("SyncGroup with a generation to come", sync(group, member).setGenerationId(77), 5);
        Main.ask("SyncGroup of an instance that is none", sync(group, member).setGroupInstanceId("instance"), 5);
        Main.ask("SyncGroup with assignments for strangers only", sync(group, member, assignment("stranger", new byte[] {1}), assignment("", new byte[] {2})), 5);
        Main.ask("SyncGroup again, with another assignment", sync(group, member, assignment(member.memberId(), new byte[] {3})), 5);
        Main.ask("Heartbeat with a generation to come", new HeartbeatRequestData().setGroupId(group).setMemberId(member.memberId()).setGenerationId(77), 4);
        Main.ask("Heartbeat of an instance that is none", new HeartbeatRequestData().setGroupId(group).setMemberId(member.memberId()).setGenerationId(1).setGroupInstanceId("instance"), 4);
        JoinGroupResponseData again = (JoinGroupResponseData) connection.ask(joining(group, 1, new byte[] {-1, -1}).setMemberId(member.memberId()), 9);
        Main.ask("SyncGroup with two assignments for one", sync(group, again, assignment(again.memberId(), new byte[] {4}), assignment(again.memberId(), new byte[] {5})), 5);
        leave(group, again.memberId());
    }

    private void leave(String group, String... members) throws IOException {
        var all = List.of(members).stream().map(member -> new LeaveGroupRequestData.MemberIdentity().setMemberId(member)).toList();
        Main.ask("LeaveGroup of " + members.length + " of group " + group, new LeaveGroupRequestData().setGroupId(group).setMembers(all), 5);
    }

    private void largeSubscription() throws IOException {
        String group = "large-subscription";
        JoinGroupResponseData member = join(joining(group, 1, new byte[TOO_MUCH]));
        Main.say("JoinGroup with a subscription of 3 MiB", 9, "errorCode=" + member.errorCode());
        Main.ask("SyncGroup with a subscription of 3 MiB", sync(group, member, assignment(member.memberId(), new byte[1])), 5);
        Main.ask("Heartbeat after it could not be kept", new HeartbeatRequestData().setGroupId(group).setMemberId(member.memberId()).setGenerationId(member.generationId()), 4);
        leave(group, member.memberId());
    }

    private void largeAssignment() throws IOException {
        String group = "large-assignment";
        JoinGroupResponseData member = join(joining(group, 1, new byte[1]));
        Main.ask("SyncGroup with an assignment of 3 MiB", sync(group, member, assignment(member.memberId(), new byte[TOO_MUCH])), 5);
        Main.ask("Heartbeat after an assignment could not be kept", new HeartbeatRequestData().setGroupId(group).setMemberId(member.memberId()).setGenerationId(member.generationId()), 4);
        leave(group, member.memberId());
    }

    private void manyProtocols() throws IOException {
        String group = "many-protocols";
        JoinGroupResponseData member = join(joining(group, 5000, new byte[10]));
        Main.say("JoinGroup with 5000 protocols", 9, "errorCode=" + member.errorCode() + " protocol=" + member.protocolName());
        Main.ask("SyncGroup with 5000 protocols", sync(group, member, assignment(member.memberId(), new byte[1])), 5);
        leave(group, member.memberId());
    }

    private void strangers() throws IOException {
        Main.ask("JoinGroup with a rebalance timeout below 0", joining("strange", 1, new byte[1]).setRebalanceTimeoutMs(-5), 9);
        Main.ask("JoinGroup with a session timeout below 0", joining("strange", 1, new byte[1]).setSessionTimeoutMs(-5), 9);
        Main.ask("JoinGroup with an empty type of protocol", joining("strange", 1, new byte[1]).setProtocolType(""), 9);
        Main.ask("JoinGroup with an empty instance id", joining("strange", 1, new byte[1]).setGroupInstanceId(""), 9);
        Main.ask("LeaveGroup without members", new LeaveGroupRequestData().setGroupId("strange").setMembers(List.of()), 5);
    }

    private void commit(String name, String group, int partition, long offset, String metadata) throws IOException {
        var of = new OffsetCommitRequestPartition().setPartitionIndex(partition).setCommittedOffset(offset).setCommittedMetadata(metadata);
        var topic = new OffsetCommitRequestTopic().setTopicId(topicId).setPartitions(List.of(of));
        Main.ask("OffsetCommit " + name, new OffsetCommitRequestData().setGroupId(group).setGenerationIdOrMemberEpoch(-1).setTopics(List.of(topic)), 10);
    }

    private void commits() throws IOException {
        commit("of offset -5", "commits", 0, -5, "");
        commit("in partition -1", "commits", -1, 5, "");
        commit("with metadata of 4096 bytes", "commits", 0, 5, "m".repeat(4096));
        commit("with metadata of 4097 bytes", "commits", 0, 6, "m".repeat(4097));
        commit("with metadata of 30 kB", "commits", 0, 7, "m".repeat(30_000));
        commit("without metadata", "commits", 1, 8, null);
        commit("without a group", "", 0, 9, "");
        commit("of a group with a long name", "g".repeat(30_000), 0, 10, "");
        var all = new OffsetFetchRequestGroup().setGroupId("commits").setTopics(null);
        var answer = connection.ask(new OffsetFetchRequestData().setGroups(List.of(all)), 10);
        Main.say("OffsetFetch of what was committed", 10, answer.toString().replaceAll("m{100,}", "MANY").replace(topicId.toString(), "ID-OF-TOPIC"));
    }

    private ConsumerGroupHeartbeatRequestData joining(String group, String member, List<String> topics) {
        return new ConsumerGroupHeartbeatRequestData().setGroupId(group).setMemberId(member).setMemberEpoch(0).setRebalanceTimeoutMs(30_000).setSubscribedTopicNames(topics)
                .setTopicPartitions(List.of());
    }

    private ConsumerGroupHeartbeatResponseData heartbeat(String name, ConsumerGroupHeartbeatRequestData request) throws IOException {
        var answer = (ConsumerGroupHeartbeatResponseData) connection.ask(request, 1);
        Main.say("ConsumerGroupHeartbeat " + name, 1, "errorCode=" + answer.errorCode());
        return answer;
    }

    private void consumerProtocol() throws IOException {
        heartbeat("to topics that are nowhere, 3 MiB of names", joining("hostile", "m", IntStream.range(0, TOO_MUCH / 200).mapToObj(i -> i + "n".repeat(200)).toList()));
        heartbeat("to 5000 topics that are nowhere", joining("hostile", "m", IntStream.range(0, 5000).mapToObj(i -> "nowhere-" + i).toList()));
        heartbeat("to a name that no topic can have", joining("hostile", "n", List.of("a/b")));
        heartbeat("with a member id of 30 kB", joining("hostile", "m".repeat(30_000), List.of("t")));
        heartbeat("with a rack of 20 kB", joining("hostile-rack", "m", List.of("t")).setRackId("r".repeat(20_000)));
        heartbeat("without any topic", joining("hostile-none", "m", List.of()));
        var joined = heartbeat("in good order", joining("liar", "m", List.of("t")));
        var owned = new ConsumerGroupHeartbeatRequestData.TopicPartitions().setTopicId(new Uuid(5, 5)).setPartitions(List.of(0, -1, 99_999));
        var again = new ConsumerGroupHeartbeatRequestData().setGroupId("liar").setMemberId("m").setMemberEpoch(joined.memberEpoch());
        Main.ask("ConsumerGroupHeartbeat with partitions of a topic that is none", again.duplicate().setTopicPartitions(List.of(owned)), 1);
        var twice = new ConsumerGroupHeartbeatRequestData.TopicPartitions().setTopicId(topicId).setPartitions(List.of(0, 0, 1, 1, 7));
        Main.ask("ConsumerGroupHeartbeat with partitions twice, and ones that it does not have", again.duplicate().setTopicPartitions(List.of(twice, twice)), 1);
        Main.ask("ConsumerGroupHeartbeat in good order after lies", again.duplicate(), 1);
        for (String[] member : new String[][] {{"hostile", "m"}, {"hostile", "n"}, {"hostile", "m".repeat(30_000)}, {"hostile-rack", "m"}, {"hostile-none", "m"}, {"liar", "m"}}) {
            heartbeat("of " + member[0] + " to leave", new ConsumerGroupHeartbeatRequestData().setGroupId(member[0]).setMemberId(member[1]).setMemberEpoch(-1));
        }
    }
}
