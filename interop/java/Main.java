/** Runs all cases against the broker at the address in the environment variable BOOTSTRAP. */
public final class Main {
    public static void main(String[] arguments) throws Exception {
        Suite suite = new Suite();
        try (Cluster cluster = new Cluster(System.getenv("BOOTSTRAP"))) {
            new Producing(cluster).addTo(suite);
            new Consuming(cluster).addTo(suite);
            new Lessons(cluster).addTo(suite);
            new Groups(cluster).addTo(suite);
            new ConsumerGroups(cluster).addTo(suite);
            new ShareGroups(cluster).addTo(suite);
            new Transactions(cluster).addTo(suite);
            new Administering(cluster).addTo(suite);
            suite.run();
        }
        System.exit(suite.finish());
    }
}
