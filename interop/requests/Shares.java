import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.AlterShareGroupOffsetsRequestData;
import org.apache.kafka.common.message.AlterShareGroupOffsetsRequestData.AlterShareGroupOffsetsRequestPartition;
import org.apache.kafka.common.message.AlterShareGroupOffsetsRequestData.AlterShareGroupOffsetsRequestTopic;
import org.apache.kafka.common.message.AlterShareGroupOffsetsRequestData.AlterShareGroupOffsetsRequestTopicCollection;
import org.apache.kafka.common.message.ConsumerGroupDescribeRequestData;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatRequestData;
import org.apache.kafka.common.message.DeleteGroupsRequestData;
import org.apache.kafka.common.message.DeleteShareGroupOffsetsRequestData;
import org.apache.kafka.common.message.DeleteShareGroupOffsetsRequestData.DeleteShareGroupOffsetsRequestTopic;
import org.apache.kafka.common.message.DeleteShareGroupStateRequestData;
import org.apache.kafka.common.message.DescribeConfigsRequestData;
import org.apache.kafka.common.message.DescribeConfigsRequestData.DescribeConfigsResource;
import org.apache.kafka.common.message.DescribeGroupsRequestData;
import org.apache.kafka.common.message.DescribeShareGroupOffsetsRequestData;
import org.apache.kafka.common.message.DescribeShareGroupOffsetsRequestData.DescribeShareGroupOffsetsRequestGroup;
import org.apache.kafka.common.message.DescribeShareGroupOffsetsRequestData.DescribeShareGroupOffsetsRequestTopic;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResource;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterConfigsResourceCollection;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterableConfig;
import org.apache.kafka.common.message.IncrementalAlterConfigsRequestData.AlterableConfigCollection;
import org.apache.kafka.common.message.InitializeShareGroupStateRequestData;
import org.apache.kafka.common.message.InitializeShareGroupStateRequestData.InitializeStateData;
import org.apache.kafka.common.message.JoinGroupRequestData;
import org.apache.kafka.common.message.ListGroupsRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestPartition;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestTopic;
import org.apache.kafka.common.message.ReadShareGroupStateRequestData;
import org.apache.kafka.common.message.ReadShareGroupStateRequestData.ReadStateData;
import org.apache.kafka.common.message.ReadShareGroupStateSummaryRequestData;
import org.apache.kafka.common.message.ReadShareGroupStateSummaryRequestData.ReadStateSummaryData;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData.AcknowledgePartition;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData.AcknowledgePartitionCollection;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData.AcknowledgeTopic;
import org.apache.kafka.common.message.ShareAcknowledgeRequestData.AcknowledgeTopicCollection;
import org.apache.kafka.common.message.ShareFetchRequestData;
import org.apache.kafka.common.message.ShareFetchRequestData.AcknowledgementBatch;
import org.apache.kafka.common.message.ShareFetchRequestData.FetchPartition;
import org.apache.kafka.common.message.ShareFetchRequestData.FetchPartitionCollection;
import org.apache.kafka.common.message.ShareFetchRequestData.FetchTopic;
import org.apache.kafka.common.message.ShareFetchRequestData.FetchTopicCollection;
import org.apache.kafka.common.message.ShareFetchRequestData.ForgottenTopic;
import org.apache.kafka.common.message.ShareFetchResponseData;
import org.apache.kafka.common.message.ShareGroupDescribeRequestData;
import org.apache.kafka.common.message.ShareGroupHeartbeatRequestData;
import org.apache.kafka.common.message.ShareGroupHeartbeatResponseData;
import org.apache.kafka.common.message.WriteShareGroupStateRequestData;
import org.apache.kafka.common.message.WriteShareGroupStateRequestData.StateBatch;
import org.apache.kafka.common.message.WriteShareGroupStateRequestData.WriteStateData;

/** Share groups (KIP-932): members, fetches and acknowledgements, offsets, and the state that the share coordinator keeps. */
final class Shares {
    private static final String TOPIC = "shares";
    private static final String GROUP = "share";
    private static final byte GAP = 0;
    private static final byte ACCEPT = 1;
    private static final byte RELEASE = 2;
    private static final byte REJECT = 3;
    private static final byte RENEW = 4;
    private final Connection connection;
    private final Uuid topicId;
    /** Of which the share coordinator has a state that no group uses. */
    private final Uuid stateId;

