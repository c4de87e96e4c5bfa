import static org.apache.kafka.common.record.internal.RecordBatch.NO_PRODUCER_ID;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.AddOffsetsToTxnRequestData;
import org.apache.kafka.common.message.AddPartitionsToTxnRequestData;
import org.apache.kafka.common.message.AddPartitionsToTxnRequestData.AddPartitionsToTxnTopic;
import org.apache.kafka.common.message.AddPartitionsToTxnRequestData.AddPartitionsToTxnTopicCollection;
import org.apache.kafka.common.message.ConsumerGroupDescribeRequestData;
import org.apache.kafka.common.message.ConsumerGroupHeartbeatRequestData;
import org.apache.kafka.common.message.CreateTopicsRequestData;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopic;
import org.apache.kafka.common.message.CreateTopicsRequestData.CreatableTopicCollection;
import org.apache.kafka.common.message.CreateTopicsResponseData;
import org.apache.kafka.common.message.DeleteGroupsRequestData;
import org.apache.kafka.common.message.DeleteRecordsRequestData;
import org.apache.kafka.common.message.DeleteRecordsRequestData.DeleteRecordsPartition;
import org.apache.kafka.common.message.DeleteRecordsRequestData.DeleteRecordsTopic;
import org.apache.kafka.common.message.DescribeGroupsRequestData;
import org.apache.kafka.common.message.DescribeLogDirsRequestData;
import org.apache.kafka.common.message.DescribeLogDirsRequestData.DescribableLogDirTopic;
import org.apache.kafka.common.message.DescribeLogDirsRequestData.DescribableLogDirTopicCollection;
import org.apache.kafka.common.message.DescribeProducersRequestData;
import org.apache.kafka.common.message.DescribeProducersRequestData.TopicRequest;
import org.apache.kafka.common.message.DescribeTransactionsRequestData;
import org.apache.kafka.common.message.DescribeTransactionsResponseData;
import org.apache.kafka.common.message.EndTxnRequestData;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchRequestData.FetchPartition;
import org.apache.kafka.common.message.FetchRequestData.FetchTopic;
import org.apache.kafka.common.message.FetchRequestData.ReplicaState;
import org.apache.kafka.common.message.FindCoordinatorRequestData;
import org.apache.kafka.common.message.HeartbeatRequestData;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.JoinGroupRequestData;
import org.apache.kafka.common.message.LeaveGroupRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsPartition;
import org.apache.kafka.common.message.ListOffsetsRequestData.ListOffsetsTopic;
import org.apache.kafka.common.message.ListTransactionsRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestPartition;
import org.apache.kafka.common.message.OffsetCommitRequestData.OffsetCommitRequestTopic;
import org.apache.kafka.common.message.OffsetDeleteRequestData;
import org.apache.kafka.common.message.OffsetDeleteRequestData.OffsetDeleteRequestPartition;
import org.apache.kafka.common.message.OffsetDeleteRequestData.OffsetDeleteRequestTopic;
import org.apache.kafka.common.message.OffsetDeleteRequestData.OffsetDeleteRequestTopicCollection;
import org.apache.kafka.common.message.OffsetFetchRequestData;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestGroup;
import org.apache.kafka.common.message.OffsetFetchRequestData.OffsetFetchRequestTopics;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData.OffsetForLeaderPartition;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData.OffsetForLeaderTopic;
import org.apache.kafka.common.message.OffsetForLeaderEpochRequestData.OffsetForLeaderTopicCollection;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceRequestData.PartitionProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceData;
import org.apache.kafka.common.message.ProduceRequestData.TopicProduceDataCollection;
import org.apache.kafka.common.message.SyncGroupRequestData;
import org.apache.kafka.common.message.TxnOffsetCommitRequestData;
import org.apache.kafka.common.message.TxnOffsetCommitRequestData.TxnOffsetCommitRequestPartition;
import org.apache.kafka.common.message.TxnOffsetCommitRequestData.TxnOffsetCommitRequestTopic;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

/**
 * Sends requests that are good, at a limit or at fault, and prints each answer on a line of its own: `name version N: answer`. What no client
 * library would send is the point here; the answers are to be compared with Apache Kafka's.
 */
