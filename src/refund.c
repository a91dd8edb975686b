/*
 * refund.c
 *		Money that goes back: requests, what channels report of them, and the ceiling.
 *
 * Locking: the order's row lock first, then the payment's row in refund_balances, which every
 * refund of the payment locks. The ceiling (refunding + refunded <= received) is that row's
 * CHECK constraint; it is looked at before, for a better error.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "funcapi.h"

#include "payguard.h"

#define N_REFUND_RESULT_COLUMNS 9

static const RowQuery refunds_of_payment = {"payment_id " OP("=") " $1",
											{UUIDOID, InvalidOid}};

/* A request to refund, as the caller made it. */
typedef struct RefundCall
{
	text *key;
	int64 amount; /* NO_AMOUNT: the rest */
	text *reason;
	Jsonb *details;
} RefundCall;

static void must_not_exist(const RefundBalance *balance);
static bool correct_unbegun(const Payment *payment);
static void correct_order_status(Order *order, const Payment *payment);
static void read_refund_call(FunctionCallInfo fcinfo, RefundCall *call);
static bool replay_refund(const RefundCall *call, const Payment *payment,
						  const text *order_id, Refund *refund);
static Datum request_refund(FunctionCallInfo fcinfo, const RefundCall *call, Order *order,
							Payment *payment);
static void lock_balance(const Payment *payment, RefundBalance *balance);
static void store_balance(const Payment *payment, RefundBalance *balance);
static void fit_received(const Payment *payment, RefundBalance *balance);
static void check_ceiling(const RefundBalance *balance, const Payment *payment,
						  int64 amount);
static void refund_change(Refund *refund, RefundStatus to, FieldSet also, Jsonb *details);
static void insert_refund(Order *order, const Payment *payment, Refund *refund);
static bool needs_approval(const Payment *payment, const Refund *refund);
static bool policy_asks(const Refund *refund, int64 going_back);
static void count_returned(Order *order, const Payment *payment, const Refund *refund,
						   RefundBalance *balance, int64 amount);
static int64 add(int64 a, int64 b);
static void uncount_returned(Order *order, const Payment *payment, const Refund *refund,
							 RefundBalance *balance);
static void change_order_refunded(Order *order, const Payment *payment, int64 refunded);
static bool counts_for_order(const Order *order, const Payment *payment,
							 const Refund *refund);
static void follow_approval(const Refund *refund, RefundStatus from, bool other_amount);
static void hold_unbegun(const Payment *payment);
static void waive(const Payment *payment, Refund *refund, text *note);
static void go_on(Order *order, const Payment *payment, Refund *refund, text *note);
static Datum decide_refund(FunctionCallInfo fcinfo, bool approve, const char *function);
static void schedule(const Refund *refund, const char *kind);
static void end_tasks(const Refund *refund);
static bool has_begun(const Refund *refund);
static bool is_reserved(RefundStatus status);
static void contradict(const Refund *refund, const Report *report, const char *alert,
					   const char *why, Applied *applied);
static void note_returned(Order *order, const Payment *payment, Refund *refund,
						  const Report *report, Applied *applied);
static void check_returned(Order *order, const Payment *payment, const Refund *refund,
						   const Report *report);
static void fill_in(Order *order, const Payment *payment, Refund *refund,
					const Report *report, Applied *applied);
static void note_not_returned(Order *order, const Payment *payment, Refund *refund,
							  const Report *report, Applied *applied);
static void note_open(Refund *refund, const Report *report, Applied *applied);
static void must_exist(const pg_uuid_t *refund_id, Refund *refund);
static void lock_refund(const pg_uuid_t *refund_id, Order *order, Payment *payment,
						Refund *refund);
static void check_second_person(const Payment *payment, const Refund *refund);
static void check_not_asker(const Refund *refund, const char *detail, const char *hint);
static void refuse_move(const Refund *refund, const char *what, const char *hint)
	pg_attribute_noreturn();
static Jsonb *report_details(const Report *report);
static Datum refund_result(FunctionCallInfo fcinfo, const Refund *refund, bool replayed,
						   const char *recorded);

/*
 * payguard_refund_about names a refund for an event, an alert or a task.
 */
About
payguard_refund_about(const Refund *refund)
{
	return (About){
		.order_id = refund->order_id,
		.payment_id = refund->payment_id,
		.refund_id = refund->refund_id,
	};
}

/*
 * payguard_alert_refund opens an alert whose cause is a refund.
 */
void
payguard_alert_refund(const char *kind, const char *severity, const Refund *refund,
					  Jsonb *details)
{
	payguard_alert_open(kind, severity,
						payguard_text(payguard_uuid_str(refund->refund_id)),
						payguard_refund_about(refund), details);
}

/*
 * payguard_refund_surplus opens the refund of surplus money: all that was received and has no
 * refund yet. The caller holds the order's lock.
 */
void
payguard_refund_surplus(Order *order, const Payment *payment, RefundStatus status)
{
	RefundBalance balance;
	Datum id = UUIDPGetDatum(payment->payment_id);
	Refund *others;
	int64 rest = payment->received_amount;
	int n;

	Assert(payment->status == PAYMENT_SURPLUS);
	Assert(status == REFUND_AWAITING_APPROVAL || status == REFUND_PENDING);
	lock_balance(payment, &balance);
	payguard_store_refresh(); /* to see what this call has written */
	n = payguard_store_list(&payguard_refunds, &refunds_of_payment, &id,
							(void **) &others);
	for (int i = 0; i < n && rest > 0; i++)
		rest -= others[i].status == REFUND_SUCCEEDED ? others[i].returned_amount
													 : others[i].amount;
	if (rest > 0)
	{
		Refund refund = {
			.amount = rest,
			.status = status,
			.origin = payguard_text("surplus"),
			.reason = payguard_text("money that the order did not need"),
		};

		insert_refund(order, payment, &refund);
	}
}

/*
 * payguard_refund_correct_received follows a correction of what a payment brought: its balance,
 * and a refund for surplus money that nobody knew of, for an operator to approve. Where more
 * would go back than came, refunds that nobody has begun wait for a person.
 */
void
payguard_refund_correct_received(Order *order, const Payment *payment)
{
	RefundBalance like = {.payment_id = payment->payment_id};
	RefundBalance balance;
	bool too_much = false;

	if (payguard_store_lock(&payguard_refund_balances, BALANCE_BY_PAYMENT, &like,
							&balance))
	{
		store_balance(payment, &balance);
		too_much = balance.received > payment->received_amount;
	}
	else if (IsolationUsesXactSnapshot())
		must_not_exist(&like);
	if (payment->status == PAYMENT_SURPLUS)
	{
		too_much = !correct_unbegun(payment) && too_much;
		payguard_refund_surplus(order, payment, REFUND_AWAITING_APPROVAL);
	}
	else if (order->payment_id &&
			 memcmp(order->payment_id, payment->payment_id, UUID_LEN) == 0)
		correct_order_status(order, payment);
	if (too_much)
		hold_unbegun(payment);
}

/*
 * must_not_exist raises 40001 where a payment has a balance that this transaction's snapshot does not
 * see: only another row of its key meets it.
 */
static void
must_not_exist(const RefundBalance *balance)
{
	if (payguard_store_insert_new(&payguard_refund_balances, BALANCE_BY_PAYMENT, balance))
	{
		payguard_store_refresh(); /* to see it */
		payguard_store_delete(&payguard_refund_balances, balance);
	}
}

/*
 * correct_unbegun gives the refund of surplus money that nobody has begun the amount and the
 * currency that were received; false: there is no such refund.
 */