    private Shares(Connection connection) throws Exception {
        this.connection = connection;
        topicId = Main.create(TOPIC, 1);
        stateId = Main.create("states", 2);
    }

    static void run(Connection connection) throws Exception {
        Shares shares = new Shares(connection);
        shares.states();
        shares.heartbeats();
        shares.refusedFetches();
        shares.fetches();
        shares.otherKinds();
        shares.offsets();
    }

    private static ShareGroupHeartbeatRequestData heartbeat(String member, int epoch) {
        return new ShareGroupHeartbeatRequestData().setGroupId(GROUP).setMemberId(member).setMemberEpoch(epoch);
    }

    private static ShareGroupHeartbeatRequestData joining(String member) {
        return heartbeat(member, 0).setSubscribedTopicNames(List.of(TOPIC));
    }

    private void beat(String name, ShareGroupHeartbeatRequestData request) throws IOException {
        Main.ask("ShareGroupHeartbeat " + name, request, 1);
    }

    private void describe(String name, String... groups) throws IOException {
        Main.ask("ShareGroupDescribe of " + name, new ShareGroupDescribeRequestData().setGroupIds(List.of(groups)), 1);
    }

    private void heartbeats() throws Exception {
        beat("of a member that is none, of no group", heartbeat("m", 1));
        beat("to leave no group", heartbeat("m", -1));
        beat("to join without a group", joining("m").setGroupId(""));
        beat("to join without a member id", joining(""));
        beat("to join with a long member id", joining("m".repeat(60)));
        beat("to join without topics", joining("m").setSubscribedTopicNames(null));
        beat("to join with an empty list of topics", joining("m").setSubscribedTopicNames(List.of()));
        beat("to join with an empty rack", joining("m").setRackId(""));
        beat("of epoch -2", heartbeat("m", -2));
        beat("of epoch -5", heartbeat("m", -5));
        describe("none and without a name", "nobody", "");
        configure("share.auto.offset.reset", "earliest");
        configure("share.record.lock.duration.ms", "60000"); // longer than all that is done meanwhile
        beat("to join", joining("m"));
        describe("one whose partitions are not initialized", GROUP);
        int epoch = untilAssigned("m");
        beat("that says nothing new", heartbeat("m", epoch));
        beat("that subscribes to the same again", heartbeat("m", epoch).setSubscribedTopicNames(List.of(TOPIC)));
        beat("of the epoch before", heartbeat("m", epoch - 1));
        beat("of an epoch to come", heartbeat("m", 99));
        beat("of a member that is none", heartbeat("somebody", 1));
        beat("to leave of a member that is none", heartbeat("somebody", -1));
        beat("to join while it is in", joining("m"));
        beat("to join for a topic that is none", joining("n").setSubscribedTopicNames(List.of("nowhere")));
        describe("one with two members", GROUP);
        beat("to leave", heartbeat("n", -1));
        beat("to leave again", heartbeat("n", -1));
        untilAssigned("m");
        describe("one with a member", GROUP);
        Main.ask("ListGroups of share groups", new ListGroupsRequestData().setTypesFilter(List.of("share")), 5);
    }

    /** Returns when the broker has it, too. */
    private void configure(String name, String value) throws Exception {
        var config = new AlterableConfig().setName(name).setValue(value).setConfigOperation((byte) 0);
        var resource = new AlterConfigsResource().setResourceType((byte) 32).setResourceName(GROUP).setConfigs(new AlterableConfigCollection(List.of(config).iterator()));
        connection.ask(new IncrementalAlterConfigsRequestData().setResources(new AlterConfigsResourceCollection(List.of(resource).iterator())), 1);
        var described = new DescribeConfigsResource().setResourceType((byte) 32).setResourceName(GROUP).setConfigurationKeys(List.of(name));
        while (!connection.ask(new DescribeConfigsRequestData().setResources(List.of(described)), 4).toString().contains("value='" + value + "'")) {
            Thread.sleep(20);
        }
    }

    /** Returns the epoch of the member when it has the partition, and the group nothing to do any more. */
    private int untilAssigned(String member) throws Exception {
        int epoch = 0;
        boolean isAssigned = false;
        for (int quiet = 0; quiet < 3; Thread.sleep(500)) {
            var request = epoch == 0 ? joining(member) : heartbeat(member, epoch);
            var answer = (ShareGroupHeartbeatResponseData) connection.ask(request, 1);
            if (answer.assignment() != null) {
                isAssigned = !answer.assignment().topicPartitions().isEmpty();
            }
            quiet = isAssigned && answer.memberEpoch() == epoch ? quiet + 1 : 0;
            epoch = answer.memberEpoch();
        }
        return epoch;
    }

