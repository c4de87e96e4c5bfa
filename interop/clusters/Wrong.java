import java.util.ArrayList;
import java.util.List;

/** What the traffic has seen that must not be. */
final class Wrong {
    private static final int KEPT_MAX = 20;
    private final List<String> found = new ArrayList<>();
    private int count;

    synchronized void add(String what) {
        count++;
        if (found.size() < KEPT_MAX) {
            found.add(what);
        }
    }

    /** Complains, if there is anything. */
    synchronized void check() {
        if (count > 0) {
            throw new IllegalStateException(count + " are wrong: " + String.join("; ", found));
        }
    }
}
