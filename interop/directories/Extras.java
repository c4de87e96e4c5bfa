import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateDelegationTokenOptions;
import org.apache.kafka.clients.admin.FinalizedVersionRange;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListStreamsGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;

/** What a directory may hold that only Apache Kafka acts on yet: it must survive with a broker that does not. */
final class Extras {
    private final Clients clients;
    private final List<Producer<byte[], byte[]>> open = new ArrayList<>();
    /** Delegation tokens are for those that authenticate: alice, with her SCRAM credentials, at another listener. */
    private Admin authenticated;

    Extras(Clients clients) {
        this.clients = clients;
    }

    /** Without a word to the broker. */
    void close() {
        open.forEach(producer -> producer.close(Duration.ZERO));
        if (authenticated != null) {
            authenticated.close(Duration.ZERO);
        }
    }

    /** What the finalized features allow. */
    Object fill(String saslAddress) throws Exception {
        Map<String, FinalizedVersionRange> features = clients.admin.describeFeatures().featureMetadata().get().finalizedFeatures();
        clients.admin.createTopics(List.of(new NewTopic("transactions", 1, (short) 1), new NewTopic("input", 2, (short) 1), new NewTopic("output", 2, (short) 1))).all().get();
        security();
        quotas();
        entityConfigs();
        transactions();
        writeInput();
        if (features.containsKey("group.version")) {
            consumerGroup();
        }
        if (features.containsKey("share.version")) {
            shareGroup();
        }
        if (features.containsKey("streams.version")) {
            streamsGroup();
        }
        if (saslAddress != null) {
            tokens(saslAddress);
        }
        return Map.of();
    }

    private void tokens(String saslAddress) throws Exception {
        authenticated = Admin.create(clients.settings("bootstrap.servers", saslAddress, "security.protocol", "SASL_PLAINTEXT", "sasl.mechanism", "SCRAM-SHA-256", "reconnect.backoff.max.ms", 200,
                "sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"alice\" password=\"secret\";"));
        var options = new CreateDelegationTokenOptions().renewers(List.of(new KafkaPrincipal(KafkaPrincipal.USER_TYPE, "renewer")));
        authenticated.createDelegationToken(options).delegationToken().get();
    }