static bool
correct_unbegun(const Payment *payment)
{
	Datum id = UUIDPGetDatum(payment->payment_id);
	RefundBalance balance;
	Refund *refunds;
	int n = payguard_store_list(&payguard_refunds, &refunds_of_payment, &id,
								(void **) &refunds);
	Refund *refund = n == 1 ? &refunds[0] : NULL;
	RefundStatus to;
	Approval approval;

	if (refund == NULL || !payguard_text_is(refund->origin, "surplus") ||
		!is_reserved(refund->status) || has_begun(refund) ||
		payment->received_amount == 0)
		return false;
	lock_balance(payment, &balance);
	balance.refunding += payment->received_amount - refund->amount;
	store_balance(payment, &balance);
	refund->amount = payment->received_amount;
	refund->currency = payment->received_currency;
	/* whoever approved it has approved another amount */
	to = refund->status;
	if (to == REFUND_PENDING &&
		(payguard_approval_of_refund(refund->refund_id, &approval) ||
		 policy_asks(refund, add(balance.refunding, balance.refunded))))
	{
		to = REFUND_AWAITING_APPROVAL;
		end_tasks(refund);
	}
	refund_change(refund, to, FIELD(REFUND_F_AMOUNT) | FIELD(REFUND_F_CURRENCY),
				  payguard_json("amount", 'i', refund->amount, "currency", 't',
								refund->currency, NULL));
	return true;
}

/*
 * correct_order_status: all that was received may be back by now, or not any more.
 */
static void
correct_order_status(Order *order, const Payment *payment)
{
	OrderStatus to =
		order->refunded_amount > 0 && order->refunded_amount >= payment->received_amount
			? ORDER_REFUNDED
			: ORDER_PAID;

	if (to != order->status)
		payguard_order_change(order, to, 0,
							  to == ORDER_REFUNDED ? "order.refunded"
												   : "order.partly_refunded",
							  payment->payment_id, NULL);
}

/*
 * payguard_refund_waive_unbegun waives the refunds of a payment, if none has begun: then its
 * money is here and stays here. false: one may be on its way.
 */
bool
payguard_refund_waive_unbegun(const Payment *payment, const text *note)
{
	Datum id = UUIDPGetDatum(payment->payment_id);
	RefundBalance balance;
	Refund *refunds;
	int n = payguard_store_list(&payguard_refunds, &refunds_of_payment, &id,
								(void **) &refunds);

	for (int i = 0; i < n; i++)
		if (refunds[i].status != REFUND_WAIVED && has_begun(&refunds[i]))
			return false;
	if (n > 0)
		lock_balance(payment, &balance);
	for (int i = 0; i < n; i++)
		if (is_reserved(refunds[i].status))
		{
			balance.refunding -= refunds[i].amount;
			store_balance(payment, &balance);
			refunds[i].completed_at = GetCurrentTimestamp();
			refund_change(&refunds[i], REFUND_WAIVED, FIELD(REFUND_F_COMPLETED_AT),
						  payguard_json("note", 't', note, NULL));
			end_tasks(&refunds[i]);
		}
	return true;
}

/*
 * has_begun tells whether money may be on its way back: a worker has claimed the refund, or it
 * has an outcome.
 */
static bool
has_begun(const Refund *refund)
{
	Task task;

	if (refund->status == REFUND_FAILED && payguard_text_is(refund->origin, "channel"))
		return false; /* a reversal that was undone: nothing is on its way */
	switch (refund->status)
	{
		case REFUND_AWAITING_APPROVAL:
		case REFUND_WAIVED:
			return false;
		case REFUND_PENDING:
			return !payguard_task_find("refund", payguard_refund_about(refund), &task) ||
				   task.sent || task.again;
		case REFUND_UNKNOWN:
		case REFUND_SUCCEEDED:
		case REFUND_FAILED:
			return true;
		case REFUND_NONE:
		case N_REFUND_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no status of a refund", (int) refund->status);
}

PG_FUNCTION_INFO_V1(payguard_refund_order);

/*
 * refund_order(order_id, idempotency_key, amount := NULL, reason, details) → refund_result
 *
 * amount: minor units; NULL: the rest. Errors: 22004, 22023; PY301; PY401; PY402 where no
 * payment paid the order; PY504.
 */
Datum
payguard_refund_order(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	RefundCall call;
	Order order;
	Payment payment;
	Refund refund;
	bool paid;
	Refusal refusal;

	read_refund_call(fcinfo, &call);
	payguard_request_begin("refund_order()");
	paid = payguard_order_find(order_id, &order) && order.payment_id &&
		   payguard_payment_find(order.payment_id, &payment);
	if (replay_refund(&call, paid ? &payment : NULL, order_id, &refund))
	{
		payguard_call_end();
		return refund_result(fcinfo, &refund, true, NULL);
	}
	if (!payguard_order_lock(order_id, &order))
	{
		payguard_refuse_not_found(order_id, &refusal);
		payguard_raise(&refusal);
	}
	payguard_store_refresh();
	if (order.payment_id == NULL || !payguard_payment_reread(order.payment_id, &payment))
	{
		payguard_refuse(
			&refusal, ERR_PAYMENT_NOT_FOUND,
			psprintf("order \"%s\" has not been paid", payguard_str(order_id)),
			psprintf("It is %s.",
					 payguard_machine_name(&payguard_order_machine, order.status)),
			"There is nothing to refund. Surplus money of an order is refunded "
			"with payguard.refund_payment().");
		payguard_raise(&refusal);
	}
	return request_refund(fcinfo, &call, &order, &payment);
}

PG_FUNCTION_INFO_V1(payguard_refund_payment);

/*
 * refund_payment(payment_id, idempotency_key, amount := NULL, reason, details)
 *	→ refund_result
 *
 * Errors: 22004, 22023; PY301; PY402; PY504.
 */
Datum
payguard_refund_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	RefundCall call;
	Order order;
	Payment payment;
	Refund refund;

	read_refund_call(fcinfo, &call);
	payguard_request_begin("refund_payment()");
	payguard_payment_must_exist(payment_id, &payment);
	if (replay_refund(&call, &payment, NULL, &refund))
	{
		payguard_call_end();
		return refund_result(fcinfo, &refund, true, NULL);
	}
	payguard_payment_lock(payment_id, &order, &payment);
	return request_refund(fcinfo, &call, &order, &payment);
}

static void
read_refund_call(FunctionCallInfo fcinfo, RefundCall *call)
{
	call->key = payguard_arg_id(ARG(1), "idempotency_key");
	call->amount = payguard_arg_amount_or_null(ARG(2), "amount");
	call->reason = payguard_arg_note(ARG(3), "reason");
	call->details = payguard_arg_json_or_null(ARG(4), "details");
	if (call->amount == 0)
		payguard_arg_bad("amount", "It is 0.", "Refund 1 or more, or leave it out.");
}

/*
 * replay_refund looks the key up. Same request: its refund; another: PY301. false: it is new.
 * The request is about a payment, or about the payment of an order.
 */
static bool
replay_refund(const RefundCall *call, const Payment *payment, const text *order_id,
			  Refund *refund)
{
	Refund like = {.idempotency_key = call->key};
	const char *difference = NULL;
	Refusal refusal;

	if (!payguard_store_find(&payguard_refunds, REFUND_BY_KEY, &like, refund))
		return false;
	if (order_id && !payguard_text_equal(order_id, refund->order_id))
		difference = "order_id";
	else if (payment && memcmp(payment->payment_id, refund->payment_id, UUID_LEN) != 0)
		difference = "payment_id";
	else if (call->amount != NO_AMOUNT && call->amount != refund->amount)
		difference = psprintf("amount (" INT64_FORMAT ", not " INT64_FORMAT ")",
							  refund->amount, call->amount);
	payguard_store_make_durable(refund);
	if (difference == NULL)
		return true;
	payguard_refuse(&refusal, ERR_KEY_REUSED,
					psprintf("idempotency key \"%s\" was used for another refund",
							 payguard_str(call->key)),
					psprintf("The requests differ in: %s.", difference),
					"A key names one request for ever: use a new key for a new refund.");
	payguard_raise(&refusal);
}

/*
 * request_refund opens a refund of a payment whose order is locked.
 */
