package shop;

import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.List;
import java.util.UUID;
import javax.sql.DataSource;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;

/**
 * After: the same methods on payguard. The channel is never called inside a transaction. What it said is a transaction of its
 * own; where the shop's tables share one with a call, the call comes first.
 */
public class PayguardService {
    /** payguard's payment_result, as far as a shop reads it. */
    public record Payment(String outcome, UUID id, String status, long amount, String currency, boolean replayed) {
        static Payment of(ResultSet row, int n) throws SQLException {
            return new Payment(row.getString("outcome"), row.getObject("payment_id", UUID.class), row.getString("payment_status"),
                row.getLong("amount"), row.getString("currency"), row.getBoolean("replayed"));
        }
    }

    private record Task(long id, UUID lease, String kind, String order, UUID payment, long amount, String currency) {
        static Task of(ResultSet row, int n) throws SQLException {
            return new Task(row.getLong("task_id"), row.getObject("lease_token", UUID.class), row.getString("kind"),
                row.getString("order_id"), row.getObject("payment_id", UUID.class), row.getLong("amount"), row.getString("currency"));
        }
    }

    private final JdbcTemplate db;
    private final TransactionTemplate transaction;
    private final Channel channel;

    public PayguardService(DataSource source, Channel channel) {
        this.db = new JdbcTemplate(source);
        this.db.setExceptionTranslator(new PayguardExceptionTranslator(source));
        this.transaction = new TransactionTemplate(new DataSourceTransactionManager(source));
        this.channel = channel;
    }

    /** The shop's row and payguard's, both or none; a retry finds both. */
    public void createOrder(String id, String customer, long cents) {
        transaction.execute(status -> {
            db.queryForObject("SELECT status FROM payguard.create_order(?, ?, 'EUR', ?)", String.class, id, cents, customer);
            return db.update("INSERT INTO shop_orders (id, customer, cents) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", id, customer, cents);
        });
    }

    /** What the customer sees, to give back to payOptimistic(). */
    public long version(String id) {
        return db.queryForObject("SELECT version FROM payguard.order_status(?)", Long.class, id);
    }

    /** Another price, if nobody has changed the order since version. */
    public void changeAmount(String id, long version, long cents) {
        transaction.execute(status -> {
            db.queryForObject("SELECT status FROM payguard.update_order(?, ?, ?)", String.class, id, version, cents);
            return db.update("UPDATE shop_orders SET cents = ?, version = version + 1 WHERE id = ?", cents, id);
        });
    }

    /** From the customer's wallet, the order being as the customer saw it. */
    public Payment payOptimistic(String id, String key, long version) {
        return transaction.execute(status -> debit(id, payment("pay_order(?, ?, expected_version := ?)", id, key, version)));
    }

    /** From the wallet, the order being as it is now: pay_order() waits for whoever is working on it. */
    public Payment payPessimistic(String id, String key) {
        return transaction.execute(status -> debit(id, payment("pay_order(?, ?)", id, key)));
    }

    /** By card. Repeated with the same key, it goes on with the payment that there is. */
    public Payment payIdempotent(String id, String key) {
        Payment attempt = payment("start_payment(?, ?, 'card')", id, key);
        if (attempt.replayed()) {
            return verify(id, attempt.id());
        }
        return report(id, attempt.id(), Channel.ask(() -> channel.charge(attempt.id(), attempt.amount(), attempt.currency())));
    }

    /** Asks the channel and reports what it says. Always allowed: a late success counts, a failure undoes nothing. */
    public Payment verify(String id, UUID paymentId) {
        return report(id, paymentId, Channel.ask(() -> channel.query(paymentId)));
    }

    /** The message is a row, written in the transaction that makes it necessary. */
    public Payment enqueue(String id, String key) {
        return payment("request_payment(?, ?, 'card')", id, key);
    }

    /** A worker does one task; false: none is due. The lease outlasts the channel's time-out by far. */
    public boolean work() {
        List<Task> tasks = db.query("SELECT * FROM payguard.claim_tasks('shop', 1, '1 min', '{charge,query}', '{card}')", Task::of);
        for (Task task : tasks) {
            Channel.Answer answer = Channel.ask(() -> task.kind().equals("charge")
                ? channel.charge(task.payment(), task.amount(), task.currency()) : channel.query(task.payment()));
            follow(task.order(), payment("complete_task(?, ?, ?, ?, ?, ?)",
                task.id(), task.lease(), answer.status(), answer.transaction(), answer.amount(), answer.currency()));
        }
        return !tasks.isEmpty();
    }

    private Payment report(String id, UUID paymentId, Channel.Answer answer) {
        return follow(id, payment("report_payment(?, ?, ?, ?, ?)",
            paymentId, answer.status(), answer.transaction(), answer.amount(), answer.currency()));
    }

    /** The rows of orders that were paid while nobody followed: a process died, a webhook came. Every minute; how many. */
    public int catchUp() {
        return db.update("UPDATE shop_orders SET status = 'paid', version = version + 1"
            + " WHERE status = 'new' AND (payguard.order_status(id)).status = 'paid'");
    }

    /** Takes the money in the transaction that pays. A wallet without enough of it fails both. */
    private Payment debit(String id, Payment paid) {
        if (!paid.replayed()) {
            db.update("UPDATE wallets w SET cents = w.cents - ? FROM shop_orders o WHERE o.id = ? AND w.customer = o.customer", paid.amount(), id);
        }
        return follow(id, paid);
    }

    /** The shop's own row follows: behind a report in a transaction of its own, so that nothing can take the report back. */
    private Payment follow(String id, Payment payment) {
        if (payment.outcome().equals("paid")) {
            db.update("UPDATE shop_orders SET status = 'paid', version = version + 1 WHERE id = ? AND status = 'new'", id);
        }
        return payment;
    }

    private Payment payment(String call, Object... arguments) {
        return db.queryForObject("SELECT * FROM payguard." + call, Payment::of, arguments);
    }
}
