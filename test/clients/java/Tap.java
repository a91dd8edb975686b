import org.postgresql.util.PSQLException;

/** What the clients in Java share. */
class Tap {
    interface Action {
        void run() throws Exception;
    }

    static int count = 0;
    static int failed = 0;

    static void ok(boolean good, String name) {
        count++;
        if (!good) {
            failed++;
        }
        System.out.println((good ? "ok " : "not ok ") + count + " - " + name);
    }

    /** The server's error below an exception; null: there is none. */
    static PSQLException server(Throwable error) {
        while (error != null && !(error instanceof PSQLException)) {
            error = error.getCause();
        }
        return (PSQLException) error;
    }

    /** The action must raise this class (by its whole name) with this SQLSTATE, constraint and DETAIL. */
    static void raises(String type, String state, String constraint, String detail, String name, Action action) {
        try {
            action.run();
            ok(false, name + ": no error");
        } catch (Throwable error) {
            PSQLException cause = server(error);
            boolean good = false;
            for (Class<?> c = error.getClass(); c != null; c = c.getSuperclass()) {
                good = good || c.getName().equals(type);
            }
            if (state != null) {
                good = good && cause != null && cause.getSQLState().equals(state);
            }
            if (constraint != null) {
                good = good && constraint.equals(cause.getServerErrorMessage().getConstraint());
            }
            if (detail != null) {
                good = good && cause.getServerErrorMessage().getDetail().contains(detail);
            }
            ok(good, name + ": " + error.getClass().getName() + (good ? "" : ": " + error));
        }
    }
}