    private void security() throws Exception {
        List<AclBinding> bindings = new ArrayList<>();
        for (PatternType pattern : List.of(PatternType.LITERAL, PatternType.PREFIXED)) {
            for (AclOperation operation : List.of(AclOperation.READ, AclOperation.WRITE)) {
                bindings.add(new AclBinding(new ResourcePattern(ResourceType.TOPIC, "secret", pattern), new AccessControlEntry("User:alice", "*", operation, AclPermissionType.ALLOW)));
            }
        }
        bindings.add(new AclBinding(new ResourcePattern(ResourceType.GROUP, "g", PatternType.LITERAL), new AccessControlEntry("User:bob", "10.0.0.1", AclOperation.READ, AclPermissionType.DENY)));
        clients.admin.createAcls(bindings).all().get();
        clients.admin.alterUserScramCredentials(List.of(
                new UserScramCredentialUpsertion("alice", new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), "secret"),
                new UserScramCredentialUpsertion("bob", new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 8192), "secret"))).all().get();
    }

    private void quotas() throws Exception {
        clients.admin.alterClientQuotas(List.of(
                new ClientQuotaAlteration(new ClientQuotaEntity(Map.of("user", "alice")), List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1000.0))),
                new ClientQuotaAlteration(new ClientQuotaEntity(Map.of("client-id", "app", "user", "bob")), List.of(new ClientQuotaAlteration.Op("request_percentage", 12.5))),
                new ClientQuotaAlteration(new ClientQuotaEntity(Map.of("ip", "10.1.1.1")), List.of(new ClientQuotaAlteration.Op("connection_creation_rate", 7.0))))).all().get();
    }

    private void entityConfigs() throws Exception {
        set(ConfigResource.Type.CLIENT_METRICS, "subscription", "interval.ms", "5000");
        set(ConfigResource.Type.GROUP, "shared", "share.auto.offset.reset", "earliest");
        set(ConfigResource.Type.GROUP, "modern", "consumer.session.timeout.ms", "50000");
    }

    private void set(ConfigResource.Type type, String name, String key, String value) throws Exception {
        clients.admin.incrementalAlterConfigs(Map.of(new ConfigResource(type, name), List.of(new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET)))).all().get();
    }

    /** One committed, one aborted, and one that stays open. */
    private void transactions() throws Exception {
        for (String end : List.of("committed", "aborted", "open")) {
            Producer<byte[], byte[]> producer = clients.producer("transactional.id", "tx-" + end, "transaction.timeout.ms", 900_000);
            producer.initTransactions();
            producer.beginTransaction();
            for (int i = 0; i < 5; i++) {
                producer.send(new ProducerRecord<>("transactions", (end + i).getBytes())).get();
            }
            switch (end) {
                case "committed" -> producer.commitTransaction();
                case "aborted" -> producer.abortTransaction();
                default -> {
                    open.add(producer); // closing it in good order would abort the transaction
                    continue;
                }
            }
            producer.close();
            Transacting.waitForMarkers(clients, "tx-" + end);
        }
    }

    private void writeInput() throws Exception {
        try (Producer<byte[], byte[]> producer = clients.producer()) {
            for (int i = 0; i < 40; i++) {
                producer.send(new ProducerRecord<>("input", i % 2, null, ("v" + i).getBytes())).get();
            }
        }
    }

    private void consumerGroup() throws Exception {
        try (var member = clients.consumer("group.id", "modern", "group.protocol", "consumer")) {
            member.subscribe(List.of("input"));
            int count = 0;
            while (count < 40) {
                count += member.poll(Duration.ofMillis(200)).count();
            }
            member.commitSync();
        }
    }

    private void shareGroup() throws Exception {
        try (var member = new KafkaShareConsumer<>(clients.settings("group.id", "shared"), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            member.subscribe(List.of("input"));
            int count = 0;
            while (count < 40) {
                count += member.poll(Duration.ofMillis(200)).count();
                member.commitSync();
            }
        }
    }

    private void streamsGroup() throws Exception {
        Properties settings = clients.settings("application.id", "streaming", "group.protocol", "streams", "auto.offset.reset", "earliest", "commit.interval.ms", 100);
        settings.put("default.key.serde", Serdes.ByteArraySerde.class.getName());
        settings.put("default.value.serde", Serdes.ByteArraySerde.class.getName());
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream("input").to("output");
        try (KafkaStreams streams = new KafkaStreams(builder.build(), settings)) {
            streams.start();
            int count = 0;
            try (var reader = clients.consumer("group.id", "reader")) {
                reader.subscribe(List.of("output"));
                while (count < 40) {
                    count += reader.poll(Duration.ofMillis(200)).count();
                }
            }
        }
    }

    /** What Apache Kafka tells about them. */
    Map<String, Object> seen() throws Exception {
        Map<String, Object> seen = new TreeMap<>();
        seen.put("acls", texts(clients.admin.describeAcls(AclBindingFilter.ANY).values().get()));
        seen.put("scram", new TreeMap<>(clients.admin.describeUserScramCredentials().all().get()).toString());
        seen.put("quotas", texts(clients.admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().entrySet()));
        seen.put("subscription", configs(ConfigResource.Type.CLIENT_METRICS, "subscription"));
        seen.put("internal topics", clients.admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get().stream().filter(name -> name.startsWith("__")).sorted().toList());
        if (authenticated != null) {
            // A token's text leaves out its secret part.
            seen.put("tokens", authenticated.describeDelegationToken().delegationTokens().get().stream().map(token -> token + " " + token.hmacAsBase64String()).sorted().toList());
        }
        seen.putAll(coordinated());
        seen.put("offsets of streaming", clients.admin.listGroups().all().get().stream().noneMatch(group -> group.groupId().equals("streaming")) ? "none"
                : texts(clients.admin.listStreamsGroupOffsets(Map.of("streaming", new ListStreamsGroupOffsetsSpec())).partitionsToOffsetAndMetadata("streaming").get().entrySet()));
        return seen;
    }

    /** What either broker tells about groups and transactions. */
    Map<String, Object> coordinated() throws Exception {
        Map<String, Object> seen = new TreeMap<>();
        for (String group : List.of("shared", "modern")) {
            seen.put("configs of " + group, configs(ConfigResource.Type.GROUP, group));
        }
        seen.put("transactions", clients.admin.listTransactions().all().get().stream().map(t -> t.transactionalId() + " " + t.state()).sorted().toList());
        Map<String, String> groups = new TreeMap<>();
        clients.admin.listGroups().all().get().forEach(group -> groups.put(group.groupId(), group.type().get().toString()));
        seen.put("groups", groups);
        for (String group : groups.keySet()) {
            seen.put("offsets of " + group, switch (groups.get(group)) {
                case "Share" -> texts(clients.admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(group).get().entrySet());
                case "Consumer" -> texts(clients.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().entrySet());
                default -> "seen elsewhere";
            });
        }
        return seen;
    }

    private List<String> configs(ConfigResource.Type type, String name) throws Exception {
        var resource = new ConfigResource(type, name);
        return clients.admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().stream()
                .filter(entry -> entry.source() != ConfigEntry.ConfigSource.DEFAULT_CONFIG).map(entry -> entry.name() + "=" + entry.value()).sorted().toList();
    }

    private static List<String> texts(Collection<?> values) {
        return values.stream().map(Object::toString).sorted().toList();
    }

    /** The broker that has the open transaction now ends it; returns how far readers of what is committed get, and the end. */
    Object abortOpen() throws Exception {
        try (Producer<byte[], byte[]> producer = clients.producer("transactional.id", "tx-open")) {
            producer.initTransactions();
        }
        TopicPartition partition = new TopicPartition("transactions", 0);
        Map<String, Long> ends = new TreeMap<>();
        for (IsolationLevel isolation : IsolationLevel.values()) {
            ends.put(isolation.toString(), clients.admin.listOffsets(Map.of(partition, OffsetSpec.latest()), new ListOffsetsOptions(isolation)).partitionResult(partition).get().offset());
        }
        return ends;
    }
}