static Datum
request_refund(FunctionCallInfo fcinfo, const RefundCall *call, Order *order,
			   Payment *payment)
{
	RefundBalance balance;
	Refund refund;

	if (replay_refund(call, payment, NULL, &refund))
	{
		payguard_call_end();
		return refund_result(fcinfo, &refund, true, NULL);
	}
	lock_balance(payment, &balance);
	refund = (Refund){
		.idempotency_key = call->key,
		.amount = call->amount != NO_AMOUNT
					  ? call->amount
					  : balance.received - balance.refunding - balance.refunded,
		.status = REFUND_PENDING,
		.origin = payguard_text("request"),
		.reason = call->reason,
		.details = call->details,
	};
	check_ceiling(&balance, payment, refund.amount);
	insert_refund(order, payment, &refund);
	payguard_call_end();
	return refund_result(fcinfo, &refund, false, NULL);
}

/*
 * payguard_refund_rest refunds what is left of a payment, if anything is. The caller holds the
 * order's lock.
 */
void
payguard_refund_rest(Order *order, const Payment *payment, text *key, text *reason)
{
	RefundBalance balance;
	Refund refund = {
		.idempotency_key = key,
		.status = REFUND_PENDING,
		.origin = payguard_text("request"),
		.reason = reason,
	};

	lock_balance(payment, &balance);
	refund.amount = balance.received - balance.refunding - balance.refunded;
	if (refund.amount > 0)
		insert_refund(order, payment, &refund);
}

/*
 * check_ceiling raises PY504 where more would go back than is left.
 */
static void
check_ceiling(const RefundBalance *balance, const Payment *payment, int64 amount)
{
	int64 rest = balance->received - balance->refunding - balance->refunded;
	Refusal refusal;

	if (amount > 0 && amount <= rest)
		return;
	payguard_refuse(&refusal, ERR_REFUND_EXCEEDS_PAYMENT,
					psprintf("payment \"%s\" has not that much left to refund",
							 payguard_uuid_str(payment->payment_id)),
					psprintf("Received " INT64_FORMAT ", refunded " INT64_FORMAT
							 ", being refunded " INT64_FORMAT ", asked for " INT64_FORMAT
							 ".",
							 balance->received, balance->refunded, balance->refunding,
							 Max(amount, 0)),
					"Refund the rest at most.");
	payguard_raise(&refusal);
}

/*
 * lock_balance locks a payment's balance, and makes it with the first refund. What was received
 * may have been corrected since, but not below what is on its way back.
 */
static void
lock_balance(const Payment *payment, RefundBalance *balance)
{
	*balance = (RefundBalance){
		.payment_id = payment->payment_id,
		.received = Max(payment->received_amount, 0),
	};
	if (!payguard_store_insert_new(&payguard_refund_balances, BALANCE_BY_PAYMENT,
								   balance) &&
		!payguard_store_lock(&payguard_refund_balances, BALANCE_BY_PAYMENT, balance,
							 balance))
		payguard_store_suppressed(&payguard_refund_balances);
	fit_received(payment, balance);
}

static void
store_balance(const Payment *payment, RefundBalance *balance)
{
	fit_received(payment, balance);
	/* as the table's CHECK has it, in a way that does not overflow */
	Assert(balance->refunding >= 0 && balance->refunded >= 0 && balance->excess >= 0);
	Assert(balance->received - balance->refunding >= balance->refunded);
	payguard_store_update(&payguard_refund_balances,
						  FIELD(BALANCE_F_RECEIVED) | FIELD(BALANCE_F_REFUNDING) |
							  FIELD(BALANCE_F_REFUNDED) | FIELD(BALANCE_F_EXCESS),
						  balance);
}

/*
 * fit_received follows a correction of what was received: what is on its way back cannot be taken
 * off again (the alert tells the operator). What went back beyond the rest counts as refunded as
 * soon as there is room for it: what is back cannot be refunded once more.
 */
static void
fit_received(const Payment *payment, RefundBalance *balance)
{
	int64 fits;

	balance->received =
		Max(payment->received_amount, balance->refunding + balance->refunded);
	fits =
		Min(balance->excess, balance->received - balance->refunding - balance->refunded);
	balance->refunded += fits;
	balance->excess -= fits;
}

/*
 * insert_refund completes and stores a new refund, counts it in the balance and schedules what
 * follows. Money of an internal channel is back at once.
 */
static void
insert_refund(Order *order, const Payment *payment, Refund *refund)
{
	RefundBalance balance;
	Channel channel;
	TimestampTz now = GetCurrentTimestamp();
	bool at_once;
	bool by_policy = refund->status == REFUND_PENDING && needs_approval(payment, refund);

	Assert(payguard_order_is_locked(order->order_id));
	Assert(payguard_text_equal(payment->order_id, order->order_id));
	Assert(refund->amount >= 0 && refund->origin != NULL);
	if (by_policy)
		refund->status = REFUND_AWAITING_APPROVAL;
	payguard_channel_of(payment, &channel);
	at_once = channel.internal && refund->status == REFUND_PENDING;
	refund->refund_id = payguard_uuid_v7(payguard_slot_of(payment->order_id));
	refund->payment_id = payment->payment_id;
	refund->order_id = payment->order_id;
	refund->channel = payment->channel;
	refund->currency = refund->currency				? refund->currency
					   : payment->received_currency ? payment->received_currency
													: payment->currency;
	refund->requested_by = payguard_actor();
	refund->created_at = now;
	refund->completed_at = NO_TIME;
	if (at_once)
		refund->status = REFUND_SUCCEEDED;
	if (refund->status == REFUND_SUCCEEDED)
	{
		refund->completed_at = now;
		refund->returned_amount = refund->amount;
	}
	else
		refund->returned_amount = NO_AMOUNT;
	refund->amount_verified = refund->status == REFUND_SUCCEEDED;
	payguard_machine_move(&payguard_refund_machine, REFUND_NONE, refund->status);
	if (!refund->idempotency_key)
		payguard_store_insert(&payguard_refunds, refund);
	else if (!payguard_store_insert_new(&payguard_refunds, REFUND_BY_KEY, refund))
	{
		/* another order's refund took the key just now */
		RefundCall call = {.key = refund->idempotency_key, .amount = refund->amount};

		payguard_store_refresh();
		replay_refund(&call, payment, NULL, refund);
		payguard_store_suppressed(&payguard_refunds);
	}
	payguard_event_write(
		psprintf("refund.%s",
				 payguard_machine_name(&payguard_refund_machine, refund->status)),
		payguard_refund_about(refund), NULL,
		payguard_machine_name(&payguard_refund_machine, refund->status), NO_ID,
		payguard_json("amount", 'i', refund->amount, "currency", 't', refund->currency,
					  "origin", 't', refund->origin, "reversal_kind", 't',
					  refund->reversal_kind, "reason", 't', refund->reason, NULL));

	lock_balance(payment, &balance);
	if (refund->status == REFUND_SUCCEEDED)
		count_returned(order, payment, refund, &balance, refund->amount);
	else
	{
		balance.refunding += refund->amount;
		store_balance(payment, &balance);
	}
	if (refund->status == REFUND_PENDING)
		schedule(refund, "refund");
	if (refund->status == REFUND_AWAITING_APPROVAL)
		payguard_approval_ask_refund(refund, by_policy);
}

/*
 * needs_approval tells whether a policy asks for a second person before a refund that is not
 * counted in the balance. What else of the payment goes back is counted in: a large refund does
 * not get by in small parts.
 */
static bool
needs_approval(const Payment *payment, const Refund *refund)
{
	Refund asked = *refund;
	RefundBalance balance;

	if (payguard_store_is_empty(&payguard_policies))
		return false;
	if (asked.currency == NULL)
		asked.currency =
			payment->received_currency ? payment->received_currency : payment->currency;
	lock_balance(payment, &balance);
	return policy_asks(&asked,
					   add(add(balance.refunding, balance.refunded), asked.amount));
}

/*
 * policy_asks tells whether a policy asks for a second person, where so much goes back.
 */
static bool
policy_asks(const Refund *refund, int64 going_back)
{
	Asked asked;

	return payguard_policy_asks(refund->currency, going_back, &asked) &&
		   asked.approve_refund;
}

/*
 * count_returned counts money that is back: up to the rest as refunded, beyond it as excess. Then
 * it has gone back in another way, and refunds that nobody has begun wait for a person.
 */
