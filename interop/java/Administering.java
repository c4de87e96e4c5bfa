import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.FeatureUpdate.UpgradeType;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Every operation of the admin client that a single broker without security and transactions can serve. */
final class Administering {
    private static final long START = System.currentTimeMillis() - 3_600_000; // within any retention
    private final Cluster cluster;
    private final Admin admin;

    Administering(Cluster cluster) {
        this.cluster = cluster;
        admin = cluster.admin;
    }

    void addTo(Suite suite) {
        suite.add("admin: create topics, and what is refused", this::createTopics);
        suite.add("admin: create topics, validate only", this::validateTopics);
        suite.add("admin: create many topics at once", this::createManyTopics);
        suite.add("admin: describe topics by name and id, in pages", this::describeTopics);
        suite.add("admin: delete topics by name and id", this::deleteTopics);
        suite.add("admin: create partitions", this::createPartitions);
        suite.add("admin: describe configs with synonyms and documentation", this::describeConfigs);
        suite.add("admin: alter configs: set, delete, append, subtract, validate only", this::alterConfigs);
        suite.add("admin: alter broker configs, one and all", this::alterBrokerConfigs);
        suite.add("admin: list config resources", this::listConfigResources);
        suite.add("admin: delete records", this::deleteRecords);
        suite.add("admin: list offsets of every kind", this::listOffsets);
        suite.add("admin: describe log directories and replicas", this::logDirs);
        suite.add("admin: elect leaders", this::electLeaders);
        suite.add("admin: describe the cluster", this::describeCluster);
        suite.add("admin: describe features, and updates that change nothing", this::features);
        suite.add("admin: describe the metadata quorum", this::quorum);
        suite.add("admin: list and describe groups", this::describeGroups);
        suite.add("admin: alter, list and delete a group's offsets", this::groupOffsets);
        suite.add("admin: delete groups", this::deleteGroups);
        suite.add("admin: describe producers", this::describeProducers);
    }

