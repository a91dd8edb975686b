from django.db import migrations, models

GUARD = """
    SELECT payguard.guard_table('shop_shoporder', 'status', '{"new": ["paid"], "paid": ["shipped"]}',
      order_id_column => 'id', paid_states => '{paid,shipped}', allow_delete => '{new}')
"""


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel("ShopOrder", [
            ("id", models.CharField(primary_key=True, max_length=36)),
            ("status", models.CharField(max_length=20, default="new")),
        ]),
        migrations.RunSQL(GUARD, "SELECT payguard.unguard_table('shop_shoporder')"),
    ]
