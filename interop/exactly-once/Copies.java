import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What was consumed, transformed and produced: records that were copied, and words that were counted. */
final class Copies {
    /** What a copy says of where it comes from. */
    static String copyOf(int partition, long offset, String value) {
        return partition + ":" + offset + ":" + value;
    }

    /** What is fed to be copied is named by whether it will be committed. */
    static final String COMMITTED = "yes";
    static final String ABORTED = "no";

    private Copies() {}

    /** What is wrong with what was fed. `outcomes`: of what is known, whether it was committed. */
    static List<String> checkFed(List<String> found, Map<String, Boolean> outcomes) {
        List<String> wrong = new ArrayList<>();
        Set<String> there = new HashSet<>();
        for (String value : found) {
            if (value.startsWith(ABORTED)) {
                wrong.add("aborted: " + value);
            }
            if (!there.add(value)) {
                wrong.add("twice: " + value);
            }
        }
        outcomes.forEach((value, isCommitted) -> {
            if (isCommitted && !there.contains(value)) {
                wrong.add("lost: " + value);
            }
        });
        return wrong;
    }

    /**
     * What is wrong with copies: one of each that was to be copied, none besides, and the group stands behind the last of each partition.
     * `wanted`: copies as they should be, by partition and in order. `positions`: where the group should stand.
     */
    static List<String> check(List<String> wanted, List<String> found, Map<Integer, Long> positions, Map<Integer, Long> committed) {
        List<String> wrong = new ArrayList<>();
        Set<String> there = new HashSet<>();
        Set<String> known = new HashSet<>(wanted);
        for (String copy : found) {
            if (copy.contains(":" + ABORTED + "-")) {
                wrong.add("aborted: " + copy);
            } else if (!known.contains(copy)) {
                wrong.add("not to be copied: " + copy);
            }
            if (!there.add(copy)) {
                wrong.add("twice: " + copy);
            }
        }
        wanted.stream().filter(copy -> !there.contains(copy)).forEach(copy -> wrong.add("lost: " + copy));
        if (!positions.equals(committed)) {
            wrong.add("the group stands at " + committed + " and not at " + positions);
        }
        return wrong;
    }

    /** What is wrong with the counts that were told of each word, in order: each number once, up to how often the word is in the lines. */
    static List<String> checkCounts(List<String> lines, Map<String, List<Long>> counts) {
        List<String> wrong = new ArrayList<>();
        Map<String, Long> expected = new HashMap<>();
        for (String line : lines) {
            for (String word : line.split(" ")) {
                expected.merge(word, 1L, Long::sum);
            }
        }
        Set<String> words = new HashSet<>(expected.keySet());
        words.addAll(counts.keySet());
        for (String word : words) {
            List<Long> told = counts.getOrDefault(word, List.of());
            long count = expected.getOrDefault(word, 0L);
            for (int i = 0; i < told.size(); i++) {
                if (told.get(i) != i + 1) {
                    wrong.add(word + " is counted " + told.get(i) + " after " + i);
                    break;
                }
            }
            if (told.size() != count) {
                wrong.add(word + " is counted " + told.size() + " times and not " + count);
            }
        }
        return wrong;
    }
}