public final class Main {
    private static final String TOPIC = "t";
    private static final String NOWHERE = "nowhere";
    private static final Uuid UNKNOWN_ID = new Uuid(5, 5);
    private static Connection connection;
    private static Uuid topicId;
    /** Topics' ids, with what stands for them in what is printed. */
    private static final Map<String, String> IDS = new LinkedHashMap<>();

    public static void main(String[] arguments) throws Exception {
        connection = new Connection(arguments[0]);
        topicId = create(TOPIC, 2);
        findCoordinator();
        produce();
        fetch();
        listOffsets();
        offsetsForLeaderEpoch();
        producers();
        deleteRecords();
        describe();
        offsets();
        members();
        consumerGroups();
        new Hostile(connection, topicId).all();
        transactions();
        Shares.run(connection);
        new Quorum(connection, new Connection(arguments[1])).all();
    }

    /** Says `name` from now on where this is in an answer. */
    static void name(String text, String name) {
        IDS.put(text, name);
    }

    static ApiMessage ask(String name, ApiMessage request, int version) throws IOException {
        ApiMessage answer = connection.ask(request, version);
        print(name, version, answer);
        return answer;
    }

    static void print(String name, int version, ApiMessage answer) {
        String text = answer == null ? "no answer" : answer.toString();
        for (var id : IDS.entrySet()) {
            text = text.replace(id.getKey(), id.getValue());
        }
        say(name, version, text);
    }

    static void say(String name, int version, String text) {
        System.out.println(name + " version " + version + ": " + text.replace('\n', ' '));
    }

    static Uuid create(String name, int partitions) throws Exception {
        var topics = new CreatableTopicCollection(List.of(new CreatableTopic().setName(name).setNumPartitions(partitions).setReplicationFactor((short) 1)).iterator());
        var created = (CreateTopicsResponseData) connection.ask(new CreateTopicsRequestData().setTopics(topics).setTimeoutMs(60_000), 7);
        Uuid id = created.topics().find(name).topicId();
        IDS.put(id.toString(), name.equals(TOPIC) ? "ID-OF-TOPIC" : "ID-OF-" + name.toUpperCase(Locale.ROOT));
        var partition = new ListOffsetsPartition().setTimestamp(-1);
        var request = new ListOffsetsRequestData().setTopics(List.of(new ListOffsetsTopic().setName(name).setPartitions(List.of(partition))));
        while (!connection.ask(request, 8).toString().contains("errorCode=0, timestamp=-1, offset=0")) {
            Thread.sleep(20);
        }
        return id;
    }

    /** Puts a batch into the first partition. */
    static void fill(String topic, Uuid id, int records) throws IOException {
        var data = new PartitionProduceData().setRecords(MemoryRecords.readableRecords(ByteBuffer.wrap(batch(System.currentTimeMillis(), records))));
        var topics = new TopicProduceDataCollection(List.of(new TopicProduceData().setTopicId(id).setPartitionData(List.of(data))).iterator());
        connection.ask(new ProduceRequestData().setAcks((short) -1).setTimeoutMs(60_000).setTopicData(topics), 13);
    }

    private static void findCoordinator() throws Exception {
        // The first one makes the topic of the offsets.
        for (int version : new int[] {0, 3}) {
            ask("FindCoordinator of a group", new FindCoordinatorRequestData().setKey("g"), version);
        }
        for (int type : new int[] {0, 2, 3}) {
            ask("FindCoordinator of type " + type, new FindCoordinatorRequestData().setKeyType((byte) type).setCoordinatorKeys(List.of("g")), 6);
        }
        ask("FindCoordinator of no group", new FindCoordinatorRequestData().setCoordinatorKeys(List.of("")), 6);
    }

    // -- producing and fetching

    private static byte[] batch(long timestamp, int records) {
        return batch(timestamp, records, NO_PRODUCER_ID, -1, false, 1);
    }

