import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import javax.persistence.EntityManager;
import javax.persistence.EntityManagerFactory;
import javax.persistence.Persistence;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DriverManagerDataSource;

/** JDBC, Spring JDBC and EclipseLink on the guarded table. */
public class Clients {
    static final String URL = "jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/postgres";

    public static void main(String[] arguments) throws Exception {
        jdbc();
        spring();
        eclipselink();
        System.out.println("1.." + Tap.count);
        System.exit(Tap.failed == 0 ? 0 : 1);
    }

    static Connection connect() throws SQLException {
        return DriverManager.getConnection(URL, "shop", null);
    }

    static String stored(int id) throws SQLException {
        return query("SELECT status || ' ' || version FROM shop_orders WHERE id = " + id);
    }

    static String query(String sql) throws SQLException {
        try (Connection db = connect(); Statement statement = db.createStatement(); ResultSet row = statement.executeQuery(sql)) {
            return row.next() ? row.getString(1) : null;
        }
    }

    static int update(String sql) throws SQLException {
        try (Connection db = connect(); Statement statement = db.createStatement()) {
            return statement.executeUpdate(sql);
        }
    }

    static void jdbc() throws Exception {
        String error = "org.postgresql.util.PSQLException";
        String move = "UPDATE shop_orders SET version = version + 1, status = '%s' WHERE id = 500 AND version = %d";

        Tap.ok(update(String.format(move, "paid", 1)) == 1 && stored(500).equals("paid 2"), "JDBC: a legal transition saves");
        Tap.raises(error, "23514", "payguard_transition", "from \"paid\" to \"unpaid\"", "JDBC: an illegal one",
            () -> update(String.format(move, "unpaid", 2)));
        Tap.ok(update(String.format(move, "refunded", 1)) == 0, "JDBC: a stale object: no row");
        Tap.raises(error, "40001", "payguard_version", null, "JDBC: the version forgotten",
            () -> update("UPDATE shop_orders SET status = 'refunded' WHERE id = 500"));
        Tap.raises(error, "23514", "payguard_delete", null, "JDBC: delete", () -> update("DELETE FROM shop_orders WHERE id = 500"));
        Tap.raises("java.sql.BatchUpdateException", "23514", "payguard_transition", null, "JDBC: a batch", () -> {
            try (Connection db = connect(); Statement statement = db.createStatement()) {
                statement.addBatch(String.format(move, "refunded", 2));
                statement.addBatch(String.format(move, "unpaid", 3));
                statement.executeBatch();
            }
        });
        Tap.ok(stored(500).equals("paid 2"), "JDBC: nothing of all that was written");
        pay("jdbc", error);
        bodies("JDBC", error, (channel, body) -> {
            try (Connection db = connect(); PreparedStatement statement = db.prepareStatement(RECORD)) {
                statement.setString(1, channel);
                if (body instanceof String) {
                    statement.setString(2, (String) body);
                } else {
                    statement.setBytes(2, (byte[]) body);
                }
                ResultSet row = statement.executeQuery();
                row.next();
                return row.getString(1);
            }
        });
    }

    static final String RECORD = "SELECT result FROM payguard.record_notification(?, ?)";

    interface Recorder {
        String record(String channel, Object body) throws Exception;
    }

    /** Each body of bodies.txt is kept byte for byte, and as a String and as a byte[] it is one event. */
    static void bodies(String client, String refused, Recorder recorder) throws Exception {
        String latest = "SELECT encode(body, 'hex') FROM payguard.notifications WHERE channel = '" + client + "' ORDER BY received_at DESC LIMIT 1";
        List<String[]> lines = Files.readAllLines(Paths.get(System.getenv("PAYGUARD_SRC"), "test/clients/bodies.txt")).stream()
            .filter(line -> !line.startsWith("#")).map(line -> line.split(" ", 3)).collect(Collectors.toList());
        for (String[] line : lines) {
            byte[] body = HexFormat.of().parseHex(line[1]);
            Object first = line[0].equals("text") ? new String(body, StandardCharsets.UTF_8) : body;
            String results = recorder.record(client, first) + " " + recorder.record(client, body);
            String kept = query(latest);
            Tap.ok(results.equals("unmatched duplicate") && line[1].equals(kept), client + ": " + line[2] + ": " + results + " " + kept);
        }
        Tap.raises(refused, "22021", null, null, client + ": a NUL in a String", () -> recorder.record(client, "a\0b"));
        Tap.ok(lines.get(lines.size() - 1)[1].equals(query(latest)), client + ": which is not kept");
    }

    static void pay(String order, String error) throws Exception {
        query("SELECT status FROM payguard.create_order('" + order + "', 5, 'EUR')");
        Tap.ok(query("SELECT outcome FROM payguard.pay_order('" + order + "', '" + order + "')").equals("paid"), order + ": pay_order()");
        Tap.raises(error, "PY101", "order_already_paid", "paid it at", order + ": a second payment",
            () -> query("SELECT outcome FROM payguard.pay_order('" + order + "', 'another')"));
    }

