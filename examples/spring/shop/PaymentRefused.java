package shop;

import org.postgresql.util.ServerErrorMessage;
import org.springframework.dao.NonTransientDataAccessException;

/** payguard refused a request, and nothing was written. The subclasses are those that a shop tells its customers apart. */
public class PaymentRefused extends NonTransientDataAccessException {
    /** The SQLSTATE, PY101 for example. */
    public final String code;
    /** Its stable name, order_already_paid for example. */
    public final String name;
    public final String detail;
    public final String hint;

    PaymentRefused(ServerErrorMessage error, Throwable cause) {
        super(error.getMessage(), cause);
        code = error.getSQLState();
        name = error.getConstraint();
        detail = error.getDetail();
        hint = error.getHint();
    }

    /** PY101: show the receipt. */
    public static class OrderAlreadyPaid extends PaymentRefused {
        OrderAlreadyPaid(ServerErrorMessage error, Throwable cause) {
            super(error, cause);
        }
    }

    /** PY102: cancelled or expired. */
    public static class OrderClosed extends PaymentRefused {
        OrderClosed(ServerErrorMessage error, Throwable cause) {
            super(error, cause);
        }
    }

    /** PY103: wait for the attempt that is open, or close it. */
    public static class PaymentInProgress extends PaymentRefused {
        PaymentInProgress(ServerErrorMessage error, Throwable cause) {
            super(error, cause);
        }
    }

    /** PY301, PY302, PY303: the key stands for another request, was revoked, or its payment failed. */
    public static class NewKeyNeeded extends PaymentRefused {
        NewKeyNeeded(ServerErrorMessage error, Throwable cause) {
            super(error, cause);
        }
    }
}
