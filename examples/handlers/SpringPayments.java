import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.sql.Types;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.function.Supplier;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.apache.commons.logging.Log;
import org.apache.commons.logging.LogFactory;
import org.postgresql.util.PSQLException;
import org.springframework.dao.ConcurrencyFailureException;
import org.springframework.dao.DataAccessException;
import org.springframework.dao.DataAccessResourceFailureException;
import org.springframework.dao.DataIntegrityViolationException;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.core.SqlParameterValue;
import org.springframework.transaction.support.TransactionSynchronizationManager;

/** Checkout and webhook with Spring JDBC: a @Service, and nobody who calls it is @Transactional. */
public class SpringPayments {
    /** For a ResponseEntity: the HTTP status, and a word for the page. */
    public record Reply(int status, String state) { }

    /** It takes money once for one number. The status is in payguard's words; each call needs a time-out. */
    public interface Channel {
        record Answer(String status, String transaction, Long amount, String currency) { }
        Answer charge(UUID number, long amount, String currency);
        Answer query(UUID number);
    }

    /** What the page says where payguard refuses: by the CONSTRAINT of the error. */
    private static final Map<String, Reply> REFUSED = Map.of(
        "order_already_paid", new Reply(200, "paid"),
        "payment_in_progress", new Reply(409, "wait"),      // another click, with another key
        "payment_failed", new Reply(402, "failed"),         // this key is spent: the form gets a new one
        "order_id_reused", new Reply(409, "changed"),       // the row has another price than payguard: update_order()
        "amount_mismatch", new Reply(409, "changed"),       // the page shows another price: it is made anew
        "idempotency_key_reused", new Reply(400, "key"),    // it is the key of another order
        "order_closed", new Reply(410, "closed"),
        "order_not_found", new Reply(404, "not found"));
    private static final Map<String, Integer> STATUS = Map.of(
        "paid", 200, "pending", 202, "authorized", 202, "capturing", 202, "closing", 202, "failed", 402);
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Log LOG = LogFactory.getLog(SpringPayments.class);

    private final JdbcTemplate db;
    private final Channel channel;

    public SpringPayments(JdbcTemplate db, Channel channel) {
        this.db = db;
        this.channel = channel;
    }

    public Reply checkout(String orderId, String key) {
        if (key == null || key.isEmpty()) {
            return new Reply(400, "key");
        }
        Map<String, Object> payment;
        try {
            call("""
                SELECT o.status FROM shop_orders s, payguard.create_order(
                  s.id::text, payguard.minor_units(s.total, s.currency), s.currency, s.customer::text) o
                  WHERE s.id = ?""", id(orderId));
            payment = call("SELECT * FROM payguard.start_payment(?, ?, 'card')", orderId, key);
        } catch (DataAccessException error) {
            String name = constraint(error);
            if (!REFUSED.containsKey(name)) {
                throw error;
            }
            if (name.equals("order_already_paid")) {
                follow(orderId);     // a row that was left behind
            }
            return REFUSED.get(name);
        }
        if (payment.get("outcome").equals("pending")) {
            UUID number = (UUID) payment.get("payment_id");
            Channel.Answer answer;
            try {
                answer = payment.get("payment_status").equals("pending")
                    ? channel.charge(number, (Long) payment.get("amount"), (String) payment.get("currency")) : channel.query(number);
            } catch (RuntimeException error) {
                LOG.error("payment " + number + ": no answer of the channel", error);
                answer = new Channel.Answer("unknown", null, null, null);     // it may have been charged: never "failed"
            }
            payment = call("SELECT * FROM payguard.report_payment(?, ?, ?, ?, ?)",
                number, answer.status(), answer.transaction(), answer.amount(), answer.currency());
        }
        follow(orderId);
        String outcome = (String) payment.get("outcome");
        return new Reply(STATUS.getOrDefault(outcome, 409), outcome);
    }

    /** body: the bytes as they came (@RequestBody byte[]), since the signature is over them. */
    public Reply webhook(byte[] secret, byte[] body, String signature) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(secret, "HmacSHA256"));
        String expected = HexFormat.of().formatHex(mac.doFinal(body));
        if (signature == null || !MessageDigest.isEqual(expected.getBytes(), signature.getBytes())) {
            return new Reply(400, "signature");
        }
        Map<String, Object> message;
        try {
            message = record(body, JSON.readTree(body));
        } catch (IOException | DataIntegrityViolationException error) {
            message = record(body, JSON.createObjectNode());                  // it is kept as it came, and a person is told
        }
        if (message.get("order_id") != null) {
            follow((String) message.get("order_id"));
        }
        return new Reply(200, (String) message.get("result"));
    }

    private Map<String, Object> record(byte[] body, JsonNode m) {
        return call("""
            SELECT * FROM payguard.record_notification('card', ?, ?, ?::uuid, ?::uuid,
              channel_status := ?, channel_txn_id := ?, amount := ?::bigint, currency := ?)""",
            body, m.path("id").asText(null), m.path("payment").asText(null), m.path("refund").asText(null),
            m.path("status").asText(null), m.path("transaction").asText(null), m.path("amount").asText(null),
            m.path("currency").asText(null));
    }

    /** The shop's own row comes second. It can be done again at any time. */
    private void follow(String orderId) {
        again(() -> db.update("""
            UPDATE shop_orders SET status = 'paid'
            WHERE id = ? AND status = 'new' AND (SELECT status FROM payguard.order_status(?::text)) = 'paid'""", id(orderId), orderId));
    }

    /** For the table's own column, of whatever type: PostgreSQL reads it. */
    private static SqlParameterValue id(String orderId) {
        return new SqlParameterValue(Types.OTHER, orderId);
    }

    private Map<String, Object> call(String sql, Object... values) {
        List<Map<String, Object>> rows = again(() -> db.queryForList(sql, values));
        return rows.isEmpty() ? Map.of() : rows.get(0);
    }

    /** One statement, which is one transaction. It is repeated as it is, with the same key, where it was not done (40001, 55P03:
     *  ConcurrencyFailureException), and where nobody knows since the connection was lost. In a transaction of yours nothing is
     *  repeated: the whole transaction is to be. */
    private static <T> T again(Supplier<T> statement) {
        for (long pause = 50; ; pause *= 2) {
            try {
                return statement.get();
            } catch (ConcurrencyFailureException | DataAccessResourceFailureException error) {
                if (pause > 1000 || TransactionSynchronizationManager.isActualTransactionActive()) {
                    throw error;
                }
            }
            try {
                Thread.sleep(pause);
            } catch (InterruptedException error) {
                throw new IllegalStateException(error);
            }
        }
    }

    private static String constraint(DataAccessException error) {
        return error.getRootCause() instanceof PSQLException server && server.getServerErrorMessage() != null
            && server.getServerErrorMessage().getConstraint() != null ? server.getServerErrorMessage().getConstraint() : "";
    }
}