static void
count_returned(Order *order, const Payment *payment, const Refund *refund,
			   RefundBalance *balance, int64 amount)
{
	int64 known = balance->refunding + balance->refunded;
	int64 room = Max(payment->received_amount, known) - known;
	int64 counted = Min(amount, room);

	Assert(amount >= 0 && refund->status == REFUND_SUCCEEDED);
	balance->refunded += counted;
	balance->excess = add(balance->excess, amount - counted);
	store_balance(payment, balance);
	if (amount > counted)
	{
		payguard_alert_refund("refund_exceeds_payment", "critical", refund,
							  payguard_json("excess", 'i', amount - counted, NULL));
		hold_unbegun(payment);
	}
	if (counts_for_order(order, payment, refund))
		change_order_refunded(order, payment, add(order->refunded_amount, amount));
}

/*
 * add adds amounts. Evidence is never refused, so absurd ones stop at the largest number.
 */
static int64
add(int64 a, int64 b)
{
	int64 sum;

	return pg_add_s64_overflow(a, b, &sum) ? PG_INT64_MAX : sum;
}

/*
 * hold_unbegun makes the refunds of a payment that nobody has begun wait for a second person.
 */
static void
hold_unbegun(const Payment *payment)
{
	Datum id = UUIDPGetDatum(payment->payment_id);
	Refund *refunds;
	int n;

	payguard_store_refresh(); /* to see what this call has written */
	n = payguard_store_list(&payguard_refunds, &refunds_of_payment, &id,
							(void **) &refunds);
	for (int i = 0; i < n; i++)
	{
		/* one that waits may have been approved since an older snapshot */
		payguard_refund_must_be_there(refunds[i].refund_id, &refunds[i]);
		if (refunds[i].status == REFUND_PENDING && !has_begun(&refunds[i]))
		{
			end_tasks(&refunds[i]);
			refund_change(&refunds[i], REFUND_AWAITING_APPROVAL, 0, NULL);
		}
	}
}

/*
 * uncount_returned takes back what count_returned counted, excess first. What is left is added up
 * anew: from a sum that has stopped at the largest number nothing can be subtracted.
 */
static void
uncount_returned(Order *order, const Payment *payment, const Refund *refund,
				 RefundBalance *balance)
{
	Datum id = UUIDPGetDatum(payment->payment_id);
	int64 total = 0;
	int64 of_order = 0;
	Refund *refunds;
	int n;

	payguard_store_refresh(); /* to see what this call has written */
	n = payguard_store_list(&payguard_refunds, &refunds_of_payment, &id,
							(void **) &refunds);
	for (int i = 0; i < n; i++)
	{
		if (refunds[i].status != REFUND_SUCCEEDED ||
			memcmp(refunds[i].refund_id, refund->refund_id, UUID_LEN) == 0)
			continue;
		total = add(total, refunds[i].returned_amount);
		if (counts_for_order(order, payment, &refunds[i]))
			of_order = add(of_order, refunds[i].returned_amount);
	}
	balance->refunded = Min(balance->refunded, total);
	balance->excess = total - balance->refunded;
	store_balance(payment, balance);
	if (counts_for_order(order, payment, refund))
		change_order_refunded(order, payment, of_order);
}

/*
 * counts_for_order tells whether a refund counts in orders.refunded_amount: refunds of the
 * payment that paid it do; chargebacks and bank returns do not, the order stays paid.
 */
static bool
counts_for_order(const Order *order, const Payment *payment, const Refund *refund)
{
	return order->payment_id &&
		   memcmp(order->payment_id, payment->payment_id, UUID_LEN) == 0 &&
		   (refund->reversal_kind == NULL ||
			payguard_text_is(refund->reversal_kind, "refund"));
}

static void
change_order_refunded(Order *order, const Payment *payment, int64 refunded)
{
	bool less = refunded < order->refunded_amount;
	OrderStatus to;
	const char *kind;

	order->refunded_amount = refunded;
	to = order->refunded_amount >= payment->received_amount ? ORDER_REFUNDED : ORDER_PAID;
	if (less)
		kind = "order.refund_returned";
	else if (to == ORDER_REFUNDED)
		kind = "order.refunded";
	else
		kind = "order.partly_refunded";
	payguard_order_change(
		order, to, FIELD(ORDER_F_REFUNDED_AMOUNT), kind, payment->payment_id,
		payguard_json("refunded_amount", 'i', order->refunded_amount, NULL));
}

/*
 * refund_change is the one place where a refund changes: its state and its event together.
 */
static void
refund_change(Refund *refund, RefundStatus to, FieldSet also, Jsonb *details)
{
	RefundStatus from = refund->status;
	const char *name = payguard_machine_name(&payguard_refund_machine, to);

	Assert(payguard_order_is_locked(refund->order_id));
	Assert((also & (FIELD(REFUND_F_REFUND_ID) | FIELD(REFUND_F_PAYMENT_ID) |
					FIELD(REFUND_F_ORDER_ID) | FIELD(REFUND_F_STATUS))) == 0);
	Assert((to == REFUND_SUCCEEDED || to == REFUND_FAILED || to == REFUND_WAIVED) ==
		   (refund->completed_at != NO_TIME));
	Assert((to == REFUND_SUCCEEDED) == (refund->returned_amount != NO_AMOUNT));
	if (to != from)
		refund->status = payguard_machine_move(&payguard_refund_machine, from, to);
	payguard_store_update(&payguard_refunds, FIELD(REFUND_F_STATUS) | also, refund);
	payguard_event_write(to != from ? psprintf("refund.%s", name) : "refund.updated",
						 payguard_refund_about(refund),
						 payguard_machine_name(&payguard_refund_machine, from), name,
						 NO_ID, details);
	follow_approval(refund, from, (also & FIELD(REFUND_F_AMOUNT)) != 0);
}

/*
 * follow_approval: a refund waits for approval from now on, what it was asked for has changed, or
 * it does not wait any more without anybody's decision.
 */
static void
follow_approval(const Refund *refund, RefundStatus from, bool other_amount)
{
	bool waits = refund->status == REFUND_AWAITING_APPROVAL;
	bool waited = from == REFUND_AWAITING_APPROVAL;
	Approval approval;

	if (!waits && !waited)
		return;
	if (payguard_approval_of_refund(refund->refund_id, &approval) &&
		(waits ? other_amount || !waited : payguard_text_is(approval.status, "open")))
		payguard_approval_end(NULL, refund->refund_id, NO_ID);
	if (waits && (other_amount || !waited))
		payguard_approval_ask_refund(refund, true);
}

/*
 * payguard_approval_ask_refund opens the approval of a refund that awaits it. alert: nothing else
 * tells an operator of it.
 */
void
payguard_approval_ask_refund(const Refund *refund, bool alert)
{
	Approval asked = {
		.subject = payguard_text("refund"),
		.order_id = refund->order_id,
		.refund_id = refund->refund_id,
		.amount = refund->amount,
		.currency = refund->currency,
		.requested_by = payguard_actor(),
	};

	payguard_approval_ask(&asked);
	if (alert)
		payguard_alert_refund("approval_required", "warning", refund,
							  payguard_json("amount", 'i', refund->amount, "currency",
											't', refund->currency, "requested_by", 't',
											asked.requested_by, NULL));
}

/*
 * schedule makes a task of a refund due now: "refund" to make it, "query_refund" to ask.
 */
static void
schedule(const Refund *refund, const char *kind)
{
	TimestampTz run_at = GetCurrentTimestamp();
	Channel channel;

	if (strcmp(kind, "query_refund") == 0 &&
		payguard_channel_find(refund->channel, &channel))
		run_at = payguard_time_plus(run_at, channel.first_query_after);
	payguard_task_schedule(kind, payguard_refund_about(refund), refund->channel, run_at);
}

static void
end_tasks(const Refund *refund)
{
	About about = payguard_refund_about(refund);

	payguard_task_remove("refund", about);
	payguard_task_remove("query_refund", about);
}

/*
 * is_reserved tells whether a refund's amount is counted as being refunded.
 */
static bool
is_reserved(RefundStatus status)
{
	return status == REFUND_AWAITING_APPROVAL || status == REFUND_PENDING ||
		   status == REFUND_UNKNOWN;
}

