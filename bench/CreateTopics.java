import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;

/** Creates many topics in few requests: CreateTopics BOOTSTRAP TOPICS PARTITIONS REPLICAS. */
public final class CreateTopics {
    public static void main(String[] arguments) throws Exception {
        int topics = Integer.parseInt(arguments[1]);
        int partitions = Integer.parseInt(arguments[2]);
        short replicas = Short.parseShort(arguments[3]);
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0], "default.api.timeout.ms", "300000", "request.timeout.ms", "300000"))) {
            for (int i = 0; i < topics; i += 20) {
                List<NewTopic> some = new ArrayList<>();
                for (int j = i; j < Math.min(i + 20, topics); j++) {
                    some.add(new NewTopic("many-" + j, partitions, replicas));
                }
                admin.createTopics(some).all().get();
            }
        }
    }
}
