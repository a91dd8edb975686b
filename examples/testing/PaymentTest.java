import static org.junit.Assert.assertEquals;
import static org.junit.Assert.fail;

import javax.sql.DataSource;
import org.junit.Before;
import org.junit.Test;
import org.junit.runner.RunWith;
import org.postgresql.util.PSQLException;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.context.annotation.Bean;
import org.springframework.dao.DataAccessException;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.jdbc.datasource.DriverManagerDataSource;
import org.springframework.test.context.ContextConfiguration;
import org.springframework.test.context.junit4.SpringJUnit4ClassRunner;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.TransactionDefinition;
import org.springframework.transaction.annotation.Transactional;
import org.springframework.transaction.support.TransactionTemplate;

/** Each test is rolled back, so that all of them may use the same ids and keys. */
@RunWith(SpringJUnit4ClassRunner.class)
@ContextConfiguration(classes = PaymentTest.Shop.class)
@Transactional
public class PaymentTest {
    static class Shop {
        @Bean
        DataSource source() {
            return new DriverManagerDataSource("jdbc:postgresql://127.0.0.1:" + System.getenv("PGPORT") + "/shop_test", "shop_test", "");
        }

        @Bean
        PlatformTransactionManager transactions(DataSource source) {
            return new DataSourceTransactionManager(source);
        }

        @Bean
        JdbcTemplate db(DataSource source) {
            return new JdbcTemplate(source);
        }
    }

    @Autowired
    JdbcTemplate db;
    @Autowired
    PlatformTransactionManager transactions;

    @Before
    public void order() {
        db.queryForObject("SELECT status FROM payguard.create_order('A-1', 1999, 'EUR')", String.class);
    }

    private String pay(String key) {
        return db.queryForObject("SELECT outcome FROM payguard.pay_order('A-1', ?)", String.class, key);
    }

    @Test
    public void anOrderIsPaidOnce() {
        TransactionTemplate savepoint = new TransactionTemplate(transactions);
        savepoint.setPropagationBehavior(TransactionDefinition.PROPAGATION_NESTED);     // the test goes on after it
        assertEquals("paid", pay("click-1"));
        try {
            savepoint.execute(status -> pay("click-2"));
            fail("it was paid twice");
        } catch (DataAccessException refused) {
            PSQLException error = (PSQLException) refused.getMostSpecificCause();
            assertEquals("order_already_paid", error.getServerErrorMessage().getConstraint());
        }
        assertEquals("paid", db.queryForObject("SELECT advice FROM payguard.order_status('A-1')", String.class));
    }

    @Test
    public void nothingIsLeftOfAnotherTest() {
        assertEquals("unpaid", db.queryForObject("SELECT status FROM payguard.order_status('A-1')", String.class));
    }
}
