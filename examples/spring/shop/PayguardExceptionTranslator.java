package shop;

import java.sql.SQLException;
import javax.sql.DataSource;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;
import org.springframework.dao.DataAccessException;
import org.springframework.dao.OptimisticLockingFailureException;
import org.springframework.jdbc.support.SQLErrorCodeSQLExceptionTranslator;
import org.springframework.jdbc.support.SQLExceptionTranslator;

/** payguard's SQLSTATEs as exceptions; all others as Spring translates them. For JdbcTemplate.setExceptionTranslator(). */
public class PayguardExceptionTranslator implements SQLExceptionTranslator {
    private final SQLExceptionTranslator others;

    public PayguardExceptionTranslator(DataSource source) {
        others = new SQLErrorCodeSQLExceptionTranslator(source);
    }

    @Override
    public DataAccessException translate(String task, String sql, SQLException error) {
        ServerErrorMessage server = error instanceof PSQLException ? ((PSQLException) error).getServerErrorMessage() : null;
        if (server == null) {
            return others.translate(task, sql, error);
        }
        switch (server.getSQLState()) {
            case "PY101":
                return new PaymentRefused.OrderAlreadyPaid(server, error);
            case "PY102":
                return new PaymentRefused.OrderClosed(server, error);
            case "PY103":
                return new PaymentRefused.PaymentInProgress(server, error);
            case "PY301":
            case "PY302":
            case "PY303":
                return new PaymentRefused.NewKeyNeeded(server, error);
            case "PY201":
                return new OptimisticLockingFailureException(server.getMessage(), error);
            default:
        }
        if (server.getSQLState().startsWith("PY")) {
            return new PaymentRefused(server, error);
        }
        if ("payguard_version".equals(server.getConstraint())) {   // a guarded table: 40001
            return new OptimisticLockingFailureException(server.getMessage(), error);
        }
        return others.translate(task, sql, error);
    }
}
