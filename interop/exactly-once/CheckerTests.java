import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** That the checkers take what is right and refuse what is wrong. */
final class CheckerTests {
    private CheckerTests() {}

    static void addTo(Suite suite) {
        suite.add("appends: what interleaves, is unknown or was aborted is taken", CheckerTests::appendsTaken);
        suite.add("appends: wrong histories are refused", CheckerTests::appendsRefused);
        suite.add("appends: a journal is read as it was written", CheckerTests::journal);
        suite.add("bank: what is whole is taken", CheckerTests::bankTaken);
        suite.add("bank: wrong ends are refused", CheckerTests::bankRefused);
        suite.add("bank: a snapshot with half of an earlier transfer is refused", CheckerTests::snapshots);
        suite.add("bank: what compaction must not leave or take is refused", CheckerTests::latest);
        suite.add("fed: what was committed once, what was aborted never", CheckerTests::fed);
        suite.add("copies: each once and nothing else", CheckerTests::copies);
        suite.add("counts: each number once", CheckerTests::counts);
    }

    /** The findings begin with these words, one of each. */
    private static void finds(List<String> wrong, String... beginnings) {
        Suite.equal(wrong.size(), beginnings.length, wrong.toString());
        for (int i = 0; i < beginnings.length; i++) {
            Suite.holds(wrong.get(i).startsWith(beginnings[i]), wrong.get(i) + " is not " + beginnings[i]);
        }
    }

    private static History.Transaction transaction(String id, long began, long ended, History.Outcome outcome, String... appends) {
        List<History.Append> all = Arrays.stream(appends).map(append -> new History.Append(append.substring(0, 1), append)).toList();
        long committing = outcome == History.Outcome.ABORTED ? History.NEVER : ended - 1;
        long known = outcome == History.Outcome.UNKNOWN ? History.NEVER : ended;
        return new History.Transaction(id, "producer-" + id.charAt(0), began, committing, known, outcome, all);
    }

    private static History.Transaction committed(String id, long began, long ended, String... appends) {
        return transaction(id, began, ended, History.Outcome.COMMITTED, appends);
    }

    private static History.Read read(long began, long ended, String... values) {
        Map<String, List<String>> lists = new LinkedHashMap<>();
        for (String value : values) {
            lists.computeIfAbsent(value.substring(0, 1), key -> new ArrayList<>()).add(value);
        }
        return new History.Read(began, ended, lists);
    }

    private static void appendsTaken() {
        finds(AppendChecker.check(List.of(), List.of(), read(1, 2)));
        List<History.Transaction> history = List.of(
                committed("a1", 10, 20, "x1", "y1"), committed("b1", 11, 21, "y2", "x2"),
                transaction("a2", 30, 40, History.Outcome.ABORTED, "x3"),
                transaction("b2", 31, 41, History.Outcome.UNKNOWN, "x4", "y4"), transaction("a3", 50, 60, History.Outcome.UNKNOWN, "x5"));
        // Two that are open at a time, each way; one of unknown outcome whole, the other not at all.
        finds(AppendChecker.check(history, List.of(read(19, 22, "x1"), read(20, 23, "y2")), read(90, 99, "x1", "x2", "x4", "y2", "y1", "y4")));
    }