PG_FUNCTION_INFO_V1(payguard_report_refund);

/*
 * report_refund(refund_id, channel_status, channel_refund_id, amount, currency, code, message)
 *	→ refund_result
 *
 * Errors: 22004, 22023 for malformed arguments only. An unknown refund and a contradiction are
 * stored, alerted and returned with the outcome "recorded".
 */
Datum
payguard_report_refund(PG_FUNCTION_ARGS)
{
	pg_uuid_t *refund_id = payguard_arg_uuid(ARG(0), "refund_id");
	Report report = {
		.status = payguard_arg_channel_status(ARG(1), "channel_status"),
		.txn_id = payguard_arg_id_or_null(ARG(2), "channel_refund_id"),
		.amount = payguard_arg_amount_or_null(ARG(3), "amount"),
		.currency = payguard_arg_currency_or_null(ARG(4), "currency"),
		.code = payguard_arg_id_or_null(ARG(5), "code"),
		.message = payguard_arg_note_or_null(ARG(6), "message"),
		.channel_time = NO_TIME,
	};
	Refund like = {.refund_id = refund_id};
	Refund refund;
	Payment payment;
	Order order;
	Applied applied;

	payguard_evidence_begin("report_refund()");
	if (!payguard_store_find(&payguard_refunds, REFUND_BY_ID, &like, &refund))
	{
		payguard_notification_keep(NULL, NULL, NULL, refund_id, &report, "unmatched");
		payguard_call_end();
		like.completed_at = like.created_at = NO_TIME;
		return refund_result(
			fcinfo, &like, false,
			"The refund is not known; the report is kept for a person to "
			"look at.");
	}
	lock_refund(refund_id, &order, &payment, &refund);
	payguard_refund_report(&order, &report, &refund, &applied);
	payguard_call_end();
	return refund_result(fcinfo, &refund, !applied.changed && !applied.contradicts,
						 applied.contradicts);
}

typedef struct Reporting
{
	Order *order;
	const Payment *payment;
	const Report *report;
	Refund *refund;
	Applied *applied;
} Reporting;

