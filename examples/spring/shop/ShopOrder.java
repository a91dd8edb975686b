package shop;

import javax.persistence.Column;
import javax.persistence.Entity;
import javax.persistence.Id;
import javax.persistence.Table;
import javax.persistence.Version;

/** The shop's order. It is the same class before and after. */
@Entity
@Table(name = "shop_orders")
public class ShopOrder {
    @Id
    public String id;
    public String customer;
    public long cents;
    public String status = "new";
    @Version
    public long version;
    @Column(name = "trade_no")
    public String tradeNo;
}