    // -- fetches and acknowledgements

    private static ShareFetchRequestData fetch(String member, int epoch) {
        return new ShareFetchRequestData().setGroupId(GROUP).setMemberId(member).setShareSessionEpoch(epoch).setMaxWaitMs(500).setMinBytes(1).setMaxBytes(100_000).setMaxRecords(100).setBatchSize(100);
    }

    private static FetchTopicCollection partitions(Uuid topic, FetchPartition... partitions) {
        var all = new FetchPartitionCollection(List.of(partitions).iterator());
        return new FetchTopicCollection(List.of(new FetchTopic().setTopicId(topic).setPartitions(all)).iterator());
    }

    private FetchTopicCollection partition(AcknowledgementBatch... batches) {
        return partitions(topicId, new FetchPartition().setAcknowledgementBatches(List.of(batches)));
    }

    private static AcknowledgementBatch batch(long first, long last, int... types) {
        return new AcknowledgementBatch().setFirstOffset(first).setLastOffset(last).setAcknowledgeTypes(bytes(types));
    }

    private static List<Byte> bytes(int... values) {
        return Arrays.stream(values).mapToObj(value -> (byte) value).toList();
    }

    private static ShareAcknowledgeRequestData acknowledgement(String member, int epoch) {
        return new ShareAcknowledgeRequestData().setGroupId(GROUP).setMemberId(member).setShareSessionEpoch(epoch);
    }

    private ShareAcknowledgeRequestData acknowledgement(String member, int epoch, Uuid topic, int partition, AcknowledgementBatch... batches) {
        List<ShareAcknowledgeRequestData.AcknowledgementBatch> all = new ArrayList<>();
        for (AcknowledgementBatch batch : batches) {
            all.add(new ShareAcknowledgeRequestData.AcknowledgementBatch().setFirstOffset(batch.firstOffset()).setLastOffset(batch.lastOffset()).setAcknowledgeTypes(batch.acknowledgeTypes()));
        }
        var ofPartition = new AcknowledgePartition().setPartitionIndex(partition).setAcknowledgementBatches(all);
        var ofTopic = new AcknowledgeTopic().setTopicId(topic).setPartitions(new AcknowledgePartitionCollection(List.of(ofPartition).iterator()));
        return acknowledgement(member, epoch).setTopics(new AcknowledgeTopicCollection(List.of(ofTopic).iterator()));
    }

    private void refusedFetches() throws Exception {
        String name = "ShareFetch ";
        Main.ask(name + "without a group", fetch("m", 0).setGroupId(null).setTopics(partition()), 2);
        Main.ask(name + "without a member id", fetch("m", 0).setMemberId(null).setTopics(partition()), 2);
        Main.ask(name + "with an empty member id", fetch("", 0).setTopics(partition()), 2);
        Main.ask(name + "with a long member id", fetch("m".repeat(60), 0).setTopics(partition()), 2);
        Main.ask(name + "of epoch 1 of no session", fetch("m", 1).setTopics(partition()), 2);
        Main.ask(name + "of the last epoch of no session", fetch("m", -1).setTopics(partition()), 2);
        Main.ask(name + "of epoch -2", fetch("m", -2).setTopics(partition()), 2);
        Main.ask(name + "that acknowledges at first", fetch("m", 0).setTopics(partition(batch(0, 0, ACCEPT))), 2);
        Main.ask(name + "in an unknown acquire mode", fetch("m", 0).setShareAcquireMode((byte) 7).setTopics(partition()), 2);
        Main.ask(name + "that renews and fetches", fetch("m", 0).setIsRenewAck(true).setTopics(partition()), 2);
        Main.ask(name + "of an unknown topic", fetch("m", 0).setTopics(partitions(new Uuid(5, 5), new FetchPartition())), 2);
        Main.ask(name + "of an unknown partition", fetch("m", 0).setTopics(partitions(topicId, new FetchPartition().setPartitionIndex(9))), 2);
        Main.ask(name + "of nothing", fetch("m", 0), 2);
        Main.ask(name + "as a group that is none", fetch("m", 0).setGroupId("nobody").setTopics(partition()), 2);
        name = "ShareAcknowledge ";
        Main.ask(name + "without a group", acknowledgement("m", 1, topicId, 0, batch(0, 0, ACCEPT)).setGroupId(null), 2);
        Main.ask(name + "without a member id", acknowledgement(null, 1, topicId, 0, batch(0, 0, ACCEPT)), 2);
        Main.ask(name + "with an empty member id", acknowledgement("", 1, topicId, 0, batch(0, 0, ACCEPT)), 2);
        Main.ask(name + "of epoch 0", acknowledgement("m", 0, topicId, 0, batch(0, 0, ACCEPT)), 2);
        Main.ask(name + "of epoch 1 of no session", acknowledgement("m", 1, topicId, 0, batch(0, 0, ACCEPT)), 2);
        Main.ask(name + "of the last epoch of no session", acknowledgement("m", -1, topicId, 0, batch(0, 0, ACCEPT)), 2);
    }