    private static void appendsRefused() {
        List<History.Transaction> two = List.of(committed("a1", 10, 20, "x1", "y1"), committed("b1", 30, 40, "x2"));
        History.Read right = read(90, 99, "x1", "x2", "y1");
        finds(AppendChecker.check(two, List.of(), right));
        finds(AppendChecker.check(two, List.of(), read(90, 99, "x1", "y1")), "lost: ");
        finds(AppendChecker.check(two, List.of(), read(90, 99, "x1", "x2", "y1", "y1")), "duplicate: ");
        finds(AppendChecker.check(two, List.of(), read(90, 99, "x1", "x2", "x9", "y1")), "unknown: ");
        finds(AppendChecker.check(two, List.of(), read(90, 99, "x2", "x1", "y1")), "write cycle: ");
        finds(AppendChecker.check(two, List.of(read(50, 60, "x2")), right), "diverging orders: ");
        finds(AppendChecker.check(two, List.of(read(50, 60, "x1", "x9")), right), "dirty read: gone in the end", "unknown: ");
        finds(AppendChecker.check(two, List.of(read(31, 35, "x1", "x2")), right), "dirty read: before the commit");
        finds(AppendChecker.check(two, List.of(read(50, 60, "x1", "x2"), read(61, 70, "x1")), right), "going back: ");
        finds(AppendChecker.check(two, List.of(read(50, 62, "x1", "x2"), read(61, 70, "x1")), right));
        List<History.Transaction> unknown = List.of(transaction("a1", 10, 20, History.Outcome.UNKNOWN, "x1", "y1"));
        finds(AppendChecker.check(unknown, List.of(), read(90, 99, "x1")), "half a transaction: ");
        List<History.Transaction> aborted = List.of(transaction("a1", 10, 20, History.Outcome.ABORTED, "x1"));
        finds(AppendChecker.check(aborted, List.of(), read(90, 99, "x1")), "aborted read: ");
        finds(AppendChecker.check(aborted, List.of(read(30, 40, "x1")), read(90, 99)), "dirty read: gone in the end", "aborted read: ", "going back: ");
        List<History.Transaction> overlapping = List.of(committed("a1", 10, 30, "x1"), committed("a2", 20, 40, "x2"));
        finds(AppendChecker.check(overlapping, List.of(), read(90, 99, "x2", "x1")), "write cycle: ");
        List<History.Transaction> twice = List.of(committed("a1", 10, 20, "x1", "x2"));
        finds(AppendChecker.check(twice, List.of(), read(90, 99, "x2", "x1")), "write cycle: ");
    }

    private static void journal() {
        List<String[]> lines = List.of("begin a1 a 5 x=1 y=2", "committing a1 6", "begin a2 a 9 x=3", "committed a1 8", "aborted a2 10", "begin a3 a 11 x=4")
                .stream().map(line -> line.split(" ")).toList();
        List<History.Transaction> history = History.of(lines);
        Suite.equal(history.get(0), new History.Transaction("a1", "a", 5, 6, 8, History.Outcome.COMMITTED, List.of(new History.Append("x", "1"), new History.Append("y", "2"))));
        Suite.equal(history.get(1), new History.Transaction("a2", "a", 9, History.NEVER, 10, History.Outcome.ABORTED, List.of(new History.Append("x", "3"))));
        Suite.equal(history.get(2).outcome(), History.Outcome.UNKNOWN);
    }

    private static Bank.Snapshot bank(String ledger, String balances) {
        return new Bank.Snapshot(lines(ledger).map(Bank.Transfer::parse).toList(), lines(balances).map(Bank.Balance::parse).toList());
    }

    private static Stream<String> lines(String text) {
        return Arrays.stream(text.split(",")).filter(line -> !line.isEmpty());
    }

    private static void bankTaken() {
        finds(Bank.checkEnd(bank("", ""), Map.of()));
        finds(Bank.checkEnd(bank("2 b 1 0 30,1 a 0 1 100", "1 1 200,2 0 30,1 0 0,2 1 170"), Map.of("a", true, "c", false)));
    }

    private static void bankRefused() {
        finds(Bank.checkEnd(bank("1 a 0 1 100", "1 0 0,1 1 200"), Map.of("b", true)), "lost: b");
        finds(Bank.checkEnd(bank("1 a 0 1 100", "1 0 0,1 1 200"), Map.of("a", false)), "aborted: ");
        finds(Bank.checkEnd(bank("1 a 0 1 101", "1 0 -1,1 1 201"), Map.of()), "negative: ");
        finds(Bank.checkEnd(bank("1 a 0 1 5", "1 0 95"), Map.of()), "half: ");
        finds(Bank.checkEnd(bank("1 a 0 1 5", "1 0 95,1 1 106"), Map.of()), "account 1 should have 105");
        finds(Bank.checkEnd(bank("2 a 0 1 5", "2 0 95,2 1 105"), Map.of()), "without transfer 1");
        finds(Bank.checkEnd(bank("1 a 0 1 5,2 a 0 1 5", "1 0 95,1 1 105,2 0 90,2 1 110"), Map.of()), "twice: ");
        finds(Bank.checkEnd(bank("1 a 0 1 5,1 b 0 1 5", "1 0 95,1 1 105"), Map.of()), "a number twice: ");
        finds(Bank.checkEnd(bank("1 a 0 1 5", "1 0 95,1 1 105,1 1 105"), Map.of()), "a balance twice: ");
        finds(Bank.checkEnd(bank("1 a 0 1 5", "1 0 95,1 1 105,2 1 7"), Map.of()), "a balance without a transfer: ");
    }

