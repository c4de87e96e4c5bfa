import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Transactions that append to lists, as those who asked for them have lived through them. Times are nanoseconds of one clock. */
final class History {
    enum Outcome {
        COMMITTED,
        ABORTED,
        /** Its worker died, or was told of an error. */
        UNKNOWN
    }

    record Append(String key, String value) {}

    /** `committing`: when the commit was asked for, or else never. `ended`: when its outcome was known, or else never. */
    record Transaction(String id, String producer, long began, long committing, long ended, Outcome outcome, List<Append> appends) {}

    /** All lists as somebody found them who began to read and had read all at these times. */
    record Read(long began, long ended, Map<String, List<String>> lists) {}

    static final long NEVER = Long.MAX_VALUE;

    /** From lines `begin ID PRODUCER TIME KEY=VALUE...`, `committing ID TIME`, `committed ID TIME`, `aborted ID TIME`. */
    static List<Transaction> of(List<String[]> journal) {
        Map<String, Transaction> byId = new LinkedHashMap<>();
        for (String[] line : journal) {
            String id = line[1];
            if (line[0].equals("begin")) {
                List<Append> appends = new ArrayList<>();
                for (int i = 4; i < line.length; i++) {
                    String[] append = line[i].split("=");
                    appends.add(new Append(append[0], append[1]));
                }
                byId.put(id, new Transaction(id, line[2], Long.parseLong(line[3]), NEVER, NEVER, Outcome.UNKNOWN, appends));
                continue;
            }
            long time = Long.parseLong(line[2]);
            byId.computeIfPresent(id, (same, t) -> switch (line[0]) {
                case "committing" -> new Transaction(id, t.producer, t.began, time, t.ended, t.outcome, t.appends);
                case "committed" -> new Transaction(id, t.producer, t.began, t.committing, time, Outcome.COMMITTED, t.appends);
                case "aborted" -> new Transaction(id, t.producer, t.began, t.committing, time, Outcome.ABORTED, t.appends);
                default -> throw new IllegalArgumentException(String.join(" ", line));
            });
        }
        return List.copyOf(byId.values());
    }
}