    /** Asks for records until there are some, in a session that is begun with it. */
    private int begin(Connection.Kept kept, String member, int maxRecords) throws Exception {
        int epoch = 0;
        while (true) {
            var request = fetch(member, epoch).setMaxRecords(maxRecords).setShareAcquireMode((byte) 1).setTopics(partition());
            var answer = (ShareFetchResponseData) kept.ask(request, 2);
            epoch++;
            if (!answer.responses().isEmpty() && !answer.responses().iterator().next().partitions().get(0).acquiredRecords().isEmpty()) {
                Main.print("ShareFetch of records by " + member, 2, answer);
                return epoch;
            }
        }
    }

    private void fetches() throws Exception {
        Main.fill(TOPIC, topicId, 10);
        Main.fill(TOPIC, topicId, 10);
        try (var m = connection.keep(); var n = connection.keep()) {
            int epoch = begin(m, "m", 6);
            int other = begin(n, "n", 4);
            String name = "ShareAcknowledge ";
            AcknowledgementBatch[][] faulty = {
                {batch(0, 0)}, {batch(0, 0, 9)}, {batch(0, 0, -1)}, {batch(3, 2, ACCEPT)}, {batch(0, 2, ACCEPT, ACCEPT)}, {batch(0, 1, ACCEPT), batch(1, 2, ACCEPT)},
                {batch(2, 3, ACCEPT), batch(0, 1, ACCEPT)}, {batch(-1, 0, ACCEPT)}, {batch(4, 40, ACCEPT)}, {batch(40, 41, ACCEPT)}, {batch(5, 6, ACCEPT)}, {batch(6, 7, ACCEPT)},
                {batch(0, 0, RENEW)}, {batch(0, 0, ACCEPT, ACCEPT)}, {}
            };
            for (AcknowledgementBatch[] batches : faulty) {
                ask(m, name + Arrays.toString(batches).replace(": ", "="), acknowledgement("m", epoch++, topicId, 0, batches), 2);
            }
            ask(m, name + "of an unknown topic", acknowledgement("m", epoch++, new Uuid(5, 5), 0, batch(0, 0, ACCEPT)), 2);
            ask(m, name + "of an unknown partition", acknowledgement("m", epoch++, topicId, 9, batch(0, 0, ACCEPT)), 2);
            ask(m, name + "of nothing", acknowledgement("m", epoch++), 2);
            ask(m, name + "of an epoch to come", acknowledgement("m", epoch + 3, topicId, 0, batch(0, 0, ACCEPT)), 2);
            ask(m, name + "of the epoch before", acknowledgement("m", epoch - 1, topicId, 0, batch(0, 0, ACCEPT)), 2);
            ask(m, name + "that renews", acknowledgement("m", epoch++, topicId, 0, batch(0, 1, RENEW)).setIsRenewAck(true), 2);
            ask(m, name + "that accepts", acknowledgement("m", epoch++, topicId, 0, batch(0, 0, ACCEPT)), 2);
            ask(m, name + "that accepts again", acknowledgement("m", epoch++, topicId, 0, batch(0, 0, ACCEPT)), 2);
            ask(m, name + "that releases, rejects and knows of a gap", acknowledgement("m", epoch++, topicId, 0, batch(1, 3, RELEASE, REJECT, GAP)), 1);
            ask(n, name + "of records that another has, and of its own", acknowledgement("n", other++, topicId, 0, batch(5, 6, ACCEPT)), 2);
            Main.ask("DescribeShareGroupOffsets in between", offsetsOf(GROUP, TOPIC, 0), 1);
            name = "ShareFetch ";
            ask(m, name + "of an epoch to come", fetch("m", epoch + 3).setTopics(partition()), 2);
            ask(m, name + "with wrong types", fetch("m", epoch++).setMaxRecords(0).setTopics(partition(batch(4, 4, 9))), 2);
            ask(m, name + "with acknowledgements of others' records", fetch("m", epoch++).setMaxRecords(0).setTopics(partition(batch(6, 6, ACCEPT))), 2);
            ask(m, name + "with acknowledgements of an unknown partition", fetch("m", epoch++).setMaxRecords(0).setTopics(partitions(topicId, new FetchPartition().setPartitionIndex(9).setAcknowledgementBatches(List.of(batch(0, 0, ACCEPT))))), 2);
            ask(m, name + "without it", fetch("m", epoch++).setMaxRecords(0).setForgottenTopicsData(List.of(new ForgottenTopic().setTopicId(topicId).setPartitions(List.of(9)))), 2);
            ask(m, name + "that renews", fetch("m", epoch++).setIsRenewAck(true).setMaxWaitMs(0).setMinBytes(0).setMaxBytes(0).setMaxRecords(0).setBatchSize(0).setTopics(partition(batch(4, 4, RENEW))), 2);
            ask(m, name + "that renews without saying so", fetch("m", epoch++).setMaxRecords(0).setTopics(partition(batch(4, 4, RENEW))), 2);
            ask(m, name + "of one record more", fetch("m", epoch++).setShareAcquireMode((byte) 1).setMaxRecords(1).setTopics(partition(batch(4, 4, ACCEPT))), 2);
            ask(m, name + "of a whole batch", fetch("m", epoch++).setMaxRecords(1), 2);
            ask(m, name + "of what is left", fetch("m", epoch++), 1);
            ask(m, name + "of what is nowhere", fetch("m", epoch++), 2);
            ask(m, name + "that releases", fetch("m", epoch++).setMaxRecords(0).setTopics(partition(batch(11, 19, RELEASE))), 2);
            ask(m, name + "of the first of them", fetch("m", epoch++).setMaxRecords(2).setBatchSize(3), 2);
            ask(m, name + "that ends the session", fetch("m", -1).setTopics(partition(batch(5, 5, ACCEPT))), 2);
            ask(m, name + "after the end", fetch("m", epoch++), 2);
            ask(n, name.replace("Fetch", "Acknowledge") + "that ends the session", acknowledgement("n", -1, topicId, 0, batch(7, 7, ACCEPT)), 2);
            ask(n, name.replace("Fetch", "Acknowledge") + "after the end", acknowledgement("n", other, topicId, 0, batch(8, 8, ACCEPT)), 2);
        }
    }