static void
run_report(void *argument)
{
	Reporting *r = argument;

	switch (r->report->status)
	{
		case CHANNEL_SUCCEEDED:
			note_returned(r->order, r->payment, r->refund, r->report, r->applied);
			return;
		case CHANNEL_FAILED:
		case CHANNEL_CLOSED:
			note_not_returned(r->order, r->payment, r->refund, r->report, r->applied);
			return;
		case CHANNEL_PENDING:
		case CHANNEL_UNKNOWN:
		case CHANNEL_NOT_FOUND:
			note_open(r->refund, r->report, r->applied);
			return;
		case CHANNEL_NONE:
		case N_CHANNEL_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no channel status", (int) r->report->status);
}

/*
 * is_another_refund tells, and notes as a contradiction, whether the channel's refund that a
 * report names is another refund of ours.
 */
static bool
is_another_refund(const Refund *refund, const Report *report, Applied *applied)
{
	Refund like = {.channel = refund->channel, .channel_refund_id = report->txn_id};
	Refund other;

	if (report->txn_id == NULL ||
		!payguard_store_find(&payguard_refunds, REFUND_BY_CHANNEL_REFUND, &like,
							 &other) ||
		memcmp(other.refund_id, refund->refund_id, UUID_LEN) == 0)
		return false;
	contradict(refund, report, "refund_mismatch",
			   "The channel's refund belongs to another refund.", applied);
	return true;
}

/*
 * payguard_refund_report applies a report to a refund whose order is locked. The channel's refund
 * may be taken by a refund of another order in this very moment: then it is a contradiction, like
 * one that came a moment later.
 */
void
payguard_refund_report(Order *order, const Report *report, Refund *refund,
					   Applied *applied)
{
	Order order_before = *order;
	Refund refund_before = *refund;
	Payment payment;
	Reporting r = {order, &payment, report, refund, applied};

	Assert(payguard_order_is_locked(order->order_id));
	Assert(payguard_text_equal(refund->order_id, order->order_id));
	Assert(report->amount >= 0 || report->amount == NO_AMOUNT);
	*applied = (Applied){0};
	if (is_another_refund(refund, report, applied))
		return;
	if (report->txn_id && refund->reversal_kind &&
		!payguard_text_equal(report->txn_id, refund->channel_refund_id))
	{
		/* its id is all that tells a reversal repeated from a new one */
		contradict(refund, report, "refund_mismatch",
				   "The channel made it under another id.", applied);
		return;
	}
	payguard_payment_must_exist(refund->payment_id, &payment);
	if (report->txn_id == NULL ||
		payguard_text_equal(report->txn_id, refund->channel_refund_id))
	{
		run_report(&r);
		return;
	}
	if (payguard_store_try(run_report, &r))
		return;
	*order = order_before;
	*refund = refund_before;
	*applied = (Applied){0};
	payguard_store_refresh();
	if (!is_another_refund(refund, report, applied))
		elog(ERROR, "payguard: a channel's refund is taken and not to be found");
}

/*
 * note_returned: the channel has given the money back, whatever we thought of the refund.
 */
static void
note_returned(Order *order, const Payment *payment, Refund *refund, const Report *report,
			  Applied *applied)
{
	RefundStatus from = refund->status;
	int64 amount = report->amount != NO_AMOUNT ? report->amount : refund->amount;
	RefundBalance balance;

	if (from == REFUND_SUCCEEDED)
	{
		fill_in(order, payment, refund, report, applied);
		return;
	}
	refund->returned_amount = amount;
	refund->amount_verified = report->amount != NO_AMOUNT;
	refund->completed_at = GetCurrentTimestamp();
	refund->failure_code = NULL;
	refund->failure_message = NULL;
	if (report->txn_id)
		refund->channel_refund_id = report->txn_id;
	refund_change(refund, REFUND_SUCCEEDED,
				  FIELD(REFUND_F_RETURNED_AMOUNT) | FIELD(REFUND_F_AMOUNT_VERIFIED) |
					  FIELD(REFUND_F_COMPLETED_AT) | FIELD(REFUND_F_CHANNEL_REFUND_ID) |
					  FIELD(REFUND_F_FAILURE_CODE) | FIELD(REFUND_F_FAILURE_MESSAGE),
				  report_details(report));
	end_tasks(refund);
	applied->changed = true;

	if (from == REFUND_FAILED)
		payguard_alert_resolve("refund_failed",
							   payguard_text(payguard_uuid_str(refund->refund_id)),
							   payguard_text("The channel has made it after all."));

	lock_balance(payment, &balance);
	if (is_reserved(from))
		balance.refunding -= refund->amount;
	count_returned(order, payment, refund, &balance, amount);
	if (from == REFUND_AWAITING_APPROVAL || from == REFUND_WAIVED)
		payguard_alert_refund("refund_not_approved", "critical", refund,
							  report_details(report));
	check_returned(order, payment, refund, report);
}

/*
 * check_returned: other money went back than was asked for. An operator hears of it, and
 * decides about the rest of surplus money.
 */
static void
check_returned(Order *order, const Payment *payment, const Refund *refund,
			   const Report *report)
{
	if (refund->returned_amount != refund->amount ||
		(report->currency && !payguard_text_equal(report->currency, refund->currency)))
		payguard_alert_refund("refund_mismatch", "critical", refund,
							  report_details(report));
	if (payment->status == PAYMENT_SURPLUS && refund->returned_amount < refund->amount)
		payguard_refund_surplus(order, payment, REFUND_AWAITING_APPROVAL);
}

/*
 * fill_in adds what was missing of money that is back: the channel's id, the amount. Another
 * amount than was taken for granted is corrected; another than was reported before is a
 * contradiction.
 */
static void
fill_in(Order *order, const Payment *payment, Refund *refund, const Report *report,
		Applied *applied)
{
	bool corrected =
		report->amount != NO_AMOUNT && report->amount != refund->returned_amount;
	FieldSet also = 0;

	if (corrected && refund->amount_verified && !report->corrects)
	{
		contradict(refund, report, "refund_mismatch",
				   "The channel has reported another amount before.", applied);
		return;
	}
	if (report->txn_id && refund->channel_refund_id == NULL)
	{
		refund->channel_refund_id = report->txn_id;
		also |= FIELD(REFUND_F_CHANNEL_REFUND_ID);
	}
	if (report->amount != NO_AMOUNT && !refund->amount_verified)
	{
		refund->amount_verified = true;
		also |= FIELD(REFUND_F_AMOUNT_VERIFIED);
	}
	if (corrected)
	{
		RefundBalance balance;

		lock_balance(payment, &balance);
		uncount_returned(order, payment, refund, &balance);
		refund->returned_amount = report->amount;
		also |= FIELD(REFUND_F_RETURNED_AMOUNT);
		count_returned(order, payment, refund, &balance, refund->returned_amount);
	}
	if (also == 0)
		return;
	refund_change(refund, REFUND_SUCCEEDED, also, report_details(report));
	applied->changed = true;
	if (corrected)
		check_returned(order, payment, refund, report);
}

/*
 * note_not_returned: the money did not go back, or came back. It is owed again, until the
 * refund is retried or waived.
 */
static void
note_not_returned(Order *order, const Payment *payment, Refund *refund,
				  const Report *report, Applied *applied)
{
	RefundStatus from = refund->status;
	RefundBalance balance;

	if (from == REFUND_FAILED || from == REFUND_WAIVED)
		return;
	if (from == REFUND_AWAITING_APPROVAL)
	{
		contradict(refund, report, "refund_mismatch",
				   "The refund waits for approval: nobody has asked the channel for it.",
				   applied);
		return;
	}
	lock_balance(payment, &balance);
	if (from == REFUND_SUCCEEDED)
		uncount_returned(order, payment, refund, &balance);
	else
	{
		balance.refunding -= refund->amount;
		store_balance(payment, &balance);
	}
	refund->returned_amount = NO_AMOUNT;
	refund->amount_verified = false;
	refund->completed_at = GetCurrentTimestamp();
	refund->failure_code =
		report->code ? report->code
					 : payguard_text(payguard_channel_status_name(report->status));
	refund->failure_message = report->message;
	refund_change(refund, REFUND_FAILED,
				  FIELD(REFUND_F_RETURNED_AMOUNT) | FIELD(REFUND_F_AMOUNT_VERIFIED) |
					  FIELD(REFUND_F_COMPLETED_AT) | FIELD(REFUND_F_FAILURE_CODE) |
					  FIELD(REFUND_F_FAILURE_MESSAGE),
				  report_details(report));
	end_tasks(refund);
	applied->changed = true;
	if (refund->reversal_kind && !payguard_text_is(refund->reversal_kind, "refund"))
		/* what the customer or a bank took back is here again: nobody is owed it */
		payguard_alert_resolve(payguard_str(refund->reversal_kind),
							   payguard_text(payguard_uuid_str(refund->refund_id)),
							   payguard_text("The channel has undone it."));
	else
		payguard_alert_refund("refund_failed", "critical", refund,
							  report_details(report));
	/* it may have covered money that was named later than the refund was opened */
	if (payment->status == PAYMENT_SURPLUS)
		payguard_refund_surplus(order, payment, REFUND_AWAITING_APPROVAL);
}

/*
 * note_open: the channel does not know the outcome yet.
 */
static void
note_open(Refund *refund, const Report *report, Applied *applied)
{
	RefundStatus to = refund->status;
	FieldSet also = 0;

	if (refund->status != REFUND_PENDING && refund->status != REFUND_UNKNOWN)
		return;
	if (report->status == CHANNEL_PENDING)
		to = REFUND_PENDING;
	if (report->status == CHANNEL_UNKNOWN)
		to = REFUND_UNKNOWN;
	if (report->txn_id && refund->channel_refund_id == NULL)
	{
		refund->channel_refund_id = report->txn_id;
		also = FIELD(REFUND_F_CHANNEL_REFUND_ID);
	}
	if (report->status != CHANNEL_NOT_FOUND)
		/* the channel has it: only ask */
		payguard_task_remove("refund", payguard_refund_about(refund));
	if (to != refund->status || also != 0)
	{
		refund_change(refund, to, also, report_details(report));
		applied->changed = true;
	}
	schedule(refund, "query_refund");
}

static void
contradict(const Refund *refund, const Report *report, const char *alert, const char *why,
		   Applied *applied)
{
	payguard_notification_keep(refund->channel, refund->order_id, refund->payment_id,
							   refund->refund_id, report, "contradicting");
	payguard_alert_refund(alert, "critical", refund, report_details(report));
	applied->contradicts = why;
}

PG_FUNCTION_INFO_V1(payguard_record_reversal);

/*
 * record_reversal(channel, reversal_id, channel_txn_id, kind, amount, currency)
 *	→ refund_result
 *
 * kind: refund, chargeback or bank_return. Errors: 22004, 22023 for malformed arguments only.
 * A reversal of a transaction that is not known to have brought money is stored, alerted and
 * returned as "recorded"; it is applied when the money is known.
 */
Datum
payguard_record_reversal(PG_FUNCTION_ARGS)
{
	text *channel = payguard_arg_id(ARG(0), "channel");
	text *reversal_id = payguard_arg_id(ARG(1), "reversal_id");
	text *txn_id = payguard_arg_id(ARG(2), "channel_txn_id");
	text *kind = payguard_arg_id(ARG(3), "kind");
	Report report = {
		.status = CHANNEL_SUCCEEDED,
		.txn_id = reversal_id,
		.amount = payguard_arg_amount(ARG(4), "amount"),
		.currency = payguard_arg_currency(ARG(5), "currency"),
		.reversal_kind = kind,
		.reversal_of = txn_id,
		.channel_time = NO_TIME,
	};
	Payment payment;
	Order order = {0};
	Refund refund = {.completed_at = NO_TIME};
	Applied applied;

	if (!payguard_text_is(kind, "refund") && !payguard_text_is(kind, "chargeback") &&
		!payguard_text_is(kind, "bank_return"))
		payguard_arg_bad("kind", "It is not known.",
						 "Use refund, chargeback or bank_return.");
	payguard_evidence_begin("record_reversal()");
	if (payguard_refund_find_reversed(channel, txn_id, &payment))
		payguard_payment_lock(payment.payment_id, &order, &payment);
	/* once more: while we waited, it may have become a second name of another, or another order's */
	if (order.order_id && payguard_refund_find_reversed(channel, txn_id, &payment) &&
		payguard_text_equal(payment.order_id, order.order_id))
	{
		payguard_refund_reverse(&order, &payment, &report, &refund, &applied);
		payguard_call_end();
		return refund_result(fcinfo, &refund, !applied.changed && !applied.contradicts,
							 applied.contradicts);
	}
	refund.amount = report.amount;
	refund.currency = report.currency;
	payguard_notification_keep(channel, NULL, NULL, NULL, &report, "unmatched");
	payguard_call_end();
	return refund_result(
		fcinfo, &refund, false,
		"No money of the transaction is known; the reversal is kept until "
		"it is.");
}

/*
 * payguard_refund_find_reversed finds the payment that a reversal of a channel's transaction
 * takes back; false: none is known to have brought money. A second name of a charge leads to
 * the charge.
 */
bool
payguard_refund_find_reversed(text *channel, text *txn_id, Payment *payment)
{
	Payment like = {.channel = channel, .channel_txn_id = txn_id};
	pg_uuid_t *same_as;

	if (!payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &like, payment))
		return false;
	while ((same_as = payguard_evidence_same_charge(payment)) != NULL)
		payguard_payment_must_exist(same_as, payment);
	return payment->status == PAYMENT_SUCCEEDED || payment->status == PAYMENT_SURPLUS;
}

typedef struct Insertion
{
	Order *order;
	const Payment *payment;
	Refund *refund;
} Insertion;

static void
run_insert_refund(void *argument)
{
	Insertion *i = argument;

	insert_refund(i->order, i->payment, i->refund);
}

