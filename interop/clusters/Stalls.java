import java.util.concurrent.TimeUnit;

/** How long something has stood still, told by its signs of life. */
final class Stalls {
    private long last = System.nanoTime();
    private long longest;

    synchronized void goesOn() {
        long now = System.nanoTime();
        longest = Math.max(longest, now - last);
        last = now;
    }

    /** The longest time without a sign of life that has ended, or goes on, since this was last asked, in milliseconds. */
    synchronized long takeMs() {
        long ms = TimeUnit.NANOSECONDS.toMillis(Math.max(longest, System.nanoTime() - last));
        longest = 0;
        return ms;
    }
}
