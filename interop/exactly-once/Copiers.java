/** Groups whose members copy {@link Topics#IN} each for itself. See Copier.java and librdkafka.py. */
enum Copiers {
    JAVA("copiers", Topics.OUT),
    RANGE("copiers-range", Topics.OUT_RANGE),
    COOPERATIVE("copiers-cooperative", Topics.OUT_COOPERATIVE),
    CONSUMER("copiers-consumer", Topics.OUT_CONSUMER);

    private final String group;
    private final Topics out;

    Copiers(String group, Topics out) {
        this.group = group;
        this.out = out;
    }

    String group() {
        return group;
    }

    /** Where the copies go. */
    Topics out() {
        return out;
    }
}
