import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.core.LogEvent;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.appender.AbstractAppender;
import org.apache.logging.log4j.core.config.LoggerConfig;
import org.apache.logging.log4j.core.config.Property;

/**
 * What consumers log about their partitions. Only one at a time listens; it takes the place of whatever else would become of these lines.
 *
 * A line reads as `assigned a0 a1, owned a0, added a1, revoked -` where the client logs all four, else as `adds a1` or `revokes a0`. Only lines that
 * tell of a change are kept: how many rebalances change nothing is a matter of who joins when, and of heartbeats.
 */
final class ClientLog extends AbstractAppender implements AutoCloseable {
    private static final String LOGGER = "org.apache.kafka.clients.consumer.internals";
    private static final Pattern CLIENT = Pattern.compile("^\\[Consumer .*?clientId=([^,\\]]+).*?\\] (.*)$", Pattern.DOTALL);
    private static final Pattern CHANGE = Pattern.compile("^(Adding newly|Revoke previously) assigned partitions:? ?(.*)$", Pattern.DOTALL);
    private static final Pattern ALL = Pattern.compile(
            "Assigned partitions: +\\[(.*?)\\].*Current owned partitions: +\\[(.*?)\\].*Added partitions \\(assigned - owned\\): +\\[(.*?)\\].*Revoked partitions \\(owned - assigned\\): +\\[(.*?)\\]",
            Pattern.DOTALL);

    private record Line(String client, String text) {}

    private final ConcurrentLinkedQueue<Line> lines = new ConcurrentLinkedQueue<>();
    private final LoggerContext context = (LoggerContext) LogManager.getContext(false);

    ClientLog() {
        super("clients", null, null, true, Property.EMPTY_ARRAY);
        start();
        LoggerConfig logger = new LoggerConfig(LOGGER, Level.INFO, false);
        logger.addAppender(this, Level.INFO, null);
        context.getConfiguration().addLogger(LOGGER, logger);
        context.updateLoggers();
    }

    @Override
    public void close() {
        context.getConfiguration().removeLogger(LOGGER);
        context.updateLoggers();
        stop();
    }

    @Override
    public void append(LogEvent event) {
        Matcher line = CLIENT.matcher(event.getMessage().getFormattedMessage());
        if (line.matches()) {
            lines.add(new Line(line.group(1), line.group(2)));
        }
    }

    /** What one client has logged, with the partitions of these topics. */
    List<String> of(String client, String... topics) {
        return lines.stream().filter(line -> line.client.equals(client)).map(line -> change(line.text, topics)).flatMap(Optional::stream).toList();
    }

    /** Who `adds` and `revokes` what, in the order in which it came about. */
    List<String> ofAll(String... topics) {
        return lines.stream().filter(line -> CHANGE.matcher(line.text).matches())
                .map(line -> change(line.text, topics).map(change -> line.client + " " + change)).flatMap(Optional::stream).toList();
    }

    private static Optional<String> change(String text, String[] topics) {
        Matcher change = CHANGE.matcher(text);
        if (change.matches()) {
            String changed = partitions(change.group(2), topics);
            return changed.equals("-") ? Optional.empty() : Optional.of((change.group(1).startsWith("Adding") ? "adds " : "revokes ") + changed);
        }
        Matcher all = ALL.matcher(text);
        if (!all.find()) {
            return Optional.empty();
        }
        String[] names = {"assigned ", "owned ", "added ", "revoked "};
        String line = Stream.of(1, 2, 3, 4).map(group -> names[group - 1] + partitions(all.group(group), topics)).collect(Collectors.joining(", "));
        return line.endsWith("added -, revoked -") ? Optional.empty() : Optional.of(line);
    }

    private static String partitions(String listed, String[] topics) {
        String found = Arrays.stream(listed.replaceAll("[\\[\\]]", "").split(",")).map(String::strip).filter(name -> !name.isEmpty())
                .map(name -> shortName(name, topics)).sorted().collect(Collectors.joining(" "));
        return found.isEmpty() ? "-" : found;
    }

    /** `a0` for partition 0 of the first of the topics. */
    static String shortName(String partition, String... topics) {
        for (int i = 0; i < topics.length; i++) {
            if (partition.startsWith(topics[i] + "-")) {
                return (char) ('a' + i) + partition.substring(topics[i].length() + 1);
            }
        }
        return partition;
    }
}