    private static byte[] batch(long timestamp, int records, long producerId, int sequence, boolean isTransactional, int size) {
        SimpleRecord[] all = new SimpleRecord[records];
        Arrays.fill(all, new SimpleRecord(timestamp, null, new byte[size]));
        MemoryRecords built;
        if (producerId == NO_PRODUCER_ID) {
            built = MemoryRecords.withRecords(Compression.NONE, all);
        } else if (isTransactional) {
            built = MemoryRecords.withTransactionalRecords(Compression.NONE, producerId, (short) 0, sequence, all);
        } else {
            built = MemoryRecords.withIdempotentRecords(Compression.NONE, producerId, (short) 0, sequence, all);
        }
        byte[] bytes = new byte[built.sizeInBytes()];
        built.buffer().duplicate().get(bytes);
        return bytes;
    }

    private static byte[] joined(byte[]... parts) {
        ByteBuffer all = ByteBuffer.allocate(Arrays.stream(parts).mapToInt(part -> part.length).sum());
        Arrays.stream(parts).forEach(all::put);
        return all.array();
    }

    private static byte[] with(byte[] batch, int position, int value) {
        byte[] changed = batch.clone();
        changed[position] = (byte) value;
        return changed;
    }

    private static void produce(String name, int version, int acks, String topic, int partition, byte[] records) throws IOException {
        var data = new PartitionProduceData().setIndex(partition).setRecords(records == null ? null : MemoryRecords.readableRecords(ByteBuffer.wrap(records)));
        var ofTopic = new TopicProduceData().setPartitionData(List.of(data));
        if (version >= 13) {
            ofTopic.setTopicId(topic.equals(TOPIC) ? topicId : UNKNOWN_ID);
        } else {
            ofTopic.setName(topic);
        }
        var topics = new TopicProduceDataCollection(List.of(ofTopic).iterator());
        ask("Produce " + name, new ProduceRequestData().setAcks((short) acks).setTimeoutMs(60_000).setTopicData(topics), version);
    }

    private static void produce() throws Exception {
        long now = System.currentTimeMillis();
        byte[] one = batch(now, 1);
        produce("one record", 12, -1, TOPIC, 0, one);
        produce("one record", 13, 1, TOPIC, 0, one);
        produce("no bytes", 12, -1, TOPIC, 0, new byte[0]);
        produce("two batches", 12, -1, TOPIC, 0, joined(one, one));
        produce("a batch and half of one", 12, -1, TOPIC, 0, joined(one, Arrays.copyOf(one, 30)));
        produce("most of a batch", 12, -1, TOPIC, 0, Arrays.copyOf(one, 65));
        produce("a wrong checksum", 12, -1, TOPIC, 0, with(one, one.length - 1, 1));
        produce("magic 9", 12, -1, TOPIC, 0, with(one, 16, 9));
        produce("magic 1", 12, -1, TOPIC, 0, with(one, 16, 1));
        produce("a negative length", 12, -1, TOPIC, 0, with(one, 8, 0xff));
        produce("acks 2", 12, 2, TOPIC, 0, one);
        produce("acks 2, to no topic", 12, 2, NOWHERE, 0, one);
        produce("acks 2, to no partition", 13, 2, TOPIC, 9, one);
        produce("acks 2, to an internal topic", 12, 2, "__consumer_offsets", 0, one);
        produce("acks 2, magic 1", 12, 2, TOPIC, 0, with(one, 16, 1));
        produce("acks 2, a wrong checksum", 12, 2, TOPIC, 0, with(one, one.length - 1, 1));
        produce("to an internal topic", 12, 1, "__consumer_offsets", 0, one);
        produce("to no topic", 12, 1, NOWHERE, 0, one);
        produce("to no topic's id", 13, 1, NOWHERE, 0, one);
        produce("to no partition", 13, 1, TOPIC, 9, one);
        produce("in a transaction without its id", 12, -1, TOPIC, 0, batch(now, 1, 5, 0, true, 1));
        produce("a producer's first batch, sequence 7", 12, -1, TOPIC, 0, batch(now, 1, 5, 7, false, 1));
        produce("the same again", 12, -1, TOPIC, 0, batch(now, 1, 5, 7, false, 1));
        produce("sequence 9 after 7", 12, -1, TOPIC, 0, batch(now, 1, 5, 9, false, 1));
        produce("a large record", 12, -1, TOPIC, 0, batch(now, 1, NO_PRODUCER_ID, -1, false, 2 << 20));
        produce("a record of the year 2096", 12, -1, TOPIC, 0, batch(4_000_000_000_000L, 1));
    }

