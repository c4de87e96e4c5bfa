import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.regex.Pattern;

/** Numbers what was checked, goes on after a failure, and sums up. ONLY=REGEX selects cases by their names. */
final class Suite {
    interface Case {
        void run() throws Exception;
    }

    private final Map<String, Case> cases = new LinkedHashMap<>();
    private int passed;
    private int failed;

    void add(String name, Case body) {
        if (cases.put(name, body) != null) {
            throw new IllegalArgumentException("two cases are named " + name);
        }
    }

    void run() {
        Pattern only = Pattern.compile(Objects.requireNonNullElse(System.getenv("ONLY"), ""));
        cases.forEach((name, body) -> {
            if (only.matcher(name).find()) {
                run(name, body);
            }
        });
    }

    private void run(String name, Case body) {
        int number = passed + failed + 1;
        long started = System.nanoTime();
        try {
            body.run();
            passed++;
            double took = (System.nanoTime() - started) / 1e9;
            System.out.printf("ok %d %s%s%n", number, name, took < 1 ? "" : String.format(" (%.1f s)", took));
        } catch (Throwable e) {
            failed++;
            System.out.printf("FAIL %d %s%n     %s (%s)%n", number, name, e, where(e));
        }
    }

    /** The innermost line of our own on the way to the failure. */
    private static String where(Throwable e) {
        for (StackTraceElement frame : e.getStackTrace()) {
            if (!frame.getClassName().contains(".") && !frame.getClassName().startsWith("Suite")) {
                return frame.getFileName() + ":" + frame.getLineNumber();
            }
        }
        return "?";
    }

    int finish() {
        System.out.printf("%d passed, %d failed%n", passed, failed);
        return failed == 0 && passed > 0 ? 0 : 1;
    }

    static void equal(Object actual, Object expected) {
        equal(actual, expected, "");
    }

    static void equal(Object actual, Object expected, String what) {
        if (!Objects.equals(actual, expected)) {
            throw new AssertionError((what.isEmpty() ? "" : what + ": ") + shorten(actual) + " is not " + shorten(expected));
        }
    }

    static void holds(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    /** The call must fail with this exception, directly or as the cause of an ExecutionException. */
    static <E extends Throwable> E fails(Class<E> with, Callable<?> call) throws Exception {
        Object result;
        try {
            result = call.call();
        } catch (Throwable e) {
            Throwable cause = e instanceof ExecutionException ? e.getCause() : e;
            if (with.isInstance(cause)) {
                return with.cast(cause);
            }
            throw new AssertionError("failed with " + cause + " instead of " + with.getSimpleName());
        }
        throw new AssertionError("gave " + shorten(result) + " instead of " + with.getSimpleName());
    }

    /** Repeats a check until it holds. */
    static void eventually(Case check) throws Exception {
        eventually(check, Duration.ofSeconds(60));
    }

    static void eventually(Case check, Duration patience) throws Exception {
        long deadline = System.nanoTime() + patience.toNanos();
        while (true) {
            try {
                check.run();
                return;
            } catch (AssertionError e) {
                if (System.nanoTime() > deadline) {
                    throw e;
                }
                Thread.sleep(50);
            }
        }
    }

    private static String shorten(Object value) {
        String text = String.valueOf(value);
        return text.length() <= 600 ? text : text.substring(0, 300) + " ... " + text.substring(text.length() - 300);
    }
}