/*
 * payguard_refund_reverse records what a channel gave back on its own: the report's transaction
 * is the reversal's id. The caller holds the order's lock.
 */
void
payguard_refund_reverse(Order *order, const Payment *payment, const Report *report,
						Refund *refund, Applied *applied)
{
	Refund like = {.channel = payment->channel, .channel_refund_id = report->txn_id};

	Assert(payguard_order_is_locked(order->order_id));
	Assert(payguard_text_equal(payment->order_id, order->order_id));
	Assert(report->reversal_kind != NULL && report->txn_id != NULL);
	*applied = (Applied){0};
	if (payguard_store_find(&payguard_refunds, REFUND_BY_CHANNEL_REFUND, &like, refund))
	{
		if (memcmp(refund->payment_id, payment->payment_id, UUID_LEN) != 0)
			contradict(refund, report, "refund_mismatch",
					   "The channel's refund belongs to another payment.", applied);
		else
		{
			payguard_refund_must_be_there(refund->refund_id, refund);
			payguard_refund_report(order, report, refund, applied);
		}
		return;
	}
	*refund = (Refund){
		.amount = report->amount,
		.currency = report->currency,
		.status = REFUND_SUCCEEDED,
		.origin = payguard_text("channel"),
		.reversal_kind = report->reversal_kind,
		.channel_refund_id = report->txn_id,
	};
	if (!payguard_store_try(run_insert_refund, &(Insertion){order, payment, refund}))
	{
		/* taken in this very moment, for another payment */
		payguard_store_refresh();
		payguard_refund_reverse(order, payment, report, refund, applied);
		return;
	}
	applied->changed = true;
	if (!payguard_text_is(report->reversal_kind, "refund"))
		payguard_alert_refund(payguard_str(report->reversal_kind), "critical", refund,
							  report_details(report));
	if (!payguard_text_equal(report->currency, payment->received_currency))
		payguard_alert_refund("refund_mismatch", "critical", refund,
							  report_details(report));
}

PG_FUNCTION_INFO_V1(payguard_retry_refund);

/*
 * retry_refund(refund_id, note) → refund_result
 *
 * failed → pending. Errors: 22004, 22023; PY403; PY105; PY504 where other refunds have taken
 * its place; PY602.
 */
Datum
payguard_retry_refund(PG_FUNCTION_ARGS)
{
	pg_uuid_t *refund_id = payguard_arg_uuid(ARG(0), "refund_id");
	text *note = payguard_arg_note(ARG(1), "note");
	Order order;
	Payment payment;
	Refund refund;
	RefundBalance balance;

	payguard_request_begin("retry_refund()");
	must_exist(refund_id, &refund);
	lock_refund(refund_id, &order, &payment, &refund);
	if (refund.status != REFUND_FAILED)
		refuse_move(&refund, "retried", "Only a failed refund can be retried.");
	if (payguard_text_is(refund.origin, "channel"))
		refuse_move(&refund, "retried",
					"The channel made it on its own. Refund the payment with "
					"payguard.refund_payment() where the money is owed.");
	lock_balance(&payment, &balance);
	check_ceiling(&balance, &payment, refund.amount);
	check_second_person(&payment, &refund);
	balance.refunding += refund.amount;
	store_balance(&payment, &balance);
	refund.completed_at = NO_TIME;
	refund.failure_code = NULL;
	refund.failure_message = NULL;
	refund_change(&refund, REFUND_PENDING,
				  FIELD(REFUND_F_COMPLETED_AT) | FIELD(REFUND_F_FAILURE_CODE) |
					  FIELD(REFUND_F_FAILURE_MESSAGE),
				  payguard_json("note", 't', note, NULL));
	schedule(&refund, "refund");
	payguard_alert_resolve("refund_failed", payguard_text(payguard_uuid_str(refund_id)),
						   note);
	payguard_call_end();
	return refund_result(fcinfo, &refund, false, NULL);
}

/*
 * check_second_person: a refund that nobody approved, since the policy came later, is made again by
 * somebody else than who asked for it. Errors: PY602.
 */
static void
check_second_person(const Payment *payment, const Refund *refund)
{
	Approval approval;

	if (!needs_approval(payment, refund) ||
		(payguard_approval_of_refund(refund->refund_id, &approval) &&
		 payguard_text_is(approval.status, "approved")))
		return;
	check_not_asker(refund,
					"A policy asks for a second person, and nobody has approved it.",
					"Have somebody else retry it.");
}

/*
 * check_not_asker: who has asked for a refund is not the second person. Errors: PY602.
 */
static void
check_not_asker(const Refund *refund, const char *detail, const char *hint)
{
	Refusal refusal;

	if (!payguard_text_equal(payguard_actor(), refund->requested_by))
		return;
	payguard_refuse(
		&refusal, ERR_SELF_APPROVAL,
		psprintf("\"%s\" has asked for this refund", payguard_str(refund->requested_by)),
		detail, hint);
	payguard_raise(&refusal);
}

PG_FUNCTION_INFO_V1(payguard_waive_refund);

/*
 * waive_refund(refund_id, note) → refund_result
 *
 * An operator decides that the money stays. A waived refund is returned. Errors: 22004, 22023;
 * PY403; PY105 where a worker has begun it, or it was made.
 */
Datum
payguard_waive_refund(PG_FUNCTION_ARGS)
{
	pg_uuid_t *refund_id = payguard_arg_uuid(ARG(0), "refund_id");
	text *note = payguard_arg_note(ARG(1), "note");
	Order order;
	Payment payment;
	Refund refund;

	payguard_request_begin("waive_refund()");
	must_exist(refund_id, &refund);
	lock_refund(refund_id, &order, &payment, &refund);
	if (refund.status == REFUND_WAIVED)
	{
		payguard_call_end();
		return refund_result(fcinfo, &refund, true, NULL);
	}
	if (refund.status != REFUND_FAILED && has_begun(&refund))
		refuse_move(&refund, "waived",
					"Wait for its outcome; only a refund that has not begun, or has "
					"failed, can be waived.");
	waive(&payment, &refund, note);
	payguard_call_end();
	return refund_result(fcinfo, &refund, false, NULL);
}

/*
 * waive ends a refund whose money stays.
 */
static void
waive(const Payment *payment, Refund *refund, text *note)
{
	RefundBalance balance;

	if (is_reserved(refund->status))
	{
		lock_balance(payment, &balance);
		balance.refunding -= refund->amount;
		store_balance(payment, &balance);
	}
	refund->completed_at = GetCurrentTimestamp();
	refund_change(refund, REFUND_WAIVED, FIELD(REFUND_F_COMPLETED_AT),
				  payguard_json("note", 't', note, NULL));
	end_tasks(refund);
	payguard_alert_resolve("refund_failed",
						   payguard_text(payguard_uuid_str(refund->refund_id)), note);
}

PG_FUNCTION_INFO_V1(payguard_approve_refund);

/*
 * approve_refund(refund_id, note) → refund_result
 *
 * awaiting_approval → pending, or succeeded where the channel is internal. An approved refund is
 * returned. Errors: 22004, 22023; PY403; PY105 where it does not await approval; PY602.
 */
Datum
payguard_approve_refund(PG_FUNCTION_ARGS)
{
	return decide_refund(fcinfo, true, "approve_refund()");
}

PG_FUNCTION_INFO_V1(payguard_reject_refund);

/*
 * reject_refund(refund_id, note) → refund_result
 *
 * awaiting_approval → waived. A rejected refund is returned. Errors: those of approve_refund().
 */
Datum
payguard_reject_refund(PG_FUNCTION_ARGS)
{
	return decide_refund(fcinfo, false, "reject_refund()");
}