    private static FetchPartition at(long offset) {
        return new FetchPartition().setFetchOffset(offset).setPartitionMaxBytes(1000);
    }

    private static void fetch(String name, int version, int isolation, int maxBytes, int replica, FetchPartition partition) throws IOException {
        var topic = new FetchTopic().setPartitions(List.of(partition));
        if (version < 13) {
            topic.setTopic(TOPIC);
        } else {
            topic.setTopicId(topicId);
        }
        var request = new FetchRequestData().setIsolationLevel((byte) isolation).setMaxWaitMs(100).setMinBytes(1).setMaxBytes(maxBytes).setTopics(List.of(topic));
        if (replica >= 0) {
            request.setReplicaState(new ReplicaState().setReplicaId(replica));
        }
        ask("Fetch " + name, request, version);
    }

    private static void fetch() throws Exception {
        fetch("from the start", 12, 0, 1000, -1, at(0));
        fetch("what is committed", 18, 1, 1000, -1, at(0));
        fetch("at the end", 18, 0, 1000, -1, at(4));
        fetch("behind the end", 18, 0, 1000, -1, at(100));
        fetch("at a negative offset", 18, 0, 1000, -1, at(-5));
        fetch("with isolation level 9", 18, 9, 1000, -1, at(0));
        fetch("a negative number of bytes", 18, 0, -5, -1, at(0));
        fetch("a negative number of bytes of a partition", 18, 0, 1000, -1, at(0).setPartitionMaxBytes(-1));
        fetch("no partition", 18, 0, 1000, -1, at(0).setPartition(9));
        fetch("as a replica that is none", 18, 0, 1000, 7, at(0));
        fetch("with a leader epoch to come", 18, 0, 1000, -1, at(0).setCurrentLeaderEpoch(7));
        fetch("after an epoch that never was", 18, 0, 1000, -1, at(0).setLastFetchedEpoch(7));
        ask("Fetch of an unknown session", new FetchRequestData().setSessionId(77).setSessionEpoch(3), 18);
        ask("Fetch with epoch 3 of no session", new FetchRequestData().setSessionId(0).setSessionEpoch(3), 18);
    }

    // -- offsets in the log

    private static void listOffsets(String name, int isolation, int replica, long... timestamps) throws IOException {
        var partitions = Arrays.stream(timestamps).mapToObj(timestamp -> new ListOffsetsPartition().setTimestamp(timestamp)).toList();
        var topic = new ListOffsetsTopic().setName(TOPIC).setPartitions(partitions);
        ask("ListOffsets " + name, new ListOffsetsRequestData().setReplicaId(replica).setIsolationLevel((byte) isolation).setTopics(List.of(topic)), 11);
    }

    private static void listOffsets() throws Exception {
        listOffsets("twice of one partition", 0, -1, -1, -2);
        listOffsets("with isolation level 9", 9, -1, -1);
        listOffsets("as a replica that is none", 0, 7, -1);
        listOffsets("as a debugger", 0, -2, -1);
        listOffsets("by time, the first", 0, -1, 0);
        listOffsets("by time, after all", 0, -1, 4_000_000_000_000L);
        for (int timestamp = -3; timestamp >= -7; timestamp--) {
            listOffsets("timestamp " + timestamp, 0, -1, timestamp);
        }
    }

    private static void offsetsForLeaderEpoch() throws Exception {
        for (int[] epochs : new int[][] {{0, -1}, {5, -1}, {-1, -1}, {0, 7}}) {
            var partition = new OffsetForLeaderPartition().setLeaderEpoch(epochs[0]).setCurrentLeaderEpoch(epochs[1]);
            var topic = new OffsetForLeaderTopic().setTopic(TOPIC).setPartitions(List.of(partition));
            var topics = new OffsetForLeaderTopicCollection(List.of(topic).iterator());
            ask("OffsetForLeaderEpoch " + epochs[0] + " while the leader's is " + epochs[1], new OffsetForLeaderEpochRequestData().setTopics(topics), 4);
        }
    }