    private void ask(Connection.Kept kept, String name, org.apache.kafka.common.protocol.ApiMessage request, int version) throws IOException {
        Main.print(name, version, kept.ask(request, version));
    }

    /** What a share group answers to requests for other kinds, and others to requests for share groups. */
    private void otherKinds() throws Exception {
        var protocols = new JoinGroupRequestData.JoinGroupRequestProtocolCollection(List.of(new JoinGroupRequestData.JoinGroupRequestProtocol().setName("range")).iterator());
        Main.ask("JoinGroup of a share group", new JoinGroupRequestData().setGroupId(GROUP).setSessionTimeoutMs(10_000).setRebalanceTimeoutMs(10_000).setProtocolType("consumer").setProtocols(protocols), 9);
        Main.ask("ConsumerGroupHeartbeat to join a share group", new ConsumerGroupHeartbeatRequestData().setGroupId(GROUP).setMemberId("m").setRebalanceTimeoutMs(10_000).setSubscribedTopicNames(List.of(TOPIC)).setTopicPartitions(List.of()), 1);
        Main.ask("ConsumerGroupDescribe of a share group", new ConsumerGroupDescribeRequestData().setGroupIds(List.of(GROUP)), 1);
        Main.ask("DescribeGroups of a share group", new DescribeGroupsRequestData().setGroups(List.of(GROUP)), 6);
        Main.ask("OffsetCommit of a share group", new OffsetCommitRequestData().setGroupId(GROUP).setTopics(List.of(
                new OffsetCommitRequestTopic().setName(TOPIC).setPartitions(List.of(new OffsetCommitRequestPartition().setCommittedOffset(1))))), 9);
        Main.ask("ShareGroupHeartbeat to join a consumer group", joining("m").setGroupId("modern"), 1);
        Main.ask("ShareGroupHeartbeat to join a group that only has offsets", joining("m").setGroupId("g"), 1);
        describe("a consumer group", "modern");
        Main.ask("AlterShareGroupOffsets of a consumer group", altered("modern", TOPIC, 0, 3), 0);
        Main.ask("DeleteShareGroupOffsets of a consumer group", deleted("modern", TOPIC), 0);
        Main.ask("DescribeShareGroupOffsets of a consumer group", offsetsOf("modern", TOPIC, 0), 1);
    }

