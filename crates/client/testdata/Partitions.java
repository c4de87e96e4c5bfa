// What Java's producer makes of keys: `java -cp kafka-clients-4.3.1.jar Partitions.java > partitions.tsv`
import java.util.Random;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

class Partitions {
    public static void main(String[] arguments) {
        System.out.println("key\tmurmur2\tof_1\tof_6\tof_50\tof_1000");
        Random random = new Random(4);
        for (int length = 0; length < 40; length++) {
            for (int time = 0; time < 3; time++) {
                byte[] key = new byte[length];
                random.nextBytes(key);
                StringBuilder line = new StringBuilder();
                for (byte b : key) line.append(String.format("%02x", b));
                line.append("\t").append(Utils.murmur2(key));
                for (int partitions : new int[] {1, 6, 50, 1000})
                    line.append("\t").append(BuiltInPartitioner.partitionForKey(key, partitions));
                System.out.println(line);
            }
        }
    }
}