    private static void producers() throws Exception {
        var good = new InitProducerIdRequestData().setTransactionalId(null).setTransactionTimeoutMs(1000);
        ask("InitProducerId", good, 5);
        ask("InitProducerId with an id but no epoch", new InitProducerIdRequestData().setTransactionalId(null).setProducerId(4), 5);
        ask("InitProducerId with an empty transactional id", new InitProducerIdRequestData().setTransactionalId(""), 5);
        var topics = List.of(
                new TopicRequest().setName(TOPIC).setPartitionIndexes(List.of(0, 9)),
                new TopicRequest().setName("a/b").setPartitionIndexes(List.of(0)),
                new TopicRequest().setName(NOWHERE).setPartitionIndexes(List.of(0)));
        ask("DescribeProducers", new DescribeProducersRequestData().setTopics(topics), 0);
    }

    private static void deleteRecords() throws Exception {
        deleteRecords("__consumer_offsets", 0, 0);
        for (long offset : new long[] {100, -2, 1}) {
            deleteRecords(TOPIC, 0, offset);
        }
        deleteRecords(TOPIC, 9, 0);
        deleteRecords(NOWHERE, 0, 0);
        fetch("before the first record", 18, 0, 1000, -1, at(0));
    }

    private static void deleteRecords(String topic, int partition, long offset) throws IOException {
        var data = new DeleteRecordsPartition().setPartitionIndex(partition).setOffset(offset);
        var request = new DeleteRecordsRequestData().setTimeoutMs(60_000).setTopics(List.of(new DeleteRecordsTopic().setName(topic).setPartitions(List.of(data))));
        ask("DeleteRecords of " + topic + "-" + partition + " before " + offset, request, 2);
    }

    private static void describe() throws Exception {
        var topic = new DescribableLogDirTopic().setTopic(TOPIC).setPartitions(List.of(0, 9));
        ask("DescribeLogDirs of partitions", new DescribeLogDirsRequestData().setTopics(new DescribableLogDirTopicCollection(List.of(topic).iterator())), 5);
        ask("DescribeLogDirs of no topics", new DescribeLogDirsRequestData().setTopics(new DescribableLogDirTopicCollection()), 5);
        ask("DescribeGroups of none", new DescribeGroupsRequestData().setGroups(List.of("nobody")).setIncludeAuthorizedOperations(true), 6);
        ask("DescribeGroups of none", new DescribeGroupsRequestData().setGroups(List.of("nobody")), 5);
        ask("DeleteGroups of none, twice", new DeleteGroupsRequestData().setGroupsNames(List.of("nobody", "nobody")), 2);
        ask("DeleteGroups without a name", new DeleteGroupsRequestData().setGroupsNames(List.of("")), 2);
        var partition = new OffsetDeleteRequestPartition();
        var topics = new OffsetDeleteRequestTopicCollection(List.of(new OffsetDeleteRequestTopic().setName(NOWHERE).setPartitions(List.of(partition))).iterator());
        ask("OffsetDelete of no group", new OffsetDeleteRequestData().setGroupId("nobody").setTopics(topics), 0);
    }

    // -- groups

    private static void offsets() throws Exception {
        commit("by name", 9, -1, "", "m");
        commit("by id", 10, -1, "", "m");
        commit("of a generation that is none", 9, 4, "", "m");
        commit("of a member that is none", 9, 4, "somebody", "m");
        commit("with long metadata", 9, -1, "", "m".repeat(5000));
        fetchOffsets("of all", null);
        fetchOffsets("of an unknown id and partition", List.of(
                new OffsetFetchRequestTopics().setTopicId(UNKNOWN_ID).setPartitionIndexes(List.of(0)),
                new OffsetFetchRequestTopics().setTopicId(topicId).setPartitionIndexes(List.of(0, 9))));
        ask("OffsetFetch of no group", new OffsetFetchRequestData().setGroups(List.of(new OffsetFetchRequestGroup().setGroupId("nobody").setTopics(null))), 10);
    }

    private static void commit(String name, int version, int generation, String member, String metadata) throws IOException {
        var partitions = List.of(
                new OffsetCommitRequestPartition().setPartitionIndex(0).setCommittedOffset(3).setCommittedMetadata(metadata),
                new OffsetCommitRequestPartition().setPartitionIndex(9).setCommittedOffset(3).setCommittedMetadata(metadata));
        var known = new OffsetCommitRequestTopic().setPartitions(partitions);
        var unknown = new OffsetCommitRequestTopic().setPartitions(List.of(new OffsetCommitRequestPartition()));
        if (version < 10) {
            known.setName(TOPIC);
            unknown.setName(NOWHERE);
        } else {
            known.setTopicId(topicId);
            unknown.setTopicId(UNKNOWN_ID);
        }
        ask("OffsetCommit " + name, new OffsetCommitRequestData().setGroupId("g").setGenerationIdOrMemberEpoch(generation).setMemberId(member).setTopics(List.of(known, unknown)), version);
    }