    // -- offsets

    private static DescribeShareGroupOffsetsRequestData offsetsOf(String group, String topic, Integer... partitions) {
        var topics = topic == null ? null : List.of(new DescribeShareGroupOffsetsRequestTopic().setTopicName(topic).setPartitions(List.of(partitions)));
        return new DescribeShareGroupOffsetsRequestData().setGroups(List.of(new DescribeShareGroupOffsetsRequestGroup().setGroupId(group).setTopics(topics)));
    }

    private static AlterShareGroupOffsetsRequestData altered(String group, String topic, int partition, long offset) {
        var partitions = List.of(new AlterShareGroupOffsetsRequestPartition().setPartitionIndex(partition).setStartOffset(offset));
        var topics = new AlterShareGroupOffsetsRequestTopicCollection(List.of(new AlterShareGroupOffsetsRequestTopic().setTopicName(topic).setPartitions(partitions)).iterator());
        return new AlterShareGroupOffsetsRequestData().setGroupId(group).setTopics(topics);
    }

    private static DeleteShareGroupOffsetsRequestData deleted(String group, String topic) {
        return new DeleteShareGroupOffsetsRequestData().setGroupId(group).setTopics(List.of(new DeleteShareGroupOffsetsRequestTopic().setTopicName(topic)));
    }

    private void offsets() throws Exception {
        String name = "DescribeShareGroupOffsets ";
        Main.ask(name + "of all", offsetsOf(GROUP, null), 0);
        Main.ask(name + "of all", offsetsOf(GROUP, null), 1);
        Main.ask(name + "of a topic that is none", offsetsOf(GROUP, "nowhere", 0), 1);
        Main.print(name + "of a partition that is none", 1, connection.ask(offsetsOf(GROUP, TOPIC, 9), 1, 10_000));
        Main.ask(name + "of a negative partition", offsetsOf(GROUP, TOPIC, -1), 1);
        Main.ask(name + "of a topic that it does not read", offsetsOf(GROUP, "t", 0), 1);
        Main.ask(name + "of no group", offsetsOf("nobody", null), 1);
        Main.ask(name + "of no group's topic", offsetsOf("nobody", TOPIC, 0), 1);
        Main.ask(name + "without a group", offsetsOf("", TOPIC, 0), 1);
        name = "AlterShareGroupOffsets ";
        Main.ask(name + "of one that has members", altered(GROUP, TOPIC, 0, 3), 0);
        Main.ask("DeleteShareGroupOffsets of one that has members", deleted(GROUP, TOPIC), 0);
        Main.ask("DeleteGroups of a share group that has members", new DeleteGroupsRequestData().setGroupsNames(List.of(GROUP)), 2);
        beat("to leave as the last", heartbeat("m", -1));
        describe("one without members", GROUP);
        Main.ask(name + "without a group", altered("", TOPIC, 0, 3), 0);
        Main.ask(name + "of a topic that is none", altered(GROUP, "nowhere", 0, 3), 0);
        Main.ask(name + "of a partition that is none", altered(GROUP, TOPIC, 9, 3), 0);
        Main.ask(name + "to a negative one", altered(GROUP, TOPIC, 0, -7), 0);
        Main.ask(name + "in good order", altered(GROUP, TOPIC, 0, 3), 0);
        Main.ask("DescribeShareGroupOffsets after that", offsetsOf(GROUP, null), 1);
        Main.ask(name + "to one behind the end", altered(GROUP, TOPIC, 0, 300), 0);
        Main.ask("DescribeShareGroupOffsets behind the end", offsetsOf(GROUP, TOPIC, 0), 1);
        Main.ask(name + "of a group that is new", altered("new", TOPIC, 0, 3), 0);
        describe("one that only has offsets", "new");
        Main.ask("DescribeShareGroupOffsets of one that is new", offsetsOf("new", null), 1);
        name = "DeleteShareGroupOffsets ";
        Main.ask(name + "without a group", deleted("", TOPIC), 0);
        Main.ask(name + "of no group", deleted("nobody", TOPIC), 0);
        Main.ask(name + "of a topic that is none", deleted(GROUP, "nowhere"), 0);
        Main.ask(name + "of a topic that it does not read", deleted(GROUP, "t"), 0);
        Main.ask(name + "in good order", deleted(GROUP, TOPIC), 0);
        Main.ask(name + "again", deleted(GROUP, TOPIC), 0);
        Main.ask("DescribeShareGroupOffsets of one whose offsets are deleted", offsetsOf(GROUP, null), 1);
        for (String group : List.of(GROUP, "new")) {
            Main.ask("DeleteGroups of the share group " + group, new DeleteGroupsRequestData().setGroupsNames(List.of(group)), 2);
        }
        describe("one that is deleted", GROUP);
    }

