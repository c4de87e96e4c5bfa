import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Judges a history of appends to lists, of which each value is appended once at most, in the manner of Elle. What it refuses:
 *
 * - lost: a value of a transaction that was committed is missing in the end;
 * - duplicate, unknown: a value is in a list twice, or nobody has appended it there;
 * - aborted read (G1a): a value of a transaction that was aborted was read;
 * - dirty read: a value was read before its commit was asked for, or is gone in the end;
 * - half a transaction: in the end there is a part of what a transaction has appended;
 * - diverging orders: a list as it was read is no beginning of the list in the end;
 * - going back: a list was read shorter than by a read that had ended before;
 * - write cycle (G0): of two transactions one began after the other was committed, or they have one producer, and the lists have them the other
 *   way round; or the appends of one transaction to one list changed places.
 *
 * What Kafka does not promise is not asked for: transactions of two producers that are open at a time may interleave, in several lists also each
 * way; a read may have one list with a transaction and another without it, and miss what was just committed, because markers follow the answer.
 */
final class AppendChecker {
    private final List<String> wrong = new ArrayList<>();
    private final Map<String, History.Transaction> byValue = new HashMap<>();
    private final List<History.Transaction> transactions;
    private final List<History.Read> reads;
    private final Map<String, List<String>> lists;

    private AppendChecker(List<History.Transaction> transactions, List<History.Read> reads, History.Read last) {
        this.transactions = transactions;
        this.reads = new ArrayList<>(reads);
        this.reads.add(last);
        lists = last.lists();
        for (History.Transaction transaction : transactions) {
            for (History.Append append : transaction.appends()) {
                if (byValue.put(place(append.key(), append.value()), transaction) != null) {
                    throw new IllegalArgumentException(append + " is appended by two transactions");
                }
            }
        }
    }

    /** What is wrong with it. `last` was read when nothing was going on any more. */
    static List<String> check(List<History.Transaction> transactions, List<History.Read> reads, History.Read last) {
        AppendChecker checker = new AppendChecker(transactions, reads, last);
        checker.checkEnd();
        checker.reads.forEach(checker::checkRead);
        checker.checkProgress();
        checker.checkOrder();
        return checker.wrong;
    }

    private static String place(String key, String value) {
        return key + "=" + value;
    }

    private void checkEnd() {
        Set<String> there = new HashSet<>();
        lists.forEach((key, list) -> list.forEach(value -> {
            if (!there.add(place(key, value))) {
                wrong.add("duplicate: " + place(key, value));
            }
        }));
        for (History.Transaction transaction : transactions) {
            List<History.Append> missing = transaction.appends().stream().filter(a -> !there.contains(place(a.key(), a.value()))).toList();
            if (transaction.outcome() == History.Outcome.COMMITTED && !missing.isEmpty()) {
                wrong.add("lost: " + missing + " of " + transaction);
            } else if (!missing.isEmpty() && missing.size() < transaction.appends().size()) {
                wrong.add("half a transaction: without " + missing + ": " + transaction);
            }
        }
    }

    private void checkRead(History.Read read) {
        read.lists().forEach((key, list) -> {
            List<String> whole = lists.getOrDefault(key, List.of());
            if (!isBeginning(list, whole)) {
                boolean isGone = !new HashSet<>(whole).containsAll(list);
                wrong.add((isGone ? "dirty read: gone in the end: " : "diverging orders: ") + key + ": " + list + " of " + whole);
            }
            for (String value : list) {
                History.Transaction transaction = byValue.get(place(key, value));
                if (transaction == null) {
                    wrong.add("unknown: " + place(key, value));
                } else if (transaction.outcome() == History.Outcome.ABORTED) {
                    wrong.add("aborted read: " + place(key, value) + " of " + transaction);
                } else if (read.ended() < transaction.committing()) {
                    wrong.add("dirty read: before the commit: " + place(key, value) + " of " + transaction);
                }
            }
        });
    }

    private static boolean isBeginning(List<String> list, List<String> whole) {
        return list.size() <= whole.size() && whole.subList(0, list.size()).equals(list);
    }

    /** Reads one after the other. Those that were under way at a time need not agree. */
    private void checkProgress() {
        List<History.Read> ends = reads.stream().sorted((a, b) -> Long.compare(a.ended(), b.ended())).toList();
        List<History.Read> begins = reads.stream().sorted((a, b) -> Long.compare(a.began(), b.began())).toList();
        Map<String, Integer> longest = new HashMap<>();
        int ended = 0;
        for (History.Read read : begins) {
            for (; ended < ends.size() && ends.get(ended).ended() < read.began(); ended++) {
                ends.get(ended).lists().forEach((key, list) -> longest.merge(key, list.size(), Math::max));
            }
            longest.forEach((key, size) -> {
                int found = read.lists().getOrDefault(key, List.of()).size();
                if (found < size) {
                    wrong.add("going back: " + key + " has " + found + " after " + size);
                }
            });
        }
    }

    private void checkOrder() {
        lists.forEach((key, list) -> {
            History.Transaction latest = null;
            Map<String, History.Transaction> latestOf = new HashMap<>();
            for (String value : list) {
                History.Transaction transaction = byValue.get(place(key, value));
                if (transaction == null) {
                    continue;
                }
                if (latest != null && transaction.ended() < latest.began()) {
                    wrong.add("write cycle: in " + key + ", " + latest + " is before " + transaction + ", which had been committed");
                }
                History.Transaction before = latestOf.put(transaction.producer(), transaction);
                if (before != null && before.began() > transaction.began()) {
                    wrong.add("write cycle: in " + key + ", " + before + " is before " + transaction + " of the same producer");
                }
                latest = latest == null || latest.began() < transaction.began() ? transaction : latest;
            }
        });
        for (History.Transaction transaction : transactions) {
            Map<String, Integer> last = new HashMap<>();
            for (History.Append append : transaction.appends()) {
                int at = lists.getOrDefault(append.key(), List.of()).indexOf(append.value());
                Integer before = last.put(append.key(), at);
                if (at >= 0 && before != null && before > at) {
                    wrong.add("write cycle: " + append + " changed places in " + transaction);
                }
            }
        }
    }
}
