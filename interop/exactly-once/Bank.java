import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * A bank whose accounts lie over several partitions. Every transfer is one transaction: a record of the ledger, and the new balances of two
 * accounts. Bankers take turns, each shutting the others out by the transactional id that all of them have, so that transfers are numbered without
 * gaps; one who wrote after he was shut out would give a number twice, or a balance that is not what went before.
 */
final class Bank {
    static final int ACCOUNTS = 7;
    static final int OPENING_BALANCE = 100;

    private Bank() {}

    record Transfer(int number, String id, int from, int to, int amount) {
        static Transfer parse(String text) {
            String[] words = text.split(" ");
            return new Transfer(Integer.parseInt(words[0]), words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]), Integer.parseInt(words[4]));
        }

        @Override
        public String toString() {
            return number + " " + id + " " + from + " " + to + " " + amount;
        }
    }

    /** What an account had after the transfer of this number. */
    record Balance(int number, int account, int balance) {
        static Balance parse(String text) {
            String[] words = text.split(" ");
            return new Balance(Integer.parseInt(words[0]), Integer.parseInt(words[1]), Integer.parseInt(words[2]));
        }

        @Override
        public String toString() {
            return number + " " + account + " " + balance;
        }
    }

    /** What was committed when somebody looked, without order. */
    record Snapshot(List<Transfer> ledger, List<Balance> balances) {}

    /**
     * What is wrong with what two looks one after the other found: what followed a transfer in any partition at the first look is not to be had
     * without the whole of the transfer, in every partition, at the second. Up to there, the money is all there and nobody has less than nothing.
     */
    static List<String> checkSnapshot(Snapshot first, Snapshot second) {
        int last = 0;
        for (Transfer transfer : first.ledger) {
            last = Math.max(last, transfer.number);
        }
        for (Balance balance : first.balances) {
            last = Math.max(last, balance.number);
        }
        // The last one itself need not be whole yet: one partition has its marker before another.
        return check(second, last - 1, false);
    }

    /** What is wrong with what is there when nothing goes on any more. `outcomes`: of transfers by id, whether they were committed. */
    static List<String> checkEnd(Snapshot end, Map<String, Boolean> outcomes) {
        int last = end.ledger.stream().mapToInt(Transfer::number).max().orElse(0);
        List<String> wrong = check(end, last, true);
        Set<String> ids = new HashSet<>();
        for (Transfer transfer : end.ledger) {
            if (!ids.add(transfer.id)) {
                wrong.add("twice: " + transfer);
            }
            if (Boolean.FALSE.equals(outcomes.get(transfer.id))) {
                wrong.add("aborted: " + transfer);
            }
        }
        outcomes.forEach((id, isCommitted) -> {
            if (isCommitted && !ids.contains(id)) {
                wrong.add("lost: " + id);
            }
        });
        return wrong;
    }

    private static List<String> check(Snapshot snapshot, int last, boolean isAll) {
        List<String> wrong = new ArrayList<>();
        Map<Integer, Transfer> ledger = new TreeMap<>();
        for (Transfer transfer : snapshot.ledger) {
            if ((isAll || transfer.number <= last) && ledger.put(transfer.number, transfer) != null) {
                wrong.add("a number twice: " + transfer);
            }
        }
        Map<List<Integer>, Integer> told = new HashMap<>();
        for (Balance balance : snapshot.balances) {
            if ((isAll || balance.number <= last) && told.put(List.of(balance.number, balance.account), balance.balance) != null) {
                wrong.add("a balance twice: " + balance);
            }
        }
        int[] balances = openingBalances();
        for (int number = 1; number <= last; number++) {
            Transfer transfer = ledger.get(number);
            if (transfer == null) {
                wrong.add("without transfer " + number + " of " + last);
                return wrong;
            }
            balances[transfer.from] -= transfer.amount;
            balances[transfer.to] += transfer.amount;
            for (int account : new int[] {transfer.from, transfer.to}) {
                Integer balance = told.remove(List.of(number, account));
                if (balance == null) {
                    wrong.add("half: without the balance of " + account + ": " + transfer);
                } else if (balance != balances[account]) {
                    wrong.add("account " + account + " should have " + balances[account] + " but has " + balance + " after " + transfer);
                }
                if (balances[account] < 0) {
                    wrong.add("negative: " + account + " after " + transfer);
                }
            }
            int total = 0;
            for (int balance : balances) {
                total += balance;
            }
            if (total != ACCOUNTS * OPENING_BALANCE) {
                wrong.add("the total is " + total + " after " + transfer);
            }
        }
        told.keySet().forEach(key -> wrong.add("a balance without a transfer: " + key));
        return wrong;
    }

    /** What is wrong with the balances that compaction has left, next to all of them. */
    static List<String> checkLatest(List<Balance> latest, List<Balance> all) {
        List<String> wrong = new ArrayList<>();
        Set<Balance> known = new HashSet<>(all);
        latest.stream().filter(balance -> !known.contains(balance)).forEach(balance -> wrong.add("not committed: " + balance));
        Map<Integer, Balance> expected = last(all);
        Map<Integer, Balance> found = last(latest);
        if (!found.equals(expected)) {
            wrong.add("the last ones are " + found + " and not " + expected);
        }
        return wrong;
    }

    static Map<Integer, Balance> last(List<Balance> balances) {
        Map<Integer, Balance> last = new TreeMap<>();
        for (Balance balance : balances) {
            last.merge(balance.account, balance, (a, b) -> a.number > b.number ? a : b);
        }
        return last;
    }

    static int[] openingBalances() {
        int[] balances = new int[ACCOUNTS];
        Arrays.fill(balances, OPENING_BALANCE);
        return balances;
    }
}
