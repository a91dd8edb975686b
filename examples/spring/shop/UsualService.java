package shop;

import java.util.Queue;
import java.util.UUID;
import java.util.function.Function;
import javax.persistence.EntityManager;
import javax.persistence.EntityManagerFactory;
import javax.persistence.LockModeType;

/** Before: the shop's payments as they are usually written. Do not copy: README.md says what goes wrong in each method. */
public class UsualService {
    private final EntityManagerFactory factory;
    private final Channel channel;
    private final Queue<String> queue;

    public UsualService(EntityManagerFactory factory, Channel channel, Queue<String> queue) {
        this.factory = factory;
        this.channel = channel;
        this.queue = queue;
    }

    public void createOrder(String id, String customer, long cents) {
        transact(manager -> {
            ShopOrder order = new ShopOrder();
            order.id = id;
            order.customer = customer;
            order.cents = cents;
            manager.persist(order);
            return null;
        });
    }

    /** The loser of two gets an OptimisticLockException at commit: after it has charged. */
    public void payOptimistic(String id) {
        transact(manager -> {
            charge(manager.find(ShopOrder.class, id));
            return null;
        });
    }

    /** The row stays locked while the channel is called; no answer rolls back, and nobody knows of the charge. */
    public void payPessimistic(String id) {
        transact(manager -> {
            charge(manager.find(ShopOrder.class, id, LockModeType.PESSIMISTIC_WRITE));
            return null;
        });
    }

    /** The key is rolled back with the rest, so that the retry is a new payment. */
    public boolean payIdempotent(String id, String key) {
        return transact(manager -> {
            if (manager.createNativeQuery("INSERT INTO used_keys VALUES (?) ON CONFLICT DO NOTHING").setParameter(1, key).executeUpdate() == 0) {
                return false;
            }
            charge(manager.find(ShopOrder.class, id, LockModeType.PESSIMISTIC_WRITE));
            return true;
        });
    }

    /** Whatever is not "succeeded" counts as failed, also what the channel does not know yet. */
    public void verify(String id) {
        transact(manager -> {
            ShopOrder order = manager.find(ShopOrder.class, id);
            Channel.Answer answer = channel.query(UUID.fromString(order.tradeNo));
            order.status = answer.status().equals("succeeded") ? "paid" : "failed";
            return null;
        });
    }

    /** Begins a payment that verify() will ask about: the customer pays on the channel's page. */
    public UUID begin(String id) {
        return transact(manager -> {
            ShopOrder order = manager.find(ShopOrder.class, id);
            requirePayable(order);
            order.tradeNo = UUID.randomUUID().toString();
            return UUID.fromString(order.tradeNo);
        });
    }

    /** To a broker, beside the transaction: lost when we die before this, sent for nothing when we roll back after it. */
    public void enqueue(String id) {
        queue.add(id);
    }

    /** One message. Where it throws, the broker delivers the message again. */
    public void work() {
        payOptimistic(queue.peek());
        queue.remove();
    }

    /** Sees what is in the table alone. */
    public long monitor() {
        return transact(manager -> ((Number) manager.createNativeQuery(
            "SELECT count(*) FROM shop_orders WHERE status NOT IN ('new', 'paid', 'failed', 'shipped')").getSingleResult()).longValue());
    }

    private void charge(ShopOrder order) {
        requirePayable(order);
        channel.charge(UUID.randomUUID(), order.cents, "EUR");
        order.status = "paid";
    }

    private static void requirePayable(ShopOrder order) {
        if (!order.status.equals("new") && !order.status.equals("failed")) {
            throw new IllegalStateException("order is " + order.status);
        }
    }

    private <T> T transact(Function<EntityManager, T> work) {
        EntityManager manager = factory.createEntityManager();
        try {
            manager.getTransaction().begin();
            T result = work.apply(manager);
            manager.getTransaction().commit();
            return result;
        } finally {
            if (manager.getTransaction().isActive()) {
                manager.getTransaction().rollback();
            }
            manager.close();
        }
    }
}
