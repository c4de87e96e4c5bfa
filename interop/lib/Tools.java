import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main methods of Kafka's command-line tools one after the other in a single JVM, since starting one costs more than most tools do.
 *
 * Reads a request a line from standard input, {"class": ..., "args": [...], "stdin": ..., "timeout_ms": ...}, and answers each with a line
 * {"status": ..., "out": ..., "err": ...}. A tool that would end the JVM only ends itself; its shutdown hooks run then.
 */
public final class Tools {
    /** Unwinds the tool that asked for the JVM's end. An Error, so that fewer tools swallow it. */
    private static final class Ended extends Error {
        @Override
        public void printStackTrace(PrintStream stream) {}

        @Override
        public void printStackTrace(PrintWriter writer) {}

        Ended(int status) {
            super("ended with status " + status, null, false, false);
        }
    }

    private static final int TIMED_OUT = -1;
    private static final AtomicReference<Integer> STATUS = new AtomicReference<>();
    private static final List<Runnable> HOOKS = new CopyOnWriteArrayList<>();

    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        PrintStream answers = System.out;
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Exit.Procedure end = (status, message) -> {
            STATUS.compareAndSet(null, status);
            throw new Ended(status);
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            answers.println(json.writeValueAsString(run(json.readTree(line))));
            answers.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static Map<String, Object> run(JsonNode request) throws Exception {
        String[] arguments = new String[request.get("args").size()];
        for (int i = 0; i < arguments.length; i++) {
            arguments[i] = request.get("args").get(i).asText();
        }
        InputStream in = System.in;
        PrintStream out = System.out;
        PrintStream err = System.err;
        ByteArrayOutputStream capturedOut = new ByteArrayOutputStream();
        ByteArrayOutputStream capturedErr = new ByteArrayOutputStream();
        System.setIn(new ByteArrayInputStream(request.get("stdin").asText().getBytes(StandardCharsets.UTF_8)));
        System.setOut(new PrintStream(capturedOut, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(capturedErr, true, StandardCharsets.UTF_8));
        STATUS.set(null);
        HOOKS.clear();
        try {
            Thread tool = new Thread(() -> call(request.get("class").asText(), arguments), "tool");
            tool.setDaemon(true);
            tool.start();
            tool.join(request.get("timeout_ms").asLong());
            if (tool.isAlive()) {
                STATUS.set(TIMED_OUT);
                for (StackTraceElement frame : tool.getStackTrace()) {
                    System.err.println("  at " + frame);
                }
            }
            runHooks();
            tool.join(60_000);
        } finally {
            System.setIn(in);
            System.setOut(out);
            System.setErr(err);
        }
        int status = STATUS.get() == null ? 0 : STATUS.get();
        return Map.of("status", status, "out", capturedOut.toString(StandardCharsets.UTF_8), "err", capturedErr.toString(StandardCharsets.UTF_8));
    }

    private static void call(String name, String[] arguments) {
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Ended)) {
                e.getCause().printStackTrace();
                STATUS.compareAndSet(null, 1);
            }
        } catch (ReflectiveOperationException e) {
            e.printStackTrace();
            STATUS.compareAndSet(null, 1);
        }
    }

    private static void runHooks() throws InterruptedException {
        for (Runnable hook : HOOKS) {
            Thread thread = new Thread(hook, "hook");
            thread.setDaemon(true);
            thread.start();
            thread.join(60_000);
        }
    }
}
