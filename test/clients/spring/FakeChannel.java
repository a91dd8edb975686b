import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import shop.Channel;

/** A channel that charges once for one number, and may lose the answer of the next call. */
class FakeChannel implements Channel {
    /** As a client's time-out. */
    static class NoAnswer extends RuntimeException {
    }

    final Map<UUID, Long> taken = new LinkedHashMap<>();
    /** How often it was asked to charge. */
    int charges;
    /** The next charge is made, and its answer lost. */
    boolean loseAnswer;
    /** Happens while the next charge is on its way. */
    Runnable meanwhile;

    @Override
    public Answer charge(UUID number, long amount, String currency) {
        Runnable now = meanwhile;
        meanwhile = null;
        if (now != null) {
            now.run();
        }
        charges++;
        taken.putIfAbsent(number, amount);
        if (loseAnswer) {
            loseAnswer = false;
            throw new NoAnswer();
        }
        return query(number);
    }

    @Override
    public Answer query(UUID number) {
        Long amount = taken.get(number);
        return amount == null ? new Answer("not_found", null, null, null) : new Answer("succeeded", "txn-" + number, amount, "EUR");
    }

    /** How often money was taken since the last call of this. */
    int times() {
        int times = taken.size();
        taken.clear();
        return times;
    }
}