    private static void snapshots() {
        Bank.Snapshot first = bank("1 a 0 1 5", "1 0 95,2 1 110");
        finds(Bank.checkSnapshot(first, bank("1 a 0 1 5", "1 0 95,1 1 105,2 1 110")));
        finds(Bank.checkSnapshot(first, bank("1 a 0 1 5", "1 0 95,2 1 110")), "half: ");
        finds(Bank.checkSnapshot(first, bank("", "1 0 95,1 1 105,2 1 110")), "without transfer 1 of 1");
        finds(Bank.checkSnapshot(bank("", ""), bank("", "")));
    }

    private static void latest() {
        List<Bank.Balance> all = bank("", "1 0 95,1 1 105,2 0 90,2 1 110").balances();
        finds(Bank.checkLatest(bank("", "1 1 105,2 0 90,2 1 110").balances(), all));
        finds(Bank.checkLatest(bank("", "2 0 90,2 1 110,3 1 7").balances(), all), "not committed: ", "the last ones are ");
        finds(Bank.checkLatest(bank("", "1 0 95,2 1 110").balances(), all), "the last ones are ");
    }

    private static void fed() {
        Map<String, Boolean> outcomes = Map.of("yes-1", true, "no-2", false);
        finds(Copies.checkFed(List.of("yes-1", "yes-3"), outcomes));
        finds(Copies.checkFed(List.of(), outcomes), "lost: ");
        finds(Copies.checkFed(List.of("yes-1", "yes-1"), outcomes), "twice: ");
        finds(Copies.checkFed(List.of("yes-1", "no-2"), outcomes), "aborted: ");
    }

    private static void copies() {
        List<String> wanted = List.of(Copies.copyOf(0, 3, "yes-1"), Copies.copyOf(1, 0, "yes-2"));
        Map<Integer, Long> positions = Map.of(0, 4L, 1, 1L);
        finds(Copies.check(wanted, List.of("1:0:yes-2", "0:3:yes-1"), positions, positions));
        finds(Copies.check(wanted, List.of("1:0:yes-2"), positions, positions), "lost: ");
        finds(Copies.check(wanted, List.of("1:0:yes-2", "1:0:yes-2", "0:3:yes-1"), positions, positions), "twice: ");
        finds(Copies.check(wanted, List.of("1:0:yes-2", "0:3:yes-1", "0:5:no-1"), positions, positions), "aborted: ");
        finds(Copies.check(wanted, List.of("1:0:yes-2", "0:3:yes-1", "0:5:yes-7"), positions, positions), "not to be copied: ");
        finds(Copies.check(wanted, wanted, positions, Map.of(0, 3L, 1, 1L)), "the group stands at ");
    }

    private static void counts() {
        List<String> lines = List.of("a b", "a");
        finds(Copies.checkCounts(lines, Map.of("a", List.of(1L, 2L), "b", List.of(1L))));
        finds(Copies.checkCounts(lines, Map.of("a", List.of(1L), "b", List.of(1L))), "a is counted 1 times and not 2");
        finds(Copies.checkCounts(lines, Map.of("a", List.of(1L, 1L), "b", List.of(1L))), "a is counted 1 after 1");
        finds(Copies.checkCounts(lines, Map.of("a", List.of(2L, 1L), "b", List.of(1L))), "a is counted 2 after 0");
        finds(Copies.checkCounts(lines, Map.of("a", List.of(1L, 2L), "b", List.of(1L), "c", List.of(1L))), "c is counted 1 times and not 0");
    }
}
