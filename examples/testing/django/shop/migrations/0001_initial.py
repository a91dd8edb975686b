from django.db import migrations, models

GUARD = """
    SELECT payguard.guard_table('shop_shoporder', 'status',
      '{"new": ["paid", "cancelled"], "paid": ["shipped", "refunded", "new"], "shipped": ["refunded"], "cancelled": ["paid"]}',
      initial => '{new}', order_id_column => 'id', paid_states => '{paid,shipped}', closed_states => '{cancelled,refunded}',
      version_column => 'version', allow_delete => '{new}',
      follow => '{"paid": "paid", "refunded": "refunded", "cancelled": "cancelled", "expired": "cancelled", "unpaid": "new"}')
"""


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel("ShopOrder", [
            ("id", models.CharField(primary_key=True, max_length=36)),
            ("status", models.CharField(max_length=20, default="new")),
            ("version", models.IntegerField(default=1)),
        ]),
        # by the role that migrates, the table's owner, with the access owner
        migrations.RunSQL(GUARD, "SELECT payguard.unguard_table('shop_shoporder')"),
    ]
