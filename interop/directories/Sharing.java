import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.consumer.ShareConsumer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A share group whose records one broker gives out, and the next takes back: accepted, released, rejected, and held without a word. */
final class Sharing implements AutoCloseable {
    private static final String NAME = "sharing";
    private final Clients clients;
    private ShareConsumer<byte[], byte[]> holder;
    private int rounds;

    Sharing(Clients clients) {
        this.clients = clients;
    }

    @Override
    public void close() {
        if (holder != null) {
            holder.close(Duration.ZERO);
        }
    }

    /**
     * Writes five records and takes them, at once with those that the round before has left; says of each what its number asks for, and keeps
     * some without a word. Returns what came, each with its count of deliveries, and how many are left to the group then.
     */
    Object round() throws Exception {
        if (rounds == 0) {
            clients.admin.createTopics(List.of(new NewTopic(NAME, Optional.of(1), Optional.empty()))).all().get();
            set(ConfigResource.Type.GROUP, "share.auto.offset.reset", "earliest");
        }
        rounds++;
        try (Producer<byte[], byte[]> producer = clients.producer()) {
            for (int i = 0; i < 5; i++) {
                producer.send(new ProducerRecord<>(NAME, 0, null, (rounds + "/" + i).getBytes())).get();
            }
        }
        if (holder != null) { // which held its records until the broker ended
            holder.close(Duration.ZERO);
        }
        holder = new KafkaShareConsumer<>(clients.settings("group.id", NAME, "share.acknowledgement.mode", "explicit", "reconnect.backoff.max.ms", 200), new ByteArrayDeserializer(), new ByteArrayDeserializer());
        holder.subscribe(List.of(NAME));
        List<String> came = new ArrayList<>();
        long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (came.isEmpty() && System.nanoTime() < deadline) {
            for (var record : holder.poll(Duration.ofMillis(200))) {
                String value = new String(record.value());
                came.add(value + " for the " + record.deliveryCount().get() + ".");
                says(value, record.deliveryCount().get()).ifPresent(says -> holder.acknowledge(record, says));
            }
        }
        holder.commitSync().forEach((partition, error) -> error.ifPresent(e -> {
            throw e;
        }));
        came.sort(null);
        var offsets = clients.admin.listShareGroupOffsets(Map.of(NAME, new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(NAME).get();
        return Map.of("came", came, "lag", offsets.get(new TopicPartition(NAME, 0)).lag().orElse(-1L));
    }

    /** Nothing of two of this round's records: they are out when the broker ends. */
    private Optional<AcknowledgeType> says(String value, int deliveries) {
        return switch (value.charAt(value.length() - 1)) {
            case '0' -> Optional.of(AcknowledgeType.ACCEPT);
            case '1' -> Optional.of(deliveries == 1 ? AcknowledgeType.RELEASE : AcknowledgeType.ACCEPT);
            case '2' -> Optional.of(AcknowledgeType.REJECT);
            default -> value.startsWith(rounds + "/") ? Optional.empty() : Optional.of(AcknowledgeType.ACCEPT);
        };
    }

    /** Settings that only Ottla knows, of the group and of the topic. */
    Object settings() throws Exception {
        set(ConfigResource.Type.GROUP, "errors.deadletterqueue.topic.name", "dlq." + NAME);
        set(ConfigResource.Type.TOPIC, "errors.deadletterqueue.group.enable", "true");
        return Map.of();
    }

    private void set(ConfigResource.Type type, String key, String value) throws Exception {
        clients.admin.incrementalAlterConfigs(Map.of(new ConfigResource(type, NAME), List.of(new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET)))).all().get();
    }
}
