import java.util.Map;

/**
 * Traffic that goes on while the nodes of a cluster come and go, and the judgement of it.
 *
 * Takes the {@link Commands} open ADDRESSES BROKER-IDS READERS-PROTOCOL COPIER-PROTOCOL, begin, progress, stalls, unsynced, led, prefer, nearby, settle, judge, close.
 */
public final class Main {
    private static Traffic traffic;

    public static void main(String[] arguments) throws Exception {
        Commands.answer(Main::run);
        Runtime.getRuntime().halt(0);
    }

    private static Object run(String[] command) throws Exception {
        return switch (command[0]) {
            case "open" -> {
                traffic = new Traffic(new Clients(command[1]), Traffic.numbers(command[2]), command[3], command[4]);
                yield Map.of();
            }
            case "begin" -> traffic.begin();
            case "progress" -> traffic.progress();
            case "stalls" -> traffic.stalls();
            case "unsynced" -> traffic.unsynced();
            case "led" -> traffic.led();
            case "prefer" -> traffic.prefer();
            case "nearby" -> traffic.nearby();
            case "settle" -> traffic.settle();
            case "judge" -> traffic.judge();
            case "close" -> {
                traffic.close();
                yield Map.of();
            }
            default -> throw new IllegalArgumentException("no command " + command[0]);
        };
    }
}
