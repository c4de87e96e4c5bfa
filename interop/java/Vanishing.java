import java.time.Duration;
import java.util.List;

/** A process that takes records of a share group, says how many, and waits to be killed: arguments BOOTSTRAP GROUP TOPIC. */
public final class Vanishing {
    public static void main(String[] arguments) throws Exception {
        try (Cluster cluster = new Cluster(arguments[0]); var consumer = cluster.shareConsumer("group.id", arguments[1], "share.acknowledgement.mode", "explicit")) {
            consumer.subscribe(List.of(arguments[2]));
            int count = 0;
            while (count == 0) {
                count = consumer.poll(Duration.ofMillis(100)).count();
            }
            System.out.print(count + "\n");
            System.out.flush();
            Thread.sleep(Duration.ofMinutes(10).toMillis());
        }
    }
}