    static void spring() throws Exception {
        JdbcTemplate db = new JdbcTemplate(new DriverManagerDataSource(URL, "shop", ""));
        String dao = "org.springframework.dao.";
        String move = "UPDATE shop_orders SET version = version + 1, status = ? WHERE id = 600 AND version = ?";

        Tap.ok(db.update(move, "paid", 1) == 1 && stored(600).equals("paid 2"), "Spring JDBC: a legal transition saves");
        Tap.raises(dao + "DataIntegrityViolationException", "23514", "payguard_transition", "from \"paid\" to \"unpaid\"",
            "Spring JDBC: an illegal one", () -> db.update(move, "unpaid", 2));
        Tap.ok(db.update(move, "refunded", 1) == 0, "Spring JDBC: a stale object: no row");
        Tap.raises(dao + "ConcurrencyFailureException", "40001", "payguard_version", null, "Spring JDBC: the version forgotten",
            () -> db.update("UPDATE shop_orders SET status = 'refunded' WHERE id = 600"));
        Tap.raises(dao + "DataIntegrityViolationException", "23514", "payguard_delete", null, "Spring JDBC: delete",
            () -> db.update("DELETE FROM shop_orders WHERE id = 600"));
        Tap.ok(stored(600).equals("paid 2"), "Spring JDBC: nothing of all that was written");
        db.queryForObject("SELECT status FROM payguard.create_order('spring', 5, 'EUR')", String.class);
        Tap.ok(db.queryForObject("SELECT outcome FROM payguard.pay_order('spring', 'spring')", String.class).equals("paid"),
            "Spring JDBC: pay_order()");
        Tap.raises(dao + "DataAccessException", "PY101", "order_already_paid", "paid it at", "Spring JDBC: a second payment",
            () -> db.queryForObject("SELECT outcome FROM payguard.pay_order('spring', 'another')", String.class));
        bodies("Spring JDBC", dao + "DataAccessException", (channel, body) -> db.queryForObject(RECORD, String.class, channel, body));
    }

    static EntityManagerFactory factory;

    /** Runs work in a transaction of its own. */
    static void transact(Consumer<EntityManager> work) {
        EntityManager manager = factory.createEntityManager();
        try {
            manager.getTransaction().begin();
            work.accept(manager);
            manager.getTransaction().commit();
        } finally {
            if (manager.getTransaction().isActive()) {
                manager.getTransaction().rollback();
            }
            manager.close();
        }
    }

    static void move(String status) {
        transact(manager -> manager.find(ShopOrder.class, 700).status = status);
    }

    static void eclipselink() throws Exception {
        Map<String, String> url = Collections.singletonMap("javax.persistence.jdbc.url", URL);
        String rollback = "javax.persistence.RollbackException";

        factory = Persistence.createEntityManagerFactory("shop", url);
        move("paid");
        Tap.ok(stored(700).equals("paid 2"), "EclipseLink: a legal transition saves");
        Tap.raises(rollback, "23514", "payguard_transition", "from \"paid\" to \"unpaid\"", "EclipseLink: an illegal one", () -> move("unpaid"));
        Tap.raises("javax.persistence.PersistenceException", "40001", "payguard_version", null, "EclipseLink: a query that forgets the version",
            () -> transact(manager -> manager.createNativeQuery("UPDATE shop_orders SET status = 'refunded' WHERE id = 700").executeUpdate()));
        Tap.raises(rollback, "23514", "payguard_delete", null, "EclipseLink: remove()",
            () -> transact(manager -> manager.remove(manager.find(ShopOrder.class, 700))));
        Tap.raises(rollback, "23514", "payguard_initial", null, "EclipseLink: persist() of a paid row", () -> transact(manager -> {
            ShopOrder order = new ShopOrder();
            order.id = 5700;
            order.status = "paid";
            manager.persist(order);
        }));
        Tap.ok(stored(700).equals("paid 2"), "EclipseLink: nothing of all that was written");
        Tap.raises(rollback, null, null, null, "EclipseLink: a stale object", () -> {
            try {
                transact(old -> {
                    ShopOrder order = old.find(ShopOrder.class, 700);
                    move("refunded");
                    order.status = "refunded";
                });
            } catch (javax.persistence.RollbackException error) {
                Tap.ok(error.getCause() instanceof javax.persistence.OptimisticLockException, "EclipseLink: its cause: " + error.getCause().getClass().getName());
                throw error;
            }
        });
        Tap.ok(stored(700).equals("refunded 3"), "EclipseLink: the first of two was written");
        transact(manager -> manager.createNativeQuery("SELECT status FROM payguard.create_order('eclipselink', 5, 'EUR')").getSingleResult());
        transact(manager -> Tap.ok(manager.createNativeQuery("SELECT outcome FROM payguard.pay_order('eclipselink', 'eclipselink')")
            .getSingleResult().equals("paid"), "EclipseLink: pay_order()"));
        Tap.raises("javax.persistence.PersistenceException", "PY101", "order_already_paid", "paid it at", "EclipseLink: a second payment",
            () -> transact(manager -> manager.createNativeQuery("SELECT outcome FROM payguard.pay_order('eclipselink', 'another')").getSingleResult()));
        bodies("EclipseLink", "javax.persistence.PersistenceException", (channel, body) -> {
            String[] result = new String[1];
            transact(manager -> result[0] = (String) manager.createNativeQuery(RECORD).setParameter(1, channel).setParameter(2, body).getSingleResult());
            return result[0];
        });
    }
}
