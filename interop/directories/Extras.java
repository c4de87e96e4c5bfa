import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
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
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;

/** What a directory may hold that only Apache Kafka acts on yet: it must survive with a broker that does not. */
final class Extras {
    private final Clients clients;
    private final List<Producer<byte[], byte[]>> open = new ArrayList<>();

    Extras(Clients clients) {
        this.clients = clients;
    }

    Object fill() throws Exception {
        clients.admin.createTopics(List.of(new NewTopic("transactions", 1, (short) 1), new NewTopic("input", 2, (short) 1), new NewTopic("output", 2, (short) 1))).all().get();
        security();
        quotas();
        entityConfigs();
        transactions();
        consumerGroup();
        shareGroup();
        streamsGroup();
        return Map.of();
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
            Producer<byte[], byte[]> producer = clients.producer("transactional.id", "tx-" + end, "transaction.timeout.ms", 600_000);
            producer.initTransactions();
            producer.beginTransaction();
            for (int i = 0; i < 5; i++) {
                producer.send(new ProducerRecord<>("transactions", (end + i).getBytes())).get();
            }
            switch (end) {
                case "committed" -> producer.commitTransaction();
                case "aborted" -> producer.abortTransaction();
                default -> {
                    open.add(producer); // closing it would abort the transaction
                    continue;
                }
            }
            producer.close();
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
        writeInput();
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
        seen.put("acls", clients.admin.describeAcls(AclBindingFilter.ANY).values().get().stream().map(Object::toString).sorted().toList());
        seen.put("scram", new TreeMap<>(clients.admin.describeUserScramCredentials().all().get()).toString());
        seen.put("quotas", clients.admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().entrySet().stream().map(Object::toString).sorted().toList());
        for (var resource : List.of(new ConfigResource(ConfigResource.Type.CLIENT_METRICS, "subscription"), new ConfigResource(ConfigResource.Type.GROUP, "shared"), new ConfigResource(ConfigResource.Type.GROUP, "modern"))) {
            seen.put(resource.toString(), clients.admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().stream()
                    .filter(entry -> entry.source() != ConfigEntry.ConfigSource.DEFAULT_CONFIG).map(entry -> entry.name() + "=" + entry.value()).sorted().toList());
        }
        seen.put("groups", clients.admin.listGroups().all().get().stream().map(group -> group.groupId() + " " + group.type().get()).sorted().toList());
        seen.put("transactions", clients.admin.listTransactions().all().get().stream().map(t -> t.transactionalId() + " " + t.state()).sorted().toList());
        seen.put("modern", offsets(() -> clients.admin.listConsumerGroupOffsets("modern").partitionsToOffsetAndMetadata().get()));
        seen.put("streaming", offsets(() -> clients.admin.listStreamsGroupOffsets(Map.of("streaming", new org.apache.kafka.clients.admin.ListStreamsGroupOffsetsSpec())).partitionsToOffsetAndMetadata("streaming").get()));
        seen.put("shared", offsets(() -> clients.admin.listShareGroupOffsets(Map.of("shared", new org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec())).partitionsToOffsetInfo("shared").get()));
        seen.put("internal topics", clients.admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get().stream().filter(name -> name.startsWith("__")).sorted().toList());
        return seen;
    }

    private static List<String> offsets(Callable<? extends Map<?, ?>> ask) throws Exception {
        return ask.call().entrySet().stream().map(Object::toString).sorted().collect(Collectors.toList());
    }
}