    // -- the share coordinator's state

    private InitializeShareGroupStateRequestData initialize(Uuid topic, int partition, int stateEpoch, long start) {
        var data = new InitializeShareGroupStateRequestData.PartitionData().setPartition(partition).setStateEpoch(stateEpoch).setStartOffset(start);
        return new InitializeShareGroupStateRequestData().setGroupId("kept").setTopics(List.of(new InitializeStateData().setTopicId(topic).setPartitions(List.of(data))));
    }

    private ReadShareGroupStateRequestData read(Uuid topic, int partition, int leaderEpoch) {
        var data = new ReadShareGroupStateRequestData.PartitionData().setPartition(partition).setLeaderEpoch(leaderEpoch);
        return new ReadShareGroupStateRequestData().setGroupId("kept").setTopics(List.of(new ReadStateData().setTopicId(topic).setPartitions(List.of(data))));
    }

    private ReadShareGroupStateSummaryRequestData summary(Uuid topic, int partition, int leaderEpoch) {
        var data = new ReadShareGroupStateSummaryRequestData.PartitionData().setPartition(partition).setLeaderEpoch(leaderEpoch);
        return new ReadShareGroupStateSummaryRequestData().setGroupId("kept").setTopics(List.of(new ReadStateSummaryData().setTopicId(topic).setPartitions(List.of(data))));
    }

    private WriteShareGroupStateRequestData write(Uuid topic, int partition, int stateEpoch, int leaderEpoch, long start, long... batches) {
        List<StateBatch> all = new ArrayList<>();
        for (int i = 0; i < batches.length; i += 4) {
            all.add(new StateBatch().setFirstOffset(batches[i]).setLastOffset(batches[i + 1]).setDeliveryState((byte) batches[i + 2]).setDeliveryCount((short) batches[i + 3]));
        }
        var data = new WriteShareGroupStateRequestData.PartitionData().setPartition(partition).setStateEpoch(stateEpoch).setLeaderEpoch(leaderEpoch).setStartOffset(start).setDeliveryCompleteCount(2).setStateBatches(all);
        return new WriteShareGroupStateRequestData().setGroupId("kept").setTopics(List.of(new WriteStateData().setTopicId(topic).setPartitions(List.of(data))));
    }

    private DeleteShareGroupStateRequestData delete(Uuid topic, int partition) {
        var data = new DeleteShareGroupStateRequestData.PartitionData().setPartition(partition);
        return new DeleteShareGroupStateRequestData().setGroupId("kept").setTopics(List.of(new DeleteShareGroupStateRequestData.DeleteStateData().setTopicId(topic).setPartitions(List.of(data))));
    }

