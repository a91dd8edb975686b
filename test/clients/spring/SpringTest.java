import java.sql.Connection;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import javax.persistence.EntityManager;
import javax.persistence.EntityManagerFactory;
import javax.persistence.Persistence;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DriverManagerDataSource;
import shop.PayguardExceptionTranslator;
import shop.PayguardService;
import shop.PaymentMonitor;
import shop.PaymentRefused;
import shop.ShopOrder;
import shop.UsualService;

/** Every method of examples/spring on a real server: before and after, in the same situations. */
public class SpringTest {
    static final FakeChannel channel = new FakeChannel();
    static final DriverManagerDataSource source = source("spring_shop", "shop");
    static final JdbcTemplate db = new JdbcTemplate(source);
    static final PayguardService after = new PayguardService(source, channel);
    static final PaymentMonitor monitor = new PaymentMonitor(source("spring_operator", "shop"));
    static final EntityManagerFactory shop = factory("shop");
    static final EntityManagerFactory usual = factory("usual");
    static final Queue<String> queue = new ArrayDeque<>();
    static final UsualService before = new UsualService(usual, channel, queue);

    public static void main(String[] arguments) throws Exception {
        before();
        wallet();
        race();
        card();
        lostAnswer();
        row();
        queue();
        entity();
        translator();
        monitor();
        System.out.println("1.." + Tap.count);
        System.exit(Tap.failed == 0 ? 0 : 1);
    }

    static String url(String schema) {
        return "jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/spring?currentSchema=" + schema;
    }

    static DriverManagerDataSource source(String user, String schema) {
        return new DriverManagerDataSource(url(schema), user, "");
    }

    static EntityManagerFactory factory(String schema) {
        Map<String, String> settings = new HashMap<>();
        settings.put("javax.persistence.jdbc.url", url(schema));
        settings.put("javax.persistence.jdbc.user", "spring_shop");
        return Persistence.createEntityManagerFactory("shop", settings);
    }

    /** The shop's row: "status version". */
    static String row(String id) {
        return db.queryForObject("SELECT status || ' ' || version FROM shop_orders WHERE id = ?", String.class, id);
    }

    static String state(String id) {
        return db.queryForObject("SELECT status FROM payguard.order_status(?)", String.class, id);
    }

    static long wallet(String customer) {
        return db.queryForObject("SELECT cents FROM wallets WHERE customer = ?", Long.class, customer);
    }

    /** What goes wrong in the usual service: shown, so that the other half is known to test something. */
    static void before() {
        before.createOrder("b1", "anna", 1000);
        channel.meanwhile = () -> before.payOptimistic("b1");
        Tap.raises("javax.persistence.RollbackException", null, null, null, "before, optimistic lock: one of two clicks fails at commit",
            () -> before.payOptimistic("b1"));
        Tap.ok(channel.times() == 2, "... and money was taken twice");

        before.createOrder("b2", "anna", 1000);
        channel.loseAnswer = true;
        Tap.raises("FakeChannel$NoAnswer", null, null, null, "before, pessimistic lock: no answer", () -> before.payPessimistic("b2"));
        before.payPessimistic("b2");
        Tap.ok(channel.times() == 2, "... and after the retry money was taken twice");

        before.createOrder("b3", "anna", 1000);
        channel.loseAnswer = true;
        Tap.raises("FakeChannel$NoAnswer", null, null, null, "before, a key: no answer", () -> before.payIdempotent("b3", "k"));
        Tap.ok(before.payIdempotent("b3", "k") && channel.times() == 2, "... and the retry with the same key took money again");
        Tap.ok(!before.payIdempotent("b3", "k") && channel.times() == 0, "... a third call is ignored");

        before.createOrder("b4", "anna", 1000);
        UUID slow = before.begin("b4");
        before.verify("b4");
        UUID second = before.begin("b4");
        channel.charge(slow, 1000, "EUR");
        channel.charge(second, 1000, "EUR");
        before.verify("b4");
        Tap.ok(channel.times() == 2, "before, verified too early: taken for failed, begun again, money was taken twice");

        before.createOrder("b5", "anna", 1000);
        before.enqueue("b5");
        channel.loseAnswer = true;
        Tap.raises("FakeChannel$NoAnswer", null, null, null, "before, queue: the worker fails after the charge", before::work);
        before.work();
        Tap.ok(channel.times() == 2 && queue.isEmpty(), "... and the message that came again took money again");
        Tap.ok(before.monitor() == 0, "before, monitor: nothing to see");
    }