    private static void fetchOffsets(String name, List<OffsetFetchRequestTopics> topics) throws IOException {
        ask("OffsetFetch " + name, new OffsetFetchRequestData().setGroups(List.of(new OffsetFetchRequestGroup().setGroupId("g").setTopics(topics))), 10);
    }

    private static void members() throws Exception {
        var join = new JoinGroupRequestData().setGroupId("joined").setSessionTimeoutMs(10_000).setRebalanceTimeoutMs(10_000).setProtocolType("consumer");
        ask("JoinGroup without protocols", join.duplicate(), 9);
        var protocols = new JoinGroupRequestData.JoinGroupRequestProtocolCollection(List.of(new JoinGroupRequestData.JoinGroupRequestProtocol().setName("range")).iterator());
        join.setProtocols(protocols);
        ask("JoinGroup without a group", join.duplicate().setGroupId(""), 9);
        ask("JoinGroup with a short session timeout", join.duplicate().setSessionTimeoutMs(1), 9);
        ask("JoinGroup as a member that is none", join.duplicate().setMemberId("somebody"), 9);
        ask("JoinGroup as a static member that is none", join.duplicate().setMemberId("somebody").setGroupInstanceId("instance"), 9);
        ask("SyncGroup without protocol", new SyncGroupRequestData().setGroupId("g").setProtocolType(null).setProtocolName(null), 5);
        ask("SyncGroup of no group", new SyncGroupRequestData().setGroupId("nobody").setProtocolType("consumer").setProtocolName("range"), 5);
        ask("Heartbeat of no group", new HeartbeatRequestData().setGroupId("nobody").setMemberId("somebody"), 4);
        ask("Heartbeat without a group", new HeartbeatRequestData().setMemberId("somebody"), 4);
        ask("LeaveGroup of no group", new LeaveGroupRequestData().setGroupId("nobody").setMembers(List.of(new LeaveGroupRequestData.MemberIdentity().setMemberId("somebody"))), 5);
    }

    private static ConsumerGroupHeartbeatRequestData heartbeat(String group, String member, int epoch) {
        return new ConsumerGroupHeartbeatRequestData().setGroupId(group).setMemberId(member).setMemberEpoch(epoch);
    }

    private static ConsumerGroupHeartbeatRequestData joining(String member) {
        return heartbeat("modern", member, 0).setRebalanceTimeoutMs(10_000).setSubscribedTopicNames(List.of(TOPIC)).setTopicPartitions(List.of());
    }

