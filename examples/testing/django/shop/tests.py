"""python3 -m django test --settings settings"""
from threading import Thread

from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.db.models import F
from django.http import JsonResponse
from django.test import RequestFactory, TestCase, TransactionTestCase

from shop.models import ShopOrder


def call(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()


def pay(request):
    """A view that catches what payguard refuses, and answers."""
    try:
        return JsonResponse({"state": call("SELECT outcome FROM payguard.pay_order('A-1', %s)", request.POST["key"])[0]})
    except DatabaseError as error:
        return JsonResponse({"state": error.__cause__.diag.constraint_name}, status=409)


class PaymentTest(TestCase):
    """Each test is rolled back, so that all of them may use the same ids and keys."""

    def setUp(self):
        call("SELECT status FROM payguard.create_order('A-1', 1999, 'EUR')")
        self.order = ShopOrder.objects.create(id="A-1")

    def test_paid_once(self):
        self.assertEqual(call("SELECT outcome FROM payguard.pay_order('A-1', 'click-1')"), ("paid",))
        with self.assertRaises(DatabaseError) as refused, transaction.atomic():     # a savepoint: the test goes on after it
            call("SELECT outcome FROM payguard.pay_order('A-1', 'click-2')")
        self.assertEqual(refused.exception.__cause__.diag.constraint_name, "order_already_paid")

    def test_a_view_that_answers_a_refusal(self):
        call("SELECT outcome FROM payguard.pay_order('A-1', 'click-1')")
        with transaction.atomic():                  # a savepoint around the request
            response = pay(RequestFactory().post("/", {"key": "click-2"}))
            transaction.set_rollback(True)          # back to it, since the view has caught the error
        self.assertEqual(response.status_code, 409)
        self.assertEqual(call("SELECT advice FROM payguard.order_status('A-1')"), ("paid",))

    def test_nothing_is_left(self):
        self.assertEqual(call("SELECT status FROM payguard.order_status('A-1')"), ("unpaid",))

    def test_the_guard_holds(self):
        self.order.status = "paid"
        with self.assertRaises(IntegrityError) as refused, transaction.atomic():
            self.order.save()
        self.assertEqual(refused.exception.__cause__.diag.constraint_name, "payguard_unpaid")

    def test_a_stale_object(self):
        call("SELECT outcome FROM payguard.pay_order('A-1', 'click-1')")
        self.assertEqual(call("SELECT payguard.sync_rows('A-1')"), (1,))
        with self.assertRaises(OperationalError) as refused, transaction.atomic():     # it would be new again
            self.order.save()
        self.assertEqual(refused.exception.__cause__.diag.constraint_name, "payguard_version")
        ShopOrder.objects.filter(id="A-1").update(status="shipped", version=F("version") + 1)


class TwoClicksTest(TransactionTestCase):
    """What commits takes an id that no other test has. A guarded table refuses to be truncated, so nothing is flushed."""

    def _fixture_teardown(self):
        pass

    def test_two_clicks_at_once(self):
        order, = call("SELECT payguard.new_order_id()")
        call("SELECT status FROM payguard.create_order(%s, 1999, 'EUR')", order)
        outcomes = []

        def click(key):
            try:
                outcomes.append(call("SELECT outcome FROM payguard.try_pay_order(%s, %s)", order, key)[0])
            finally:
                connection.close()      # a thread has a connection of its own

        clicks = [Thread(target=click, args=[f"{order}/{n}"]) for n in (1, 2)]
        for thread in clicks:
            thread.start()
        for thread in clicks:
            thread.join()
        self.assertEqual(sorted(outcomes), ["order_already_paid", "paid"])