    private void states() throws Exception {
        String key = "kept:" + stateId + ":0";
        for (String asked : List.of(key, "kept:" + stateId, "kept:nothing:0", ":" + stateId + ":0", "kept:" + stateId + ":x")) {
            Main.ask("FindCoordinator of the state " + asked.replace(stateId.toString(), "ID"), new FindCoordinatorRequestData().setKeyType((byte) 2).setCoordinatorKeys(List.of(asked)), 6);
        }
        Uuid unknown = new Uuid(5, 5);
        String name = "ReadShareGroupState ";
        Main.ask(name + "of one that was not initialized", read(stateId, 0, 1), 0);
        Main.ask("WriteShareGroupState of one that was not initialized", write(stateId, 0, 0, 1, 5), 1);
        Main.ask("ReadShareGroupStateSummary of one that was not initialized", summary(stateId, 0, 1), 1);
        Main.ask("DeleteShareGroupState of one that was not initialized", delete(stateId, 0), 0);
        name = "InitializeShareGroupState ";
        Main.ask(name + "without a group", initialize(stateId, 0, 3, 10).setGroupId(""), 0);
        Main.ask(name + "of nothing", initialize(stateId, 0, 3, 10).setTopics(List.of()), 0);
        Main.ask(name + "of no topic", initialize(unknown, 0, 3, 10), 0);
        Main.ask(name + "of no partition", initialize(stateId, 9, 3, 10), 0);
        Main.ask(name + "of a negative partition", initialize(stateId, -1, 3, 10), 0);
        Main.ask(name + "in good order", initialize(stateId, 0, 3, 10), 0);
        Main.ask(name + "with an older state epoch", initialize(stateId, 0, 2, 10), 0);
        name = "ReadShareGroupState ";
        Main.ask(name + "without a group", read(stateId, 0, 4).setGroupId(""), 0);
        Main.ask(name + "of no topic", read(unknown, 0, 4), 0);
        Main.ask(name + "of a negative partition", read(stateId, -1, 4), 0);
        Main.ask(name + "as a leader", read(stateId, 0, 4), 0);
        Main.ask(name + "as an earlier leader", read(stateId, 0, 3), 0);
        name = "WriteShareGroupState ";
        Main.ask(name + "without a group", write(stateId, 0, 3, 4, 10).setGroupId(""), 1);
        Main.ask(name + "of no topic", write(unknown, 0, 3, 4, 10), 1);
        Main.ask(name + "of a negative partition", write(stateId, -1, 3, 4, 10), 1);
        Main.ask(name + "as an earlier leader", write(stateId, 0, 3, 3, 10), 1);
        Main.ask(name + "with an older state epoch", write(stateId, 0, 2, 4, 10), 1);
        Main.ask(name + "with a newer state epoch", write(stateId, 0, 9, 4, 10), 1);
        Main.ask(name + "in good order", write(stateId, 0, 3, 4, 11, 11, 12, 0, 1, 13, 15, 2, 1), 1);
        Main.ask(name + "that overlaps", write(stateId, 0, 3, 4, -1, 12, 13, 4, 2), 0);
        Main.ask("ReadShareGroupState afterwards", read(stateId, 0, 4), 0);
        Main.ask(name + "with batches that lie before the start", write(stateId, 0, 3, 4, 13, 0, 5, 2, 1), 1);
        Main.ask(name + "in an unknown state", write(stateId, 0, 3, 4, 13, 16, 16, 7, 1), 1);
        Main.ask("ReadShareGroupState after that", read(stateId, 0, 4), 0);
        name = "ReadShareGroupStateSummary ";
        Main.ask(name + "without a group", summary(stateId, 0, 4).setGroupId(""), 1);
        Main.ask(name + "of no topic", summary(unknown, 0, 4), 1);
        Main.ask(name + "of a negative partition", summary(stateId, -1, 4), 1);
        Main.ask(name + "in good order", summary(stateId, 0, 4), 0);
        Main.ask(name + "in good order", summary(stateId, 0, 4), 1);
        Main.ask(name + "of a leader to come", summary(stateId, 0, 7), 1);
        Main.ask("ReadShareGroupState of a leader to come", read(stateId, 0, 7), 0);
        name = "DeleteShareGroupState ";
        Main.ask(name + "without a group", delete(stateId, 0).setGroupId(""), 0);
        Main.ask(name + "of no topic", delete(unknown, 0), 0);
        Main.ask(name + "of a negative partition", delete(stateId, -1), 0);
        Main.ask(name + "in good order", delete(stateId, 0), 0);
        Main.ask(name + "again", delete(stateId, 0), 0);
        Main.ask("ReadShareGroupState of one that is deleted", read(stateId, 0, 7), 0);
    }
}
