import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;

/**
 * Fills a broker with everything that a data directory can hold, and tells what clients see of it.
 *
 * Reads commands from standard input and answers each with a line of JSON: fill, more, extras, seen, seen-extras. It lives longer than a
 * single broker: its idempotent producers go on where they were while the broker at the same address is exchanged.
 */
public final class Main {
    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        try (Clients clients = new Clients(arguments[0])) {
            Filling filling = new Filling(clients);
            Extras extras = new Extras(clients);
            Seen seen = new Seen(clients);
            for (String command = commands.readLine(); command != null; command = commands.readLine()) {
                Object answer;
                try {
                    answer = switch (command) {
                        case "fill" -> filling.fill();
                        case "more" -> filling.more();
                        case "extras" -> extras.fill();
                        case "seen" -> seen.everything();
                        case "seen-extras" -> extras.seen();
                        default -> throw new IllegalArgumentException("no command " + command);
                    };
                } catch (Throwable e) {
                    e.printStackTrace();
                    answer = Map.of("failed", String.valueOf(e));
                }
                System.out.println(json.writeValueAsString(answer));
                System.out.flush();
            }
        }
        Runtime.getRuntime().halt(0);
    }
}