    private static void consumerGroups() throws Exception {
        String name = "ConsumerGroupHeartbeat ";
        ask(name + "of a member that is none, of no group", heartbeat("modern", "somebody", 1), 1);
        ask(name + "to join without a group", joining("m").setGroupId(""), 1);
        ask(name + "to join without a member id", joining(""), 1);
        ask(name + "to join without topics", joining("m").setSubscribedTopicNames(null), 1);
        ask(name + "to join without a rebalance timeout", joining("m").setRebalanceTimeoutMs(-1), 1);
        ask(name + "to join with partitions that it has", joining("m").setTopicPartitions(List.of(new ConsumerGroupHeartbeatRequestData.TopicPartitions().setTopicId(topicId).setPartitions(List.of(0)))), 1);
        ask(name + "to join with an unknown assignor", joining("m").setServerAssignor("nobody"), 1);
        ask(name + "to join with a pattern that is none", joining("m").setSubscribedTopicNames(null).setSubscribedTopicRegex("("), 1);
        ask(name + "to join with an empty instance id", joining("m").setInstanceId(""), 1);
        ask(name + "to join with an empty rack", joining("m").setRackId(""), 1);
        ask(name + "to leave for a while without an instance id", heartbeat("modern", "m", -2), 1);
        ask(name + "of epoch -5", heartbeat("modern", "m", -5), 1);
        ask(name + "to join", joining("m"), 1);
        ask(name + "of a member that is none", heartbeat("modern", "somebody", 1), 1);
        ask(name + "of an epoch to come", heartbeat("modern", "m", 99), 1);
        ask(name + "of an instance that is none", heartbeat("modern", "m", 1).setInstanceId("instance"), 1);
        ask("ConsumerGroupDescribe of none and without a name", new ConsumerGroupDescribeRequestData().setGroupIds(List.of("nobody", "")), 1);
        var range = new JoinGroupRequestData.JoinGroupRequestProtocolCollection(List.of(new JoinGroupRequestData.JoinGroupRequestProtocol().setName("range")).iterator());
        ask("JoinGroup of a consumer group with bytes that say nothing", new JoinGroupRequestData().setGroupId("modern").setSessionTimeoutMs(10_000).setRebalanceTimeoutMs(10_000).setProtocolType("consumer").setProtocols(range), 9);
        ask("OffsetCommit of a consumer group with an old epoch", new OffsetCommitRequestData().setGroupId("modern").setMemberId("m").setGenerationIdOrMemberEpoch(0).setTopics(List.of(
                new OffsetCommitRequestTopic().setName(TOPIC).setPartitions(List.of(new OffsetCommitRequestPartition().setCommittedOffset(1))))), 9);
        ask("DeleteGroups of one that has members", new DeleteGroupsRequestData().setGroupsNames(List.of("modern")), 2);
        ask(name + "to leave", heartbeat("modern", "m", -1), 1);
        ask(name + "to leave again", heartbeat("modern", "m", -1), 1);
    }

    // -- transactions

    private static InitProducerIdRequestData initialize(String transactionalId) {
        return new InitProducerIdRequestData().setTransactionalId(transactionalId).setTransactionTimeoutMs(60_000);
    }

    private static void transactions() throws Exception {
        ask("FindCoordinator of a transaction", new FindCoordinatorRequestData().setKeyType((byte) 1).setCoordinatorKeys(List.of("tx")), 6);
        connection.ask(initialize("tx"), 5);
        ask("InitProducerId with a timeout of 0", initialize("tx").setTransactionTimeoutMs(0), 5);
        ask("InitProducerId with a timeout above the broker's", initialize("tx").setTransactionTimeoutMs(900_001), 5);
        ask("InitProducerId as another producer", initialize("tx").setProducerId(999_999).setProducerEpoch((short) 0), 5);
        ask("InitProducerId of a new one with an epoch", initialize("nobody").setProducerId(999_999).setProducerEpoch((short) 3), 5);
        var producer = (InitProducerIdResponseData) connection.ask(initialize("tx"), 5);
        long id = producer.producerId();
        short epoch = producer.producerEpoch();
        addPartitions("of another producer", "tx", 999_999, epoch, TOPIC, 0);
        addPartitions("with an old epoch", "tx", id, (short) (epoch - 1), TOPIC, 0);
        addPartitions("with an epoch to come", "tx", id, (short) (epoch + 1), TOPIC, 0);
        addPartitions("of an unknown transactional id", "unknown", id, epoch, TOPIC, 0);
        addPartitions("of no topic", "tx", id, epoch, NOWHERE, 0);
        addPartitions("without a transactional id", "", id, epoch, TOPIC, 0);
        end("of nothing", "tx", id, epoch, true);
        end("of another producer", "tx", 999_999, epoch, true);
        end("of an unknown transactional id", "unknown", id, epoch, true);
        addPartitions("in good order", "tx", id, epoch, TOPIC, 1);
        ask("DescribeTransactions", new DescribeTransactionsRequestData().setTransactionalIds(List.of("nobody", "unknown", "")), 0);
        ask("ListTransactions in an unknown state", new ListTransactionsRequestData().setStateFilters(List.of("Sleeping")), 2);
        ask("ListTransactions by a pattern that is none", new ListTransactionsRequestData().setTransactionalIdPattern("("), 2);
        var offsets = new TxnOffsetCommitRequestData().setTransactionalId("tx").setGroupId("g").setProducerId(id).setProducerEpoch(epoch).setTopics(List.of(
                new TxnOffsetCommitRequestTopic().setName(TOPIC).setPartitions(List.of(new TxnOffsetCommitRequestPartition().setCommittedOffset(1).setCommittedMetadata(""))),
                new TxnOffsetCommitRequestTopic().setName(NOWHERE).setPartitions(List.of(new TxnOffsetCommitRequestPartition().setCommittedOffset(1).setCommittedMetadata("")))));
        ask("TxnOffsetCommit before the group was added", offsets, 3);
        ask("AddOffsetsToTxn of another producer", new AddOffsetsToTxnRequestData().setTransactionalId("tx").setProducerId(999_999).setProducerEpoch(epoch).setGroupId("g"), 3);
        ask("AddOffsetsToTxn without a group", new AddOffsetsToTxnRequestData().setTransactionalId("tx").setProducerId(id).setProducerEpoch(epoch), 3);
        end("with an old epoch", "tx", id, (short) (epoch - 1), true);
        end("in good order", "tx", id, epoch, false);
        await("tx", "CompleteAbort");
        end("to commit what was aborted", "tx", id, epoch, true);
        end("to abort what was aborted", "tx", id, epoch, false);
        addPartitions("once more", "tx", id, epoch, TOPIC, 1);
        end("to commit", "tx", id, epoch, true);
        await("tx", "CompleteCommit");
        end("to abort what was committed", "tx", id, epoch, false);
        end("to commit what was committed", "tx", id, epoch, true);
        // Another has taken the transactional id, and has yet to come back for its epoch; or time has.
        abortedTransaction("fenced", initialize("fenced"), () -> ask("InitProducerId of who fences", initialize("fenced"), 5));
        abortedTransaction("timed out", initialize("timed out").setTransactionTimeoutMs(100), () -> {});
    }