static Datum
decide_refund(FunctionCallInfo fcinfo, bool approve, const char *function)
{
	pg_uuid_t *refund_id = payguard_arg_uuid(ARG(0), "refund_id");
	text *note = payguard_arg_note(ARG(1), "note");
	Order order;
	Payment payment;
	Refund refund;
	Approval approval;
	bool asked;
	bool decided;

	payguard_request_begin(function);
	must_exist(refund_id, &refund);
	lock_refund(refund_id, &order, &payment, &refund);
	asked = payguard_approval_of_refund(refund_id, &approval);
	if (refund.status != REFUND_AWAITING_APPROVAL &&
		!(asked && payguard_text_is(approval.status, approve ? "approved" : "rejected")))
		refuse_move(&refund, approve ? "approved" : "rejected",
					"Only a refund that awaits approval is decided.");
	if (!asked)
		elog(ERROR, "payguard: nobody was asked to approve refund \"%s\"",
			 payguard_uuid_str(refund_id));
	/* a report that held it back may have asked for the approval */
	check_not_asker(&refund, "Who asks does not decide. Nothing has been written.",
					"Have somebody else decide.");
	decided = payguard_approval_decide(&approval, approve, note);
	if (decided && approve)
		go_on(&order, &payment, &refund, note);
	else if (decided)
		waive(&payment, &refund, note);
	payguard_call_end();
	return refund_result(fcinfo, &refund, !decided, NULL);
}

/*
 * go_on makes a refund that was approved. Money of an internal channel is back at once.
 */
static void
go_on(Order *order, const Payment *payment, Refund *refund, text *note)
{
	Jsonb *details = payguard_json("note", 't', note, NULL);
	Channel channel;
	RefundBalance balance;

	payguard_channel_of(payment, &channel);
	if (!channel.internal)
	{
		refund_change(refund, REFUND_PENDING, 0, details);
		schedule(refund, "refund");
		return;
	}
	refund->returned_amount = refund->amount;
	refund->amount_verified = true;
	refund->completed_at = GetCurrentTimestamp();
	refund_change(refund, REFUND_SUCCEEDED,
				  FIELD(REFUND_F_RETURNED_AMOUNT) | FIELD(REFUND_F_AMOUNT_VERIFIED) |
					  FIELD(REFUND_F_COMPLETED_AT),
				  details);
	lock_balance(payment, &balance);
	balance.refunding -= refund->amount;
	count_returned(order, payment, refund, &balance, refund->amount);
}

PG_FUNCTION_INFO_V1(payguard_settle_refund);

/*
 * settle_refund(refund_id, channel_status, note) → refund_result
 *
 * An operator's word, by the rules of report_refund(). Errors: 22004, 22023; PY403.
 */
Datum
payguard_settle_refund(PG_FUNCTION_ARGS)
{
	pg_uuid_t *refund_id = payguard_arg_uuid(ARG(0), "refund_id");
	Report report = {
		.status = payguard_arg_channel_status(ARG(1), "channel_status"),
		.note = payguard_arg_note(ARG(2), "note"),
		.amount = NO_AMOUNT,
		.channel_time = NO_TIME,
	};
	Order order;
	Payment payment;
	Refund refund;
	Applied applied;

	payguard_request_begin("settle_refund()");
	must_exist(refund_id, &refund);
	lock_refund(refund_id, &order, &payment, &refund);
	payguard_refund_report(&order, &report, &refund, &applied);
	payguard_call_end();
	return refund_result(fcinfo, &refund, !applied.changed && !applied.contradicts,
						 applied.contradicts);
}

/*
 * must_exist reads a refund. Errors: PY403.
 */
static void
must_exist(const pg_uuid_t *refund_id, Refund *refund)
{
	Refund like = {.refund_id = unconstify(pg_uuid_t *, refund_id)};
	Refusal refusal;

	if (payguard_store_find(&payguard_refunds, REFUND_BY_ID, &like, refund))
		return;
	payguard_refuse(
		&refusal, ERR_REFUND_NOT_FOUND,
		psprintf("refund \"%s\" does not exist", payguard_uuid_str(refund_id)),
		"Nothing has been written.", "Look the order's refunds up in its timeline.");
	payguard_raise(&refusal);
}

/*
 * lock_refund locks the order of a refund that was found, and reads all three anew.
 */
static void
lock_refund(const pg_uuid_t *refund_id, Order *order, Payment *payment, Refund *refund)
{
	payguard_payment_must_exist(refund->payment_id, payment);
	payguard_payment_lock(refund->payment_id, order, payment);
	payguard_refund_must_be_there(refund_id, refund);
}

/*
 * payguard_refund_must_be_there is payguard_refund_reread for a refund that was found before.
 */
void
payguard_refund_must_be_there(const pg_uuid_t *refund_id, Refund *refund)
{
	if (!payguard_refund_reread(refund_id, refund))
		elog(ERROR, "payguard: refund \"%s\" has vanished", payguard_uuid_str(refund_id));
}

/*
 * payguard_refund_reread reads a refund whose order is locked; false: there is none. A refund may
 * change while its order and its payment do not: it is locked where payguard_payment_reread() locks.
 */
bool
payguard_refund_reread(const pg_uuid_t *refund_id, Refund *refund)
{
	Refund like = {.refund_id = unconstify(pg_uuid_t *, refund_id)};

	return IsolationUsesXactSnapshot()
			   ? payguard_store_lock(&payguard_refunds, REFUND_BY_ID, &like, refund)
			   : payguard_store_find(&payguard_refunds, REFUND_BY_ID, &like, refund);
}

static void
refuse_move(const Refund *refund, const char *what, const char *hint)
{
	Refusal refusal;

	payguard_refuse(&refusal, ERR_ILLEGAL_TRANSITION,
					psprintf("refund \"%s\" cannot be %s",
							 payguard_uuid_str(refund->refund_id), what),
					psprintf("It is %s.", payguard_machine_name(&payguard_refund_machine,
																refund->status)),
					hint);
	payguard_raise(&refusal);
}

static Jsonb *
report_details(const Report *report)
{
	return payguard_json("channel_status", 's',
						 payguard_channel_status_name(report->status),
						 "channel_refund_id", 't', report->txn_id, "amount", 'i',
						 report->amount, "currency", 't', report->currency, "code", 't',
						 report->code, "message", 't', report->message, "note", 't',
						 report->note, "reversal_kind", 't', report->reversal_kind, NULL);
}

/*
 * refund_result makes a refund_result; recorded: why the evidence is only kept, or NULL.
 */
static Datum
refund_result(FunctionCallInfo fcinfo, const Refund *refund, bool replayed,
			  const char *recorded)
{
	static const char *const messages[N_REFUND_STATUS] = {
		[REFUND_AWAITING_APPROVAL] = "The refund waits for approval.",
		[REFUND_PENDING] = "The refund is on its way.",
		[REFUND_UNKNOWN] = "The channel has not said whether it made the refund.",
		[REFUND_SUCCEEDED] = "The money has gone back.",
		[REFUND_FAILED] = "The refund failed; the money is still owed.",
		[REFUND_WAIVED] = "The refund was waived.",
	};
	Datum values[N_REFUND_RESULT_COLUMNS] = {0};
	bool nulls[N_REFUND_RESULT_COLUMNS] = {false};
	bool known = refund->status != REFUND_NONE;
	const char *status =
		known ? payguard_machine_name(&payguard_refund_machine, refund->status) : NULL;
	int i = 0;

	if (replayed)
		payguard_count_replay();
	values[i++] = PointerGetDatum(payguard_text(recorded ? "recorded" : status));
	nulls[i] = refund->refund_id == NULL;
	values[i++] = UUIDPGetDatum(refund->refund_id);
	nulls[i] = refund->payment_id == NULL;
	values[i++] = UUIDPGetDatum(refund->payment_id);
	nulls[i] = refund->order_id == NULL;
	values[i++] = PointerGetDatum(refund->order_id);
	nulls[i] = !known;
	if (known)
		values[i] = PointerGetDatum(payguard_text(status));
	i++;
	nulls[i] = refund->currency == NULL;
	values[i++] = Int64GetDatum(refund->amount);
	nulls[i] = refund->currency == NULL;
	values[i++] = PointerGetDatum(refund->currency);
	values[i++] = BoolGetDatum(replayed);
	values[i++] =
		PointerGetDatum(payguard_text(recorded ? recorded : messages[refund->status]));
	Assert(i == N_REFUND_RESULT_COLUMNS);
	return HeapTupleGetDatum(
		heap_form_tuple(payguard_result_desc(fcinfo), values, nulls));
}