    static void wallet() {
        String py101 = "shop.PaymentRefused$OrderAlreadyPaid";
        String optimistic = "org.springframework.dao.OptimisticLockingFailureException";
        db.update("INSERT INTO wallets VALUES ('anna', 5000), ('otto', 10)");

        after.createOrder("w1", "anna", 1000);
        after.createOrder("w1", "anna", 1000);
        Tap.ok(row("w1").equals("new 1") && after.version("w1") == 1, "create: the retry finds the order");
        long seen = after.version("w1");
        after.changeAmount("w1", seen, 1500);
        Tap.raises(optimistic, "PY201", "version_conflict", null, "a stale version is not paid", () -> after.payOptimistic("w1", "w1a", seen));
        Tap.raises(optimistic, "PY201", "version_conflict", null, "a stale version is not changed", () -> after.changeAmount("w1", seen, 1));
        Tap.ok(wallet("anna") == 5000 && state("w1").equals("unpaid"), "... and nothing was written");
        PayguardService.Payment paid = after.payOptimistic("w1", "w1b", after.version("w1"));
        Tap.ok(paid.outcome().equals("paid") && !paid.replayed() && row("w1").equals("paid 3"), "optimistic: paid, and the shop's row with it");
        PayguardService.Payment again = after.payOptimistic("w1", "w1b", 2);
        Tap.ok(again.replayed() && again.id().equals(paid.id()) && wallet("anna") == 3500, "the same key again: replayed, the wallet is debited once");
        Tap.raises(py101, "PY101", "order_already_paid", paid.id().toString(), "another key: refused", () -> after.payOptimistic("w1", "w1c", 3));
        Tap.ok(wallet("anna") == 3500, "... and the wallet is as it was");

        after.createOrder("w2", "anna", 1000);
        Tap.ok(after.payPessimistic("w2", "w2a").outcome().equals("paid") && row("w2").equals("paid 2"), "pessimistic: paid");
        Tap.ok(after.payPessimistic("w2", "w2a").replayed() && wallet("anna") == 2500, "... replayed");
        Tap.raises(py101, "PY101", null, null, "... a second payment: refused", () -> after.payPessimistic("w2", "w2b"));
        Tap.raises("shop.PaymentRefused$NewKeyNeeded", "PY301", "idempotency_key_reused", null, "the key of another order: refused", () -> {
            after.createOrder("w3", "anna", 1000);
            after.payPessimistic("w3", "w2a");
        });

        after.createOrder("w4", "otto", 1000);
        Tap.raises("org.springframework.dao.DataIntegrityViolationException", "23514", "wallets_cents_check", null,
            "not enough in the wallet", () -> after.payPessimistic("w4", "w4a"));
        Tap.ok(state("w4").equals("unpaid") && wallet("otto") == 10, "... and the order is unpaid");
        db.update("UPDATE wallets SET cents = 1000 WHERE customer = 'otto'");
        Tap.ok(after.payPessimistic("w4", "w4a").outcome().equals("paid") && wallet("otto") == 0, "... the key is still good");
    }

    /** Eight clicks with eight keys at once; and one while another transaction holds the order. */
    static void race() throws Exception {
        AtomicInteger paid = new AtomicInteger();
        AtomicInteger refused = new AtomicInteger();
        Thread[] clicks = new Thread[8];
        long had = wallet("anna");
        after.createOrder("r1", "anna", 100);
        for (int i = 0; i < clicks.length; i++) {
            String key = "r1-" + i;
            clicks[i] = new Thread(() -> {
                try {
                    after.payPessimistic("r1", key);
                    paid.incrementAndGet();
                } catch (PaymentRefused.OrderAlreadyPaid error) {
                    refused.incrementAndGet();
                }
            });
            clicks[i].start();
        }
        for (Thread click : clicks) {
            click.join();
        }
        Tap.ok(paid.get() == 1 && refused.get() == 7 && wallet("anna") == had - 100, "eight at once: one is paid, seven are refused, the wallet is debited once");

        after.createOrder("r2", "anna", 100);
        PayguardService hasty = new PayguardService(new DriverManagerDataSource(url("shop") + "&options=-c%20lock_timeout=100ms", "spring_shop", ""), channel);
        try (Connection other = source.getConnection()) {
            other.setAutoCommit(false);
            other.createStatement().execute("SELECT payguard.pay_order('r2', 'r2a')");
            Tap.raises("org.springframework.dao.CannotAcquireLockException", "55P03", null, null, "lock_timeout while another transaction pays",
                () -> hasty.payPessimistic("r2", "r2b"));
            other.rollback();
        }
        Tap.ok(hasty.payPessimistic("r2", "r2b").outcome().equals("paid"), "... which rolls back: paid");
    }

