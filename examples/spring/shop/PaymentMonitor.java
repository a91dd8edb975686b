package shop;

import java.util.List;
import javax.sql.DataSource;
import org.springframework.jdbc.core.JdbcTemplate;

/** After: what a person must look at. For @Scheduled once a minute, as a role with the accesses operator and auditor. */
public class PaymentMonitor {
    private final JdbcTemplate db;

    public PaymentMonitor(DataSource source) {
        this.db = new JdbcTemplate(source);
    }

    /** Open alerts as "kind order", the most urgent first. */
    public List<String> alerts() {
        db.queryForList("SELECT * FROM payguard.maintain()");
        return db.queryForList("SELECT concat_ws(' ', kind, order_id) FROM payguard.alerts WHERE resolved_at IS NULL "
            + "ORDER BY array_position('{critical,warning,info}', severity), alert_id", String.class);
    }

    /** Broken promises: none on a sound database. Reads all tables, so at night. */
    public List<String> violations() {
        return db.queryForList("SELECT concat_ws(' ', invariant, object, problem) FROM payguard.verify()", String.class);
    }

    /** Money by what became of it, and all the other metrics. */
    public double metric(String name) {
        return db.queryForObject("SELECT coalesce(sum(value), 0) FROM payguard.metrics WHERE name = ?", Double.class, name);
    }
}
