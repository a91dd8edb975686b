#!/usr/bin/python3
"""Django: a model on the guarded table. Django has no version of its own: the guard is it."""
import django
from django.conf import settings

from tap import HOST, LATEST, PORT, RECORD, bodies, done, ok, raises

ID = 300
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres",
                                          "USER": "shop", "HOST": HOST, "PORT": PORT}},
                   DEFAULT_AUTO_FIELD="django.db.models.AutoField")
django.setup()

from django.db import DatabaseError, IntegrityError, OperationalError, connection, models  # noqa: E402


class Order(models.Model):
    id = models.IntegerField(primary_key=True)
    status = models.CharField(max_length=20)
    amount = models.IntegerField(default=5)
    version = models.IntegerField(default=1)

    class Meta:
        app_label = "shop"
        db_table = "shop_orders"
        managed = False

    def save(self, *args, **kwargs):
        if not self._state.adding:
            self.version += 1
        super().save(*args, **kwargs)


def stored():
    return Order.objects.values_list("status", "version").get(id=ID)


def move(to):
    order = Order.objects.get(id=ID)
    order.status = to
    order.save()


def stale():
    old = Order.objects.get(id=ID)
    move("refunded")
    old.status = "refunded"
    old.save()


def cause(error):
    return error.__cause__.diag.constraint_name


move("paid")
ok(stored() == ("paid", 2), "a legal transition saves")
raises(IntegrityError, lambda: move("unpaid"), "an illegal one",
       lambda e: e.__cause__.pgcode == "23514" and cause(e) == "payguard_transition"
       and 'from "paid" to "unpaid"' in e.__cause__.diag.message_detail)
raises(OperationalError, lambda: Order.objects.filter(id=ID).update(status="refunded"),
       "update() that forgets the version", lambda e: e.__cause__.pgcode == "40001")
raises(IntegrityError, lambda: Order.objects.get(id=ID).delete(), "delete", lambda e: cause(e) == "payguard_delete")
raises(IntegrityError, lambda: Order.objects.bulk_create([Order(id=ID + 5000, status="paid")]),
       "bulk_create() of a paid row", lambda e: cause(e) == "payguard_initial")
raises(IntegrityError, lambda: Order.objects.filter(id=ID).update(amount=7, version=3), "a frozen column",
       lambda e: cause(e) == "payguard_immutable")
ok(stored() == ("paid", 2), "nothing of all that was written")
raises(OperationalError, stale, "a stale object", lambda e: cause(e) == "payguard_version")
ok(stored() == ("refunded", 3), "the first of two was written")

with connection.cursor() as cursor:
    cursor.execute("SELECT status FROM payguard.create_order('django', 5, 'EUR')")
    cursor.execute("SELECT outcome, replayed FROM payguard.pay_order('django', 'django')")
    ok(cursor.fetchone() == ("paid", False), "pay_order()")
    raises(DatabaseError, lambda: cursor.execute("SELECT payguard.pay_order('django', 'another')"), "a second payment",
           lambda e: e.__cause__.pgcode == "PY101" and "paid it at" in e.__cause__.diag.message_detail)


def one(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


bodies("Django", lambda channel, body: one(RECORD, channel, body), lambda channel: one(LATEST, channel), ValueError)
done()
