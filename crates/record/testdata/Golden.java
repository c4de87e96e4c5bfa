// Writes batches with Apache Kafka's own builders, and checks batches that Ottla built. See README.md.

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.KRaftVersionRecord;
import org.apache.kafka.common.message.LeaderChangeMessage;
import org.apache.kafka.common.message.LeaderChangeMessage.Voter;
import org.apache.kafka.common.message.SnapshotFooterRecord;
import org.apache.kafka.common.message.SnapshotHeaderRecord;
import org.apache.kafka.common.message.VotersRecord;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

public class Golden {
    static final long BASE_OFFSET = 1000;
    static final long TIME = 1_600_000_000_000L;
    static final long APPEND_TIME = 1_700_000_000_000L;
    static final int SMALL = 20;
    static final int LARGE = 3;

    public static void main(String[] args) throws IOException {
        Path dir = Path.of(args[1]);
        switch (args[0]) {
            case "write" -> write(dir);
            case "check" -> check(dir);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    // The records that every file without another name holds; tests/golden.rs makes the same.

    static long timestamp(int i) {
        return TIME + 1000L * i - 5000L * (i % 3);
    }

    static byte[] key(int i) {
        return i % 4 == 1 ? null : ("key-" + i).getBytes(StandardCharsets.UTF_8);
    }

    static byte[] value(int i, boolean large) {
        if (large) {
            byte[] value = new byte[100_000];
            for (int k = 0; k < value.length; k++)
                value[k] = (byte) (k / 50 * (i + 1));
            return value;
        }
        return i % 5 == 2 ? null : ("value-" + i + " ").repeat(3 * i).getBytes(StandardCharsets.UTF_8);
    }

    static Header[] headers(int i) {
        Header[] headers = new Header[i % 3];
        for (int j = 0; j < headers.length; j++)
            headers[j] = new RecordHeader("h" + j, j == 1 ? null : "x".repeat(i).getBytes(StandardCharsets.UTF_8));
        return headers;
    }

    static void write(Path dir) throws IOException {
        Files.createDirectories(dir);
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            Compression compression = Compression.of(codec).build();
            save(dir, "v2-" + codec, plain((byte) 2, compression, TimestampType.CREATE_TIME, SMALL, false));
            if (!codec.equals("none"))
                save(dir, "v2-large-" + codec, plain((byte) 2, compression, TimestampType.CREATE_TIME, LARGE, true));
            if (!codec.equals("zstd")) {
                save(dir, "v0-" + codec, plain((byte) 0, compression, TimestampType.NO_TIMESTAMP_TYPE, SMALL, false));
                save(dir, "v1-" + codec, plain((byte) 1, compression, TimestampType.CREATE_TIME, SMALL, false));
                save(dir, "v1-append-time-" + codec,
                    plain((byte) 1, compression, TimestampType.LOG_APPEND_TIME, SMALL, false));
            }
        }
        for (int level : new int[] {1, 9})
            save(dir, "v2-gzip-" + level, level(Compression.gzip().level(level).build()));
        for (int level : new int[] {1, 3, 12, 17})
            save(dir, "v2-lz4-" + level, level(Compression.lz4().level(level).build()));
        for (int level : new int[] {-131072, -5, 1, 22})
            save(dir, "v2-zstd-" + level, level(Compression.zstd().level(level).build()));
        save(dir, "v2-append-time", plain((byte) 2, Compression.NONE, TimestampType.LOG_APPEND_TIME, SMALL, false));
        save(dir, "v2-transactional", transactional());
        save(dir, "v2-delete-horizon", deleteHorizon());
        save(dir, "v2-empty", empty());
        save(dir, "v2-commit", marker(ControlRecordType.COMMIT));
        save(dir, "v2-abort", marker(ControlRecordType.ABORT));
        kraft(dir);
    }

    static MemoryRecords level(Compression compression) {
        return plain((byte) 2, compression, TimestampType.CREATE_TIME, SMALL, false);
    }

    static MemoryRecords plain(byte magic, Compression compression, TimestampType type, int count, boolean large) {
        MemoryRecordsBuilder builder =
            MemoryRecords.builder(ByteBuffer.allocate(1024), magic, compression, type, BASE_OFFSET, APPEND_TIME, 4);
        return fill(builder, magic, count, large);
    }

    static MemoryRecords fill(MemoryRecordsBuilder builder, byte magic, int count, boolean large) {
        for (int i = 0; i < count; i++) {
            Header[] headers = magic == 2 ? headers(i) : Record.EMPTY_HEADERS;
            builder.append(magic == 0 ? RecordBatch.NO_TIMESTAMP : timestamp(i), key(i), value(i, large), headers);
        }
        return builder.build();
    }

    static MemoryRecords transactional() {
        return fill(MemoryRecords.builder(ByteBuffer.allocate(1024), (byte) 2, Compression.NONE,
            TimestampType.CREATE_TIME, BASE_OFFSET, APPEND_TIME, 77L, (short) 5, Integer.MAX_VALUE - 3, true, 4),
            (byte) 2, SMALL, false);
    }

    static MemoryRecords deleteHorizon() {
        MemoryRecordsBuilder builder = new MemoryRecordsBuilder(
            new ByteBufferOutputStream(1024), (byte) 2, Compression.NONE, TimestampType.CREATE_TIME,
            BASE_OFFSET, RecordBatch.NO_TIMESTAMP, RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH,
            RecordBatch.NO_SEQUENCE, false, false, 4, 1024, APPEND_TIME);
        return fill(builder, (byte) 2, SMALL, false);
    }

    static MemoryRecords empty() {
        ByteBuffer buffer = ByteBuffer.allocate(DefaultRecordBatch.RECORD_BATCH_OVERHEAD);
        DefaultRecordBatch.writeEmptyHeader(buffer, (byte) 2, 77L, (short) 5, 10, BASE_OFFSET, BASE_OFFSET + 9, 4,
            TimestampType.CREATE_TIME, TIME, true, false);
        buffer.flip();
        return MemoryRecords.readableRecords(buffer);
    }

    static MemoryRecords marker(ControlRecordType type) {
        return MemoryRecords.withEndTransactionMarker(
            BASE_OFFSET, TIME, 4, 77L, (short) 5, new EndTransactionMarker(type, 12));
    }

    static void kraft(Path dir) throws IOException {
        LeaderChangeMessage leader = new LeaderChangeMessage()
            .setLeaderId(3)
            .setVoters(List.of(new Voter().setVoterId(3)))
            .setGrantingVoters(List.of(new Voter().setVoterId(3)));
        save(dir, "v2-leader-change",
            MemoryRecords.withLeaderChangeMessage(BASE_OFFSET, TIME, 4, ByteBuffer.allocate(256), leader));
        save(dir, "v2-snapshot-header",
            MemoryRecords.withSnapshotHeaderRecord(BASE_OFFSET, TIME, 4, ByteBuffer.allocate(256),
                new SnapshotHeaderRecord().setLastContainedLogTimestamp(TIME)));
        save(dir, "v2-snapshot-footer",
            MemoryRecords.withSnapshotFooterRecord(BASE_OFFSET, TIME, 4, ByteBuffer.allocate(256),
                new SnapshotFooterRecord()));
        save(dir, "v2-kraft-version",
            MemoryRecords.withKRaftVersionRecord(BASE_OFFSET, TIME, 4, ByteBuffer.allocate(256),
                new KRaftVersionRecord().setKRaftVersion((short) 1)));
        VotersRecord.Voter voter = new VotersRecord.Voter().setVoterId(3).setVoterDirectoryId(Uuid.ONE_UUID);
        save(dir, "v2-kraft-voters",
            MemoryRecords.withVotersRecord(BASE_OFFSET, TIME, 4, ByteBuffer.allocate(256),
                new VotersRecord().setVoters(List.of(voter))));
    }

    static void save(Path dir, String name, MemoryRecords records) throws IOException {
        ByteBuffer buffer = records.buffer().duplicate();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        Files.write(dir.resolve(name + ".bin"), bytes);
    }

    /** Reads files that `cargo run --example write_batches` wrote; the name says how many records are expected. */
    static void check(Path dir) throws IOException {
        int files = 0;
        try (DirectoryStream<Path> paths = Files.newDirectoryStream(dir, "*.bin")) {
            for (Path path : paths) {
                checkFile(path);
                files++;
            }
        }
        System.out.println(files + " files are as expected");
    }

    static void checkFile(Path path) throws IOException {
        boolean large = path.getFileName().toString().contains("large");
        int i = 0;
        for (RecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(path))).batches()) {
            batch.ensureValid();
            for (Record record : batch) {
                boolean same = record.offset() == BASE_OFFSET + i
                    && record.timestamp() == timestamp(i)
                    && Arrays.equals(bytes(record.key()), key(i))
                    && Arrays.equals(bytes(record.value()), value(i, large))
                    && Arrays.equals(record.headers(), headers(i));
                if (!same)
                    throw new AssertionError(path + ": record " + i + " is " + record);
                i++;
            }
        }
        if (i != (large ? LARGE : SMALL))
            throw new AssertionError(path + " has " + i + " records");
    }

    static byte[] bytes(ByteBuffer buffer) {
        if (buffer == null)
            return null;
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return bytes;
    }
}
