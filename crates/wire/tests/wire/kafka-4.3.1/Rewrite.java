import java.io.*;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.protocol.*;

/**
 * Reads lines "name, version to read at, version to write at, hex" and writes them with the bytes that Apache Kafka
 * writes, or "refused".
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

    static String write(Message message, short version) {
        try {
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer written = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(written), cache, version);
            if (written.hasRemaining()) throw new AssertionError(message + ": size is wrong");
            return HexFormat.of().formatHex(written.array());
        } catch (RuntimeException e) {
            return "refused";
        }
    }

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String[] cells = line.split("\t", -1);
            short from = Short.parseShort(cells[1]);
            short to = Short.parseShort(cells[2]);
            Message message = create(cells[0]);
            ByteBuffer bytes = ByteBuffer.wrap(HexFormat.of().parseHex(cells[3]));
            message.read(new ByteBufferAccessor(bytes), from);
            if (bytes.hasRemaining()) throw new IllegalStateException(line + ": bytes are left");
            System.out.println(String.join("\t", cells[0], cells[1], cells[2], write(message, to)));
        }
    }
}
