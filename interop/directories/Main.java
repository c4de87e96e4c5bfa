import java.util.Map;

/**
 * Fills brokers with everything that a data directory can hold, and tells what clients see of it.
 *
 * Takes the {@link Commands} open ADDRESS, close; fill, more, extras [SASL-ADDRESS], seen,
 * seen-extras, seen-coordinated, abort-open; begin-transaction, end-transaction commit|abort; share, share-settings. What is open lives longer than a single broker: its idempotent
 * producers go on where they were while the broker at the same address is exchanged.
 */
public final class Main {
    private static final class Session implements AutoCloseable {
        final Clients clients;
        final Filling filling;
        final Extras extras;
        final Seen seen;
        final Transacting transacting;
        final Sharing sharing;

        Session(String bootstrap) {
            clients = new Clients(bootstrap);
            filling = new Filling(clients);
            extras = new Extras(clients);
            seen = new Seen(clients);
            transacting = new Transacting(clients);
            sharing = new Sharing(clients);
        }

        @Override
        public void close() {
            filling.close();
            transacting.close();
            sharing.close();
            extras.close();
            clients.close();
        }
    }

    private static Session session;

    public static void main(String[] arguments) throws Exception {
        Commands.answer(Main::run);
        Runtime.getRuntime().halt(0);
    }

    private static Object run(String[] command) throws Exception {
        return switch (command[0]) {
            case "open" -> {
                session = new Session(command[1]);
                yield Map.of();
            }
            case "close" -> {
                session.close();
                yield Map.of();
            }
            case "fill" -> session.filling.fill();
            case "more" -> session.filling.more();
            case "extras" -> session.extras.fill(command.length > 1 ? command[1] : null);
            case "seen" -> session.seen.everything();
            case "seen-extras" -> session.extras.seen();
            case "seen-coordinated" -> session.extras.coordinated();
            case "abort-open" -> session.extras.abortOpen();
            case "begin-transaction" -> session.transacting.begin();
            case "end-transaction" -> session.transacting.end(command[1].equals("commit"));
            case "share" -> session.sharing.round();
            case "share-settings" -> session.sharing.settings();
            default -> throw new IllegalArgumentException("no command " + command[0]);
        };
    }
}
