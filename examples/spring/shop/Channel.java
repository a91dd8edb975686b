package shop;

import java.util.UUID;
import java.util.function.Supplier;

/** A payment channel. Each call needs seconds, and may end without an answer. */
public interface Channel {
    /** What the channel says; the status is one of payguard's words for it. Amount: minor units. */
    record Answer(String status, String transaction, Long amount, String currency) {
        static final Answer UNKNOWN = new Answer("unknown", null, null, null);
    }

    /** Takes money, once for one number. */
    Answer charge(UUID number, long amount, String currency);

    /** What became of the charge with this number. */
    Answer query(UUID number);

    /** Whatever the client throws, the request may have arrived: "unknown". It is never "failed". */
    static Answer ask(Supplier<Answer> call) {
        try {
            return call.get();
        } catch (RuntimeException error) {
            return Answer.UNKNOWN;
        }
    }
}
