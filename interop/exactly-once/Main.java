import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * The programs of this suite.
 *
 * - `checkers`: shows that the checkers refuse what is wrong.
 * - `work ADDRESS JOURNALS INDEX PROCESS SEED GROUP-PROTOCOL`: works until its standard input ends.
 * - `observe`: takes the {@link Commands} open ADDRESS JOURNALS TRANSACTION-VERSION SEED, close;
 *   transaction-version LEVEL, progress, standing, settle, idle, look-away; judge-tail, judge-copies, judge-counts, judge-bank, judge-appends.
 */
public final class Main {
    private static Observer observer;

    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "checkers" -> {
                Suite suite = new Suite();
                CheckerTests.addTo(suite);
                suite.run();
                System.exit(suite.finish());
            }
            case "work" -> work(arguments);
            case "observe" -> Commands.answer(Main::run);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        Runtime.getRuntime().halt(0);
    }

    private static void work(String[] arguments) throws Exception {
        Clients clients = new Clients(arguments[1]);
        Path journals = Path.of(arguments[2]);
        int index = Integer.parseInt(arguments[3]);
        String process = arguments[4];
        long seed = Long.parseLong(arguments[5]);
        Journal appends = new Journal(journals, "appends", process);
        List<Work> all = List.of(
                new Copier(clients, process, seed, index, arguments[6]),
                new Banker(clients, process, seed + 1, new Journal(journals, "bank", process)),
                new Appender(clients, process, seed + 2, "appender-" + index + "a", appends),
                new Appender(clients, process, seed + 3, "appender-" + index + "b", appends));
        List<Thread> threads = all.stream().map(Thread::new).toList();
        threads.forEach(Thread::start);
        while (System.in.read() >= 0) {
            // Nothing is to be told but the end.
        }
        all.forEach(Work::finish);
        for (Thread thread : threads) {
            thread.join();
        }
    }

    private static Object run(String[] command) throws Exception {
        return switch (command[0]) {
            case "open" -> {
                observer = new Observer(command[1], Path.of(command[2]), Integer.parseInt(command[3]), Long.parseLong(command[4]));
                observer.start();
                yield Map.of();
            }
            case "close" -> {
                observer.close();
                yield Map.of();
            }
            case "transaction-version" -> {
                observer.setTransactionVersion(Integer.parseInt(command[1]));
                yield Map.of();
            }
            case "progress" -> observer.progress();
            case "standing" -> observer.standing();
            case "settle" -> observer.settle();
            case "idle" -> observer.idle();
            case "look-away" -> observer.lookAway();
            case "judge-tail" -> observer.judgeTail();
            case "judge-copies" -> observer.judgeCopies();
            case "judge-counts" -> observer.judgeCounts();
            case "judge-bank" -> observer.judgeBank();
            case "judge-appends" -> observer.judgeAppends();
            default -> throw new IllegalArgumentException(Stream.of(command).toList().toString());
        };
    }
}