    static void card() {
        after.createOrder("c1", "anna", 1000);
        channel.meanwhile = () -> Tap.raises("shop.PaymentRefused$PaymentInProgress", "PY103", "payment_in_progress", null,
            "two clicks with two keys: the second is refused while the first is at the channel", () -> after.payIdempotent("c1", "c1b"));
        Tap.ok(after.payIdempotent("c1", "c1a").outcome().equals("paid"), "... the first is paid");
        Tap.raises("shop.PaymentRefused$OrderAlreadyPaid", "PY101", null, "channel \"card\"", "... the second is refused afterwards, too",
            () -> after.payIdempotent("c1", "c1b"));
        Tap.ok(after.payIdempotent("c1", "c1a").replayed(), "... the first one repeated is replayed");
        Tap.ok(channel.times() == 1 && row("c1").equals("paid 2"), "... money was taken once");

        after.createOrder("c2", "anna", 1000);
        channel.meanwhile = () -> Tap.ok(after.payIdempotent("c2", "c2a").status().equals("pending"),
            "two clicks with one key: the second asks the channel, which knows nothing, and waits");
        Tap.ok(after.payIdempotent("c2", "c2a").outcome().equals("paid") && channel.times() == 1, "... money was taken once");
    }

    static void lostAnswer() {
        after.createOrder("l1", "anna", 1000);
        channel.loseAnswer = true;
        PayguardService.Payment lost = after.payIdempotent("l1", "l1a");
        Tap.ok(lost.status().equals("unknown") && row("l1").equals("new 1") && state("l1").equals("paying"), "no answer: unknown, not failed");
        Tap.raises("shop.PaymentRefused$PaymentInProgress", "PY103", null, lost.id().toString(), "... blocks another payment",
            () -> after.payPessimistic("l1", "l1b"));
        PayguardService.Payment found = after.verify("l1", lost.id());
        Tap.ok(found.outcome().equals("paid") && found.id().equals(lost.id()) && row("l1").equals("paid 2"), "... asked, the channel knows: paid");
        Tap.ok(after.verify("l1", lost.id()).replayed() && channel.times() == 1, "... asked again: nothing happens; money was taken once");

        after.createOrder("l2", "anna", 1000);
        channel.loseAnswer = true;
        after.payIdempotent("l2", "l2a");
        Tap.ok(after.payIdempotent("l2", "l2a").outcome().equals("paid") && channel.times() == 1, "no answer, and the same key again: paid, money was taken once");
    }

    /** A webhook, or a process that dies behind its report: the money is known, and the row comes later. */
    static void row() {
        after.createOrder("f1", "anna", 1000);
        db.queryForList("SELECT * FROM payguard.record_payment('f1', 'card', 'f1-txn', 1000, 'EUR')");
        Tap.ok(state("f1").equals("paid") && row("f1").equals("new 1"), "reported, and the row has not followed");
        Tap.ok(after.catchUp() == 1 && row("f1").equals("paid 2") && after.catchUp() == 0, "... catchUp() brings it in step, once");

        after.createOrder("f2", "anna", 1000);
        db.execute("ALTER TABLE shop_orders ADD CONSTRAINT no_f2 CHECK (id <> 'f2' OR status = 'new')");
        Tap.raises("org.springframework.dao.DataIntegrityViolationException", "23514", "no_f2", null, "the row cannot follow",
            () -> after.payIdempotent("f2", "f2a"));
        Tap.ok(state("f2").equals("paid"), "... and what the channel said is known all the same");
        db.execute("ALTER TABLE shop_orders DROP CONSTRAINT no_f2");
        Tap.ok(after.payIdempotent("f2", "f2a").replayed() && row("f2").equals("paid 2") && channel.times() == 1,
            "... the same key again: replayed, and the row follows");
    }

    static void queue() {
        after.createOrder("q1", "anna", 1000);
        PayguardService.Payment queued = after.enqueue("q1", "q1a");
        Tap.ok(queued.outcome().equals("pending") && after.enqueue("q1", "q1a").replayed(), "queue: sent twice is there once");
        channel.loseAnswer = true;
        channel.charges = 0;
        Tap.ok(after.work() && state("q1").equals("paying"), "queue: the worker gets no answer");
        Tap.ok(!after.work(), "... and nobody charges again");
        db.queryForList("SELECT * FROM payguard.query_payment(?)", queued.id());
        Tap.ok(after.work() && row("q1").equals("paid 2") && channel.charges == 1 && channel.times() == 1,
            "... the channel is asked, not charged again: paid, money was taken once");
    }