    private static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get();
    }

    private void createTopics() throws Exception {
        String name = cluster.name("a-create");
        var created = admin.createTopics(List.of(new NewTopic(name, 3, (short) 1).configs(Map.of("retention.ms", "60000"))));
        Suite.equal(get(created.numPartitions(name)), 3);
        Suite.equal(get(created.replicationFactor(name)), 1);
        Suite.equal(get(created.config(name)).get("retention.ms").value(), "60000");
        Suite.holds(!get(created.topicId(name)).equals(Uuid.ZERO_UUID), "an id");
        String other = cluster.name("a-create");
        Suite.fails(TopicExistsException.class, () -> create(new NewTopic(name, 1, (short) 1)));
        Suite.fails(InvalidTopicException.class, () -> create(new NewTopic("a/b", 1, (short) 1)));
        Suite.fails(InvalidTopicException.class, () -> create(new NewTopic("", 1, (short) 1)));
        Suite.fails(InvalidPartitionsException.class, () -> create(new NewTopic(other, 0, (short) 1)));
        Suite.fails(InvalidReplicationFactorException.class, () -> create(new NewTopic(other, 1, (short) 3)));
        Suite.fails(InvalidConfigurationException.class, () -> create(new NewTopic(other, 1, (short) 1).configs(Map.of("cleanup.policy", "burn"))));
        create(new NewTopic(other, Map.of(0, List.of(1), 1, List.of(1))));
        Suite.eventually(() -> Suite.equal(describe(other).partitions().size(), 2));
    }

    private Object create(NewTopic topic) throws Exception {
        return get(admin.createTopics(List.of(topic)).all());
    }

    private void validateTopics() throws Exception {
        String name = cluster.name("a-validate");
        var options = new CreateTopicsOptions().validateOnly(true);
        var validated = admin.createTopics(List.of(new NewTopic(name, 4, (short) 1)), options);
        Suite.equal(get(validated.numPartitions(name)), 4);
        Suite.fails(InvalidReplicationFactorException.class, () -> get(admin.createTopics(List.of(new NewTopic(name, 4, (short) 9)), options).all()));
        Suite.holds(!get(admin.listTopics().names()).contains(name), "it was created");
    }

    private void createManyTopics() throws Exception {
        String prefix = cluster.name("a-many");
        List<NewTopic> topics = IntStream.range(0, 100).mapToObj(i -> new NewTopic(prefix + "-" + i, 2, (short) 1)).toList();
        get(admin.createTopics(topics).all());
        Set<String> names = topics.stream().map(NewTopic::name).collect(Collectors.toSet());
        Suite.eventually(() -> Suite.holds(get(admin.listTopics().names()).containsAll(names), "not all are listed"));
        get(admin.deleteTopics(names).all());
        Suite.eventually(() -> Suite.holds(get(admin.listTopics().names()).stream().noneMatch(names::contains), "some are listed still"));
    }

    private TopicDescription describe(String topic) throws Exception {
        try {
            return get(admin.describeTopics(List.of(topic)).topicNameValues().get(topic));
        } catch (java.util.concurrent.ExecutionException e) {
            throw new AssertionError(e.getCause());
        }
    }

    private void describeTopics() throws Exception {
        String topic = cluster.topic("a-describe", 50);
        TopicDescription byName = describe(topic);
        TopicDescription byId = get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(byName.topicId()))).topicIdValues().get(byName.topicId()));
        Suite.equal(byId.name(), topic);
        Suite.equal(byId.partitions().size(), 50);
        for (TopicDescription paged : get(admin.describeTopics(List.of(topic), new DescribeTopicsOptions().partitionSizeLimitPerResponse(7)).allTopicNames()).values()) {
            Suite.equal(paged.partitions().size(), 50);
        }
        Suite.equal(byName.partitions().get(49).leader().id(), 1);
        Suite.equal(byName.isInternal(), false);
        Suite.equal(byName.authorizedOperations(), null);
        Suite.holds(!get(admin.describeTopics(List.of(topic), new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames())
                .get(topic).authorizedOperations().isEmpty(), "authorized operations");
        Suite.fails(UnknownTopicOrPartitionException.class, () -> get(admin.describeTopics(List.of("a-none")).allTopicNames()));
        Suite.fails(UnknownTopicIdException.class, () -> get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds()));
    }

    private void deleteTopics() throws Exception {
        String byName = cluster.topic("a-delete", 1);
        String byId = cluster.topic("a-delete", 1);
        get(admin.deleteTopics(List.of(byName)).all());
        get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(describe(byId).topicId()))).all());
        Suite.eventually(() -> Suite.holds(get(admin.listTopics().names()).stream().noneMatch(Set.of(byName, byId)::contains), "still there"));
        Suite.fails(UnknownTopicOrPartitionException.class, () -> get(admin.deleteTopics(List.of(byName)).all()));
        Suite.fails(UnknownTopicIdException.class, () -> get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).all()));
    }

    private void createPartitions() throws Exception {
        String topic = cluster.topic("a-partitions", 2);
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3)), new CreatePartitionsOptions().validateOnly(true)).all());
        get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4, List.of(List.of(1), List.of(1))))).all());
        Suite.eventually(() -> Suite.equal(describe(topic).partitions().size(), 4));
        Suite.fails(InvalidPartitionsException.class, () -> get(admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(4))).all()));
        Suite.fails(UnknownTopicOrPartitionException.class, () -> get(admin.createPartitions(Map.of("a-none", NewPartitions.increaseTo(4))).all()));
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            get(producer, new ProducerRecord<>(topic, 3, null, new byte[1]));
        }
    }

    private static void get(Producer<byte[], byte[]> producer, ProducerRecord<byte[], byte[]> record) throws Exception {
        producer.send(record).get();
    }

    private Config configOf(ConfigResource resource) throws Exception {
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return get(admin.describeConfigs(List.of(resource), options).all()).get(resource);
    }

    private static ConfigResource topicResource(String name) {
        return new ConfigResource(ConfigResource.Type.TOPIC, name);
    }

    private static ConfigResource brokerResource(String name) {
        return new ConfigResource(ConfigResource.Type.BROKER, name);
    }

    private void describeConfigs() throws Exception {
        String topic = cluster.topic("a-configs", 1, Map.of("segment.bytes", "2000000"));
        ConfigEntry segment = configOf(topicResource(topic)).get("segment.bytes");
        Suite.equal(segment.value(), "2000000");
        Suite.equal(segment.source(), ConfigSource.DYNAMIC_TOPIC_CONFIG);
        Suite.equal(segment.type(), ConfigEntry.ConfigType.INT);
        Suite.equal(segment.synonyms().stream().map(ConfigEntry.ConfigSynonym::source).toList(), List.of(ConfigSource.DYNAMIC_TOPIC_CONFIG, ConfigSource.DEFAULT_CONFIG));
        Suite.holds(segment.documentation() != null && !segment.documentation().isEmpty(), "documentation");
        ConfigEntry node = configOf(brokerResource("1")).get("node.id");
        Suite.equal(node.value(), "1");
        Suite.equal(node.source(), ConfigSource.STATIC_BROKER_CONFIG);
        Suite.equal(node.isReadOnly(), true);
        Suite.fails(UnknownTopicOrPartitionException.class, () -> configOf(topicResource("a-none")));
    }

    private void alter(ConfigResource resource, boolean validateOnly, AlterConfigOp... operations) throws Exception {
        get(admin.incrementalAlterConfigs(Map.of(resource, List.of(operations)), new AlterConfigsOptions().validateOnly(validateOnly)).all());
    }

    private static AlterConfigOp op(OpType type, String key, String value) {
        return new AlterConfigOp(new ConfigEntry(key, value), type);
    }

    private void waitForConfig(ConfigResource resource, String key, String value) throws Exception {
        Suite.eventually(() -> Suite.equal(configOf(resource).get(key).value(), value, key));
    }

    private void alterConfigs() throws Exception {
        ConfigResource topic = topicResource(cluster.topic("a-alter", 1));
        alter(topic, false, op(OpType.SET, "retention.ms", "5000"), op(OpType.APPEND, "cleanup.policy", "compact"));
        waitForConfig(topic, "retention.ms", "5000");
        waitForConfig(topic, "cleanup.policy", "delete,compact");
        alter(topic, false, op(OpType.SUBTRACT, "cleanup.policy", "delete"), op(OpType.DELETE, "retention.ms", ""));
        waitForConfig(topic, "cleanup.policy", "compact");
        waitForConfig(topic, "retention.ms", "604800000");
        alter(topic, true, op(OpType.SET, "retention.ms", "7000"));
        waitForConfig(topic, "retention.ms", "604800000");
        Suite.fails(InvalidConfigurationException.class, () -> {
            alter(topic, true, op(OpType.SET, "retention.ms", "soon"));
            return null;
        });
        Suite.fails(InvalidConfigurationException.class, () -> {
            alter(topic, false, op(OpType.APPEND, "retention.ms", "1"));
            return null;
        });
    }

    private void alterBrokerConfigs() throws Exception {
        ConfigResource one = brokerResource("1");
        ConfigResource all = brokerResource("");
        alter(all, false, op(OpType.SET, "log.segment.bytes", "33333333"));
        waitForConfig(one, "log.segment.bytes", "33333333");
        Suite.equal(configOf(one).get("log.segment.bytes").source(), ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
        alter(one, false, op(OpType.SET, "log.segment.bytes", "44444444"));
        waitForConfig(one, "log.segment.bytes", "44444444");
        Suite.equal(configOf(one).get("log.segment.bytes").source(), ConfigSource.DYNAMIC_BROKER_CONFIG);
        waitForConfig(topicResource(cluster.topic("a-inherit", 1)), "segment.bytes", "44444444");
        alter(one, false, op(OpType.DELETE, "log.segment.bytes", ""));
        alter(all, false, op(OpType.DELETE, "log.segment.bytes", ""));
        waitForConfig(one, "log.segment.bytes", "1073741824");
    }

    private void listConfigResources() throws Exception {
        String topic = cluster.topic("a-resources", 1);
        Collection<ConfigResource> found = get(admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC, ConfigResource.Type.BROKER), new org.apache.kafka.clients.admin.ListConfigResourcesOptions()).all());
        Suite.holds(found.containsAll(List.of(topicResource(topic), brokerResource("1"))), "missing in " + found);
    }

    private void fill(String topic, int count) throws Exception {
        try (Producer<byte[], byte[]> producer = cluster.producer()) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, 0, START + i, null, String.valueOf(i).getBytes(StandardCharsets.UTF_8)));
            }
        }
    }

    private void deleteRecords() throws Exception {
        TopicPartition partition = new TopicPartition(cluster.topic("a-records", 1), 0);
        fill(partition.topic(), 10);
        Function<Long, KafkaFuture<org.apache.kafka.clients.admin.DeletedRecords>> delete =
                offset -> admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(offset))).lowWatermarks().get(partition);
        Suite.equal(get(delete.apply(4L)).lowWatermark(), 4L);
        Suite.equal(get(delete.apply(2L)).lowWatermark(), 4L);
        Suite.fails(OffsetOutOfRangeException.class, () -> get(delete.apply(11L)));
        Suite.equal(get(delete.apply(-1L)).lowWatermark(), 10L);
        Suite.equal(offset(partition, OffsetSpec.earliest()), 10L);
    }

    private long offset(TopicPartition partition, OffsetSpec spec) throws Exception {
        return get(admin.listOffsets(Map.of(partition, spec)).partitionResult(partition)).offset();
    }

    private void listOffsets() throws Exception {
        TopicPartition partition = new TopicPartition(cluster.topic("a-offsets", 1), 0);
        Suite.equal(offset(partition, OffsetSpec.maxTimestamp()), -1L);
        fill(partition.topic(), 10);
        Suite.equal(offset(partition, OffsetSpec.earliest()), 0L);
        Suite.equal(offset(partition, OffsetSpec.latest()), 10L);
        Suite.equal(offset(partition, OffsetSpec.maxTimestamp()), 9L);
        Suite.equal(offset(partition, OffsetSpec.forTimestamp(START + 3)), 3L);
        Suite.equal(offset(partition, OffsetSpec.forTimestamp(START + 3_600_000)), -1L);
        Suite.equal(offset(partition, OffsetSpec.earliestLocal()), 0L);
        Suite.equal(offset(partition, OffsetSpec.latestTiered()), -1L);
        Suite.equal(get(admin.listOffsets(Map.of(partition, OffsetSpec.latest())).partitionResult(partition)).leaderEpoch(), Optional.of(0));
    }

    private void logDirs() throws Exception {
        String topic = cluster.topic("a-dirs", 2);
        fill(topic, 10);
        var dirs = get(admin.describeLogDirs(List.of(1)).allDescriptions()).get(1);
        Suite.equal(dirs.size(), 1);
        var dir = dirs.values().iterator().next();
        Suite.equal(dir.error(), null);
        Suite.holds(dir.replicaInfos().get(new TopicPartition(topic, 0)).size() > 0, "a size");
        Suite.equal(dir.replicaInfos().get(new TopicPartition(topic, 1)).size(), 0L);
        Suite.holds(dir.totalBytes().getAsLong() > 0 && dir.usableBytes().getAsLong() > 0, "the volume's sizes");
        TopicPartitionReplica replica = new TopicPartitionReplica(topic, 0, 1);
        Suite.equal(get(admin.describeReplicaLogDirs(List.of(replica)).values().get(replica)).getCurrentReplicaLogDir(), dirs.keySet().iterator().next());
    }

    private void electLeaders() throws Exception {
        TopicPartition partition = new TopicPartition(cluster.topic("a-elect", 1), 0);
        for (ElectionType type : ElectionType.values()) {
            var found = get(admin.electLeaders(type, Set.of(partition)).partitions()).get(partition);
            Suite.holds(found.isPresent() && found.get() instanceof ElectionNotNeededException, type + ": " + found);
        }
        TopicPartition none = new TopicPartition("a-none", 0);
        var found = get(admin.electLeaders(ElectionType.PREFERRED, Set.of(none)).partitions()).get(none);
        Suite.holds(found.isPresent() && found.get() instanceof UnknownTopicOrPartitionException, "for an unknown one: " + found);
    }

    private void describeCluster() throws Exception {
        var described = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true).includeFencedBrokers(true));
        Suite.equal(get(described.clusterId()).length(), 22);
        Suite.equal(get(described.controller()).id(), 1);
        Suite.equal(get(described.nodes()).stream().map(node -> node.id() + " " + node.host() + " " + node.isFenced()).toList(), List.of("1 127.0.0.1 false"));
        Suite.holds(!get(described.authorizedOperations()).isEmpty(), "authorized operations");
    }

    private void features() throws Exception {
        var features = get(admin.describeFeatures().featureMetadata());
        Suite.equal((int) features.finalizedFeatures().get("metadata.version").maxVersionLevel(), 30);
        Suite.holds(features.supportedFeatures().keySet().containsAll(Set.of("group.version", "transaction.version", "share.version", "kraft.version")), "supported features: " + features);
        short level = features.finalizedFeatures().get("group.version").maxVersionLevel();
        var same = Map.of("group.version", new FeatureUpdate(level, UpgradeType.UPGRADE));
        get(admin.updateFeatures(same, new UpdateFeaturesOptions().validateOnly(true)).all());
        var beyond = Map.of("group.version", new FeatureUpdate((short) 99, UpgradeType.UPGRADE));
        Suite.fails(org.apache.kafka.common.errors.InvalidUpdateVersionException.class, () -> get(admin.updateFeatures(beyond, new UpdateFeaturesOptions()).all()));
    }

    private void quorum() throws Exception {
        var quorum = get(admin.describeMetadataQuorum().quorumInfo());
        Suite.equal(quorum.leaderId(), 1);
        Suite.equal(quorum.voters().size(), 1);
        Suite.holds(quorum.highWatermark() > 0, "a high watermark");
        Suite.equal(quorum.voters().get(0).replicaId(), 1);
    }

    private String groupWithOffset(String topic, long offset) throws Exception {
        String group = cluster.name("a-group");
        get(admin.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, 0), Member.at(offset))).all());
        return group;
    }

    private void describeGroups() throws Exception {
        String topic = cluster.topic("a-groups", 2);
        String empty = groupWithOffset(topic, 0);
        String group = cluster.name("a-live");
        try (Member member = new Member(cluster.consumer("group.id", group, "client.id", "somebody"), topic)) {
            Suite.eventually(() -> Suite.equal(member.owned().size(), 2));
            var listed = get(admin.listGroups().all()).stream().collect(Collectors.toMap(g -> g.groupId(), g -> g));
            Suite.equal(listed.get(group).groupState(), Optional.of(GroupState.STABLE));
            Suite.equal(listed.get(group).type(), Optional.of(GroupType.CLASSIC));
            Suite.equal(listed.get(group).protocol(), "consumer");
            Suite.equal(listed.get(empty).groupState(), Optional.of(GroupState.EMPTY));
            var described = get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
            Suite.equal(described.groupState(), GroupState.STABLE);
            Suite.equal(described.coordinator().id(), 1);
            Suite.equal(described.partitionAssignor(), "range");
            var only = described.members().iterator().next();
            Suite.equal(only.clientId(), "somebody");
            Suite.equal(only.host(), "/127.0.0.1");
            Suite.equal(only.assignment().topicPartitions(), new HashSet<>(Cluster.partitions(topic, 2)));
            Suite.equal(get(admin.describeClassicGroups(List.of(group)).all()).get(group).state(), org.apache.kafka.common.ClassicGroupState.STABLE);
            Suite.fails(GroupNotEmptyException.class, () -> get(admin.deleteConsumerGroups(List.of(group)).all()));
            Suite.fails(org.apache.kafka.common.errors.UnknownMemberIdException.class,
                    () -> get(admin.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, 0), Member.at(1))).all()));
            Suite.fails(org.apache.kafka.common.errors.GroupSubscribedToTopicException.class,
                    () -> get(admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic, 0))).partitionResult(new TopicPartition(topic, 0))));
        }
        Suite.fails(GroupIdNotFoundException.class, () -> get(admin.describeConsumerGroups(List.of("a-nobody")).all()));
    }

    private void groupOffsets() throws Exception {
        String topic = cluster.topic("a-goff", 1);
        String other = cluster.topic("a-goff", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        String group = groupWithOffset(topic, 7);
        get(admin.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(other, 0), Member.at(8))).all());
        var offsets = get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
        Suite.equal(offsets, Map.of(partition, Member.at(7), new TopicPartition(other, 0), Member.at(8)));
        get(admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all());
        Suite.equal(get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).keySet(), Set.of(new TopicPartition(other, 0)));
        // The offsets of a deleted topic go with it.
        get(admin.deleteTopics(List.of(other)).all());
        Suite.eventually(() -> Suite.holds(!get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).containsKey(new TopicPartition(other, 0)), "still there"));
        Suite.fails(GroupIdNotFoundException.class, () -> get(admin.deleteConsumerGroupOffsets("a-nobody", Set.of(partition)).all()));
    }

    private void deleteGroups() throws Exception {
        String topic = cluster.topic("a-gdel", 1);
        String group = groupWithOffset(topic, 1);
        get(admin.deleteConsumerGroups(List.of(group)).all());
        Suite.fails(GroupIdNotFoundException.class, () -> get(admin.deleteConsumerGroups(List.of(group)).all()));
        try (Consumer<byte[], byte[]> consumer = cluster.consumer("group.id", group)) {
            TopicPartition partition = new TopicPartition(topic, 0);
            Suite.equal(consumer.committed(Set.of(partition)).get(partition), null);
        }
    }

    private void describeProducers() throws Exception {
        TopicPartition partition = new TopicPartition(cluster.topic("a-producers", 1), 0);
        fill(partition.topic(), 3);
        var producers = get(admin.describeProducers(List.of(partition)).partitionResult(partition)).activeProducers();
        Suite.equal(producers.size(), 1);
        Suite.equal(producers.get(0).producerEpoch(), 0);
        Suite.equal(producers.get(0).lastSequence(), 2);
        Suite.equal(producers.get(0).currentTransactionStartOffset().isPresent(), false);
    }
}
