import java.util.Random;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Moves money as long as nobody shuts it out. See {@link Bank}. */
final class Banker extends Work {
    private final Journal journal;
    private int takeoverMs;

    Banker(Clients clients, String process, long seed, Journal journal) {
        super(clients, process, seed);
        this.journal = journal;
    }

    @Override
    String transactionalId() {
        return "bank";
    }

    /** Long enough for another to have its turn, on whatever machine: some times what it takes to begin. */
    @Override
    int restMs(Random random) {
        return random.nextInt(400) + Math.min(4 * takeoverMs, 10_000);
    }

    @Override
    void live(Producer<String, String> producer, String life, Random random) throws Exception {
        // Whoever was before is shut out by now, and its last transaction has its end.
        int[] balances = Bank.openingBalances();
        int last = 0;
        try (Consumer<String, String> consumer = clients.consumer("max.poll.records", 5000)) {
            var partitions = Topics.partitions(Topics.LEDGER, Topics.BALANCES);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            for (ConsumerRecord<String, String> record : Clients.readTo(consumer, consumer.endOffsets(partitions))) {
                if (record.topic().equals(Topics.LEDGER.topic())) {
                    Bank.Transfer transfer = Bank.Transfer.parse(record.value());
                    balances[transfer.from()] -= transfer.amount();
                    balances[transfer.to()] += transfer.amount();
                    last = Math.max(last, transfer.number());
                }
            }
        }
        takeoverMs = ageMs();
        int turns = 5 + random.nextInt(60);
        for (int turn = 0; turn < turns && !isDone(); turn++) {
            int from = random.nextInt(Bank.ACCOUNTS);
            int to = (from + 1 + random.nextInt(Bank.ACCOUNTS - 1)) % Bank.ACCOUNTS;
            if (balances[from] == 0) {
                continue;
            }
            Bank.Transfer transfer = new Bank.Transfer(last + 1, life + "-" + turn, from, to, 1 + random.nextInt(balances[from]));
            if (carryOut(producer, transfer, balances, random)) {
                balances[from] -= transfer.amount();
                balances[to] += transfer.amount();
                last++;
            }
            pause(random.nextInt(8));
        }
    }

    /** Whether it is committed. */
    private boolean carryOut(Producer<String, String> producer, Bank.Transfer transfer, int[] balances, Random random) throws Exception {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(Topics.LEDGER.topic(), Topics.LEDGER.partitionOf(transfer.number()), null, transfer.toString()));
        send(producer, new Bank.Balance(transfer.number(), transfer.from(), balances[transfer.from()] - transfer.amount()));
        send(producer, new Bank.Balance(transfer.number(), transfer.to(), balances[transfer.to()] + transfer.amount()));
        if (random.nextInt(8) == 0) {
            producer.flush();
            producer.abortTransaction();
            journal.line("aborted", transfer.id());
            return false;
        }
        producer.commitTransaction();
        journal.line("committed", transfer.id());
        return true;
    }

    private static void send(Producer<String, String> producer, Bank.Balance balance) {
        for (Topics topic : new Topics[] {Topics.BALANCES, Topics.LATEST}) {
            producer.send(new ProducerRecord<>(topic.topic(), topic.partitionOf(balance.account()), "account-" + balance.account(), balance.toString()));
        }
    }
}