    interface Work {
        void on(EntityManager manager, ShopOrder order);
    }

    /** The shop's other code: loads the entity, changes it, commits. */
    static void edit(String id, Work work) {
        EntityManager manager = shop.createEntityManager();
        try {
            manager.getTransaction().begin();
            work.on(manager, manager.find(ShopOrder.class, id));
            manager.getTransaction().commit();
        } finally {
            if (manager.getTransaction().isActive()) {
                manager.getTransaction().rollback();
            }
            manager.close();
        }
    }

    static void entity() {
        String rollback = "javax.persistence.RollbackException";
        after.createOrder("e1", "anna", 100);
        Tap.raises(rollback, "23514", "payguard_unpaid", null, "@Version: an entity is not paid because somebody says so",
            () -> edit("e1", (manager, order) -> order.status = "paid"));
        Tap.raises(rollback, "23514", "payguard_transition", null, "@Version: nor shipped before it is paid",
            () -> edit("e1", (manager, order) -> order.status = "shipped"));
        Tap.raises(rollback, null, null, null, "@Version: an entity that was paid meanwhile is stale", () -> {
            try {
                edit("e1", (manager, order) -> {
                    after.payPessimistic("e1", "e1a");
                    order.cents = 1;
                });
            } catch (javax.persistence.RollbackException error) {
                Tap.ok(error.getCause() instanceof javax.persistence.OptimisticLockException, "... its cause is OptimisticLockException");
                throw error;
            }
        });
        edit("e1", (manager, order) -> order.status = "shipped");
        Tap.ok(row("e1").equals("shipped 3"), "@Version: a paid one is shipped, by the class that the shop has");
    }

    /** A template as the services have it. */
    static JdbcTemplate translating() {
        JdbcTemplate template = new JdbcTemplate(source);
        template.setExceptionTranslator(new PayguardExceptionTranslator(source));
        return template;
    }

    static void translator() {
        JdbcTemplate template = translating();
        String dao = "org.springframework.dao.";
        template.queryForList("SELECT * FROM payguard.create_order('t1', 5, 'EUR')");
        template.queryForList("SELECT * FROM payguard.cancel_order('t1')");
        Tap.raises("shop.PaymentRefused$OrderClosed", "PY102", "order_closed", null, "translator: PY102",
            () -> template.queryForList("SELECT * FROM payguard.pay_order('t1', 't1a')"));
        try {
            template.queryForList("SELECT * FROM payguard.pay_order('t2', 't2a')");
            Tap.ok(false, "translator: PY401: no error");
        } catch (PaymentRefused error) {
            Tap.ok(error.getClass() == PaymentRefused.class && error.code.equals("PY401") && error.name.equals("order_not_found")
                && error.hint != null, "translator: any other PY code is a PaymentRefused with code, name, detail, hint");
        }
        Tap.raises(dao + "OptimisticLockingFailureException", "40001", "payguard_version", null, "translator: a guarded table, the version forgotten",
            () -> template.update("UPDATE shop_orders SET cents = 1 WHERE id = 'w2'"));
        Tap.raises(dao + "DataIntegrityViolationException", "23514", "payguard_unpaid", null, "translator: a guarded table, not paid",
            () -> template.update("UPDATE shop_orders SET status = 'paid', version = version + 1 WHERE id = 'w3'"));
        Tap.raises("org.springframework.jdbc.BadSqlGrammarException", "42P01", null, null, "translator: other errors are Spring's",
            () -> template.queryForList("SELECT * FROM nowhere"));
    }

    static void monitor() {
        Tap.ok(monitor.alerts().isEmpty(), "monitor: no alert so far");
        after.createOrder("m1", "anna", 1000);
        UUID slow = db.queryForObject("SELECT payment_id FROM payguard.start_payment('m1', 'm1a', 'card')", UUID.class);
        db.queryForList("SELECT * FROM payguard.report_payment(?, 'failed')", slow);
        after.payPessimistic("m1", "m1b");
        channel.charge(slow, 1000, "EUR");
        PayguardService.Payment late = after.verify("m1", slow);
        Tap.ok(late.outcome().equals("surplus") && state("m1").equals("paid"), "monitor: money that comes late for a paid order is surplus");
        List<String> alerts = monitor.alerts();
        Tap.ok(alerts.contains("surplus_payment m1"), "... and there is an alert: " + alerts);
        Tap.ok(monitor.metric("payguard_payments_total") > 0, "monitor: metrics");
        Tap.ok(monitor.violations().isEmpty(), "monitor: no promise is broken: " + monitor.violations());
    }
}