    private interface Act {
        void act() throws IOException;
    }

    private static void abortedTransaction(String what, InitProducerIdRequestData initialize, Act abort) throws Exception {
        var first = (InitProducerIdResponseData) connection.ask(initialize, 5);
        long id = first.producerId();
        short epoch = first.producerEpoch();
        addPartitions("of who will be " + what, what, id, epoch, TOPIC, 1);
        abort.act();
        await(what, "CompleteAbort");
        ask("DescribeTransactions of one that is " + what, describe(what), 0);
        end("to commit as who is " + what, what, id, epoch, true, 5);
        end("to commit as who is " + what, what, id, epoch, true, 4);
        end("to commit as who is " + what + ", in the next epoch", what, id, (short) (epoch + 1), true, 5);
        end("to commit as who is " + what + ", two epochs on", what, id, (short) (epoch + 2), true, 5);
        addPartitions("of who is " + what, what, id, epoch, TOPIC, 1);
    }

    private static DescribeTransactionsRequestData describe(String transactionalId) {
        return new DescribeTransactionsRequestData().setTransactionalIds(List.of(transactionalId));
    }

    private static void await(String transactionalId, String state) throws Exception {
        while (!((DescribeTransactionsResponseData) connection.ask(describe(transactionalId), 0)).transactionStates().get(0).transactionState().equals(state)) {
            Thread.sleep(10);
        }
    }

    private static void addPartitions(String name, String transactionalId, long producerId, short epoch, String topic, int partition) throws IOException {
        var topics = new AddPartitionsToTxnTopicCollection(List.of(new AddPartitionsToTxnTopic().setName(topic).setPartitions(List.of(partition))).iterator());
        var request = new AddPartitionsToTxnRequestData().setV3AndBelowTransactionalId(transactionalId).setV3AndBelowProducerId(producerId).setV3AndBelowProducerEpoch(epoch).setV3AndBelowTopics(topics);
        ask("AddPartitionsToTxn " + name, request, 3);
    }

    private static void end(String name, String transactionalId, long producerId, short epoch, boolean commits) throws IOException {
        end(name, transactionalId, producerId, epoch, commits, 4);
    }

    private static void end(String name, String transactionalId, long producerId, short epoch, boolean commits, int version) throws IOException {
        ask("EndTxn " + name, new EndTxnRequestData().setTransactionalId(transactionalId).setProducerId(producerId).setProducerEpoch(epoch).setCommitted(commits), version);
    }
}
