import java.io.*;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.protocol.*;

/**
 * Reads lines "name, version, hex" and writes them with the bytes that Apache Kafka reads and writes again.
 * `kafka.rs` beside it says how to run it.
 */
public class Rewrite {
    static final String[] PACKAGES = {
        "org.apache.kafka.common.message.", "org.apache.kafka.common.metadata.",
        "org.apache.kafka.coordinator.group.generated.", "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.coordinator.share.generated.", "org.apache.kafka.raft.generated.",
        "org.apache.kafka.server.log.remote.metadata.storage.generated."};

    static Message create(String name) throws Exception {
        for (String prefix : PACKAGES)
            for (String suffix : new String[] {"", "Data"})
                try {
                    Class<?> type = Class.forName(prefix + name + suffix);
                    if (Message.class.isAssignableFrom(type)) return (Message) type.getConstructor().newInstance();
                } catch (ClassNotFoundException e) {
                    // In another package.
                }
        throw new IllegalArgumentException(name);
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String[] cells = line.split("\t", -1);
            short version = Short.parseShort(cells[1]);
            String out;
            try {
                Message message = create(cells[0]);
                ByteBuffer bytes = ByteBuffer.wrap(HexFormat.of().parseHex(cells[2]));
                message.read(new ByteBufferAccessor(bytes), version);
                if (bytes.hasRemaining()) throw new IllegalStateException(bytes.remaining() + " bytes left");
                ObjectSerializationCache cache = new ObjectSerializationCache();
                ByteBuffer written = ByteBuffer.allocate(message.size(cache, version));
                message.write(new ByteBufferAccessor(written), cache, version);
                if (written.hasRemaining()) throw new IllegalStateException("size");
                out = HexFormat.of().formatHex(written.array());
            } catch (Exception e) {
                out = "ERROR " + e;
            }
            System.out.println(cells[0] + "\t" + version + "\t" + out);
        }
    }
}
