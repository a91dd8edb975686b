import javax.persistence.Column;
import javax.persistence.Entity;
import javax.persistence.Id;
import javax.persistence.Table;
import javax.persistence.Version;

@Entity
@Table(name = "shop_orders")
public class ShopOrder {
    @Id
    public int id;
    public String status;
    public int amount;
    @Version
    @Column(name = "version")
    public int version;
}
