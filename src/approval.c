/*
 * approval.c
 *		Second opinions: who may be asked to decide, about which amount, and what was decided.
 *
 * An approval is bound to an amount and a currency. One counts for each order, refund or finding;
 * a change makes it void and, where a policy asks, a new one is opened. Who decides is never who
 * asked.
 *
 * Locking: the order's row lock covers its approvals and those of its refunds. Who pays locks the
 * approval that allows it, too, so that a transaction with an older snapshot cannot pay on a
 * decision that was taken back.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "payguard.h"

static Datum decide_order(FunctionCallInfo fcinfo, bool approve, const char *function);
static void judge_order(const Order *order, int64 expected_version);
static void open_for_order(Order *order, bool approve, Approval *approval);
static void refuse_pointless(const Order *order) pg_attribute_noreturn();
static int key_of(const Approval *approval);
static text *who_asked(const Order *order);
static bool find(int key, bool lock, const Approval *like, Approval *approval);
static void write_event(const char *what, const Approval *approval, const char *from,
						const char *to);
static const char *cause_of(const Approval *approval);

static const RowQuery last_change_by_a_person = {
	"order_id " OP("=") " $1 AND kind " OP(
		"=") " ANY "
			 "('{order.created,order.updated}'::pg_catalog.text[]) ORDER BY event_id "
			 "DESC LIMIT 1",
	{TEXTOID, InvalidOid}};

/*
 * payguard_approval_of_order reads the approval that counts for an order; false: nobody was asked.
 */
bool
payguard_approval_of_order(const text *order_id, bool lock, Approval *approval)
{
	Approval like = {.order_id = unconstify(text *, order_id)};

	return find(APPROVAL_OF_ORDER, lock, &like, approval);
}

/*
 * payguard_approval_of_refund reads and locks the approval that counts for a refund.
 */
bool
payguard_approval_of_refund(const pg_uuid_t *refund_id, Approval *approval)
{
	Approval like = {.refund_id = unconstify(pg_uuid_t *, refund_id)};

	return find(APPROVAL_OF_REFUND, true, &like, approval);
}

/*
 * payguard_approval_of_finding reads and locks the approval that counts for a finding.
 */
bool
payguard_approval_of_finding(int64 alert_id, Approval *approval)
{
	Approval like = {.alert_id = alert_id};

	return find(APPROVAL_OF_FINDING, true, &like, approval);
}

static bool
find(int key, bool lock, const Approval *like, Approval *approval)
{
	if (payguard_store_is_empty(&payguard_approvals))
		return false;
	return lock ? payguard_store_lock(&payguard_approvals, key, like, approval)
				: payguard_store_find(&payguard_approvals, key, like, approval);
}

/*
 * key_of returns the key under which what an approval is about has one.
 */
static int
key_of(const Approval *approval)
{
	if (approval->alert_id != NO_ID)
		return APPROVAL_OF_FINDING;
	return approval->refund_id ? APPROVAL_OF_REFUND : APPROVAL_OF_ORDER;
}

/*
 * payguard_approval_ask opens an approval. asked: its subject, amount, currency and who asked.
 */
void
payguard_approval_ask(const Approval *asked)
{
	Approval approval = *asked;

	Assert(asked->subject != NULL && asked->requested_by != NULL &&
		   asked->currency != NULL);
	approval.status = payguard_text("open");
	approval.requested_at = GetCurrentTimestamp();
	approval.decided_at = NO_TIME;
	/* 40001 where an older snapshot does not see that somebody has just asked */
	if (!payguard_store_insert_new(&payguard_approvals, key_of(&approval), &approval))
		payguard_store_suppressed(&payguard_approvals);
	write_event("requested", &approval, NULL, "open");
}

/*
 * payguard_approval_renew follows the creation or a change of an unpaid order: what was decided
 * holds on where amount and currency are the same and it was not rejected.
 */
void
payguard_approval_renew(const Order *order)
{
	Approval asked = {
		.subject = payguard_text("order"),
		.order_id = order->order_id,
		.amount = order->amount,
		.currency = order->currency,
	};
	Approval known;
	Asked by_policy;

	Assert(payguard_order_is_locked(order->order_id) && order->status == ORDER_UNPAID);
	if (payguard_approval_of_order(order->order_id, true, &known))
	{
		if (known.amount == order->amount &&
			payguard_text_equal(known.currency, order->currency) &&
			!payguard_text_is(known.status, "rejected"))
			return;
		payguard_approval_end(order->order_id, NULL, NO_ID);
	}
	if (!payguard_policy_asks(order->currency, order->amount, &by_policy) ||
		!by_policy.approve_payment)
		return;
	asked.requested_by = payguard_actor();
	payguard_approval_ask(&asked);
	payguard_alert_order("approval_required", "warning", order,
						 payguard_json("amount", 'i', order->amount, "currency", 't',
									   order->currency, "requested_by", 't',
									   asked.requested_by, NULL));
}

/*
 * payguard_approval_end makes the approval of an order, a refund or a finding void, whatever was
 * decided. Exactly one of the ids is given.
 */
void
payguard_approval_end(const text *order_id, const pg_uuid_t *refund_id, int64 alert_id)
{
	Approval like = {
		.order_id = unconstify(text *, order_id),
		.refund_id = unconstify(pg_uuid_t *, refund_id),
		.alert_id = alert_id,
	};
	Approval approval;
	const char *from;

	Assert((order_id != NULL) + (refund_id != NULL) + (alert_id != NO_ID) == 1);
	if (!find(key_of(&like), true, &like, &approval))
		return;
	from = payguard_str(approval.status);
	approval.status = payguard_text("void");
	payguard_store_update(&payguard_approvals, FIELD(APPROVAL_F_STATUS), &approval);
	write_event("void", &approval, from, "void");
	payguard_alert_resolve("approval_required", payguard_text(cause_of(&approval)),
						   payguard_text("It is pointless, or has been asked anew."));
}

/*
 * payguard_approval_decide decides an approval that is locked; false: it was decided so before,
 * and nothing has been written. Errors: PY602 where who asked decides; PY105 where it was rejected
 * before.
 */
bool
payguard_approval_decide(Approval *approval, bool approve, text *note)
{
	const char *from = payguard_str(approval->status);
	const char *to = approve ? "approved" : "rejected";
	text *actor = payguard_actor();
	Refusal refusal;

	/* what is void counts for nothing any more, and is not found */
	Assert(strcmp(from, "void") != 0);
	if (payguard_text_equal(actor, approval->requested_by))
	{
		payguard_refuse(
			&refusal, ERR_SELF_APPROVAL,
			psprintf("\"%s\" has asked for this approval", payguard_str(actor)),
			"Who asks does not decide. Nothing has been written.",
			"Have somebody else decide.");
		payguard_raise(&refusal);
	}
	if (strcmp(from, to) == 0)
		return false;
	if (strcmp(from, "rejected") == 0)
	{
		payguard_refuse(&refusal, ERR_ILLEGAL_TRANSITION,
						psprintf("the approval of %s \"%s\" was rejected",
								 payguard_str(approval->subject), cause_of(approval)),
						psprintf("\"%s\" rejected it at %s.",
								 payguard_str(approval->decided_by),
								 payguard_time_str(approval->decided_at)),
						"It is asked for again when the order is changed.");
		payguard_raise(&refusal);
	}
	approval->status = payguard_text(to);
	approval->decided_by = actor;
	approval->decided_at = GetCurrentTimestamp();
	approval->note = note;
	payguard_store_update(&payguard_approvals,
						  FIELD(APPROVAL_F_STATUS) | FIELD(APPROVAL_F_DECIDED_BY) |
							  FIELD(APPROVAL_F_DECIDED_AT) | FIELD(APPROVAL_F_NOTE),
						  approval);
	write_event(to, approval, from, to);
	payguard_alert_resolve("approval_required", payguard_text(cause_of(approval)), note);
	return true;
}

static void
write_event(const char *what, const Approval *approval, const char *from, const char *to)
{
	About about = {.order_id = approval->order_id, .refund_id = approval->refund_id};
	Jsonb *details =
		payguard_json("subject", 't', approval->subject, "amount", 'i', approval->amount,
					  "currency", 't', approval->currency, "requested_by", 't',
					  approval->requested_by, "alert_id", 'n', approval->alert_id, "note",
					  't', strcmp(to, "void") == 0 ? NULL : approval->note, NULL);

	payguard_event_write(psprintf("approval.%s", what), about, from, to, NO_ID, details);
}

/*
 * cause_of returns the id of what an approval is about, as its alert has it.
 */
static const char *
cause_of(const Approval *approval)
{
	if (approval->alert_id != NO_ID)
		return psprintf(INT64_FORMAT, approval->alert_id);
	return approval->refund_id ? payguard_uuid_str(approval->refund_id)
							   : payguard_str(approval->order_id);
}

PG_FUNCTION_INFO_V1(payguard_approve_order);

/*
 * approve_order(order_id, note, expected_version := NULL) → approvals
 *
 * Opens the approval first where none is open (a policy that came later, a suspected duplicate):
 * then who last changed the order has asked. An approved one is returned as it is. Errors: 22004,
 * 22023; PY401; PY101-PY103 where the order is not to be paid; PY105 where it was rejected; PY201;
 * PY602.
 */
Datum
payguard_approve_order(PG_FUNCTION_ARGS)
{
	return decide_order(fcinfo, true, "approve_order()");
}

PG_FUNCTION_INFO_V1(payguard_reject_order);

/*
 * reject_order(order_id, note, expected_version := NULL) → approvals
 *
 * The order is not paid until it is changed; an approval that was given is taken back. Errors:
 * those of approve_order(); PY105 where no policy asks for an approval.
 */
Datum
payguard_reject_order(PG_FUNCTION_ARGS)
{
	return decide_order(fcinfo, false, "reject_order()");
}

static Datum
decide_order(FunctionCallInfo fcinfo, bool approve, const char *function)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	text *note = payguard_arg_note(ARG(1), "note");
	int64 expected_version = payguard_arg_version_or_null(ARG(2), "expected_version");
	Order seen;
	Order order;
	Approval approval;
	Asked asked;
	Refusal refusal;

	payguard_request_begin(function);
	if (!payguard_order_find(order_id, &seen))
	{
		payguard_refuse_not_found(order_id, &refusal);
		payguard_raise(&refusal);
	}
	judge_order(&seen, expected_version);
	if (!payguard_order_lock(order_id, &order))
		elog(ERROR, "payguard: order \"%s\" has vanished", payguard_str(order_id));
	payguard_store_refresh();
	judge_order(&order, expected_version);
	/* what was changed while we waited is not what was to be decided */
	if (order.amount != seen.amount ||
		!payguard_text_equal(order.currency, seen.currency))
	{
		payguard_refuse_version(&order, seen.version, &refusal);
		payguard_raise(&refusal);
	}
	if (!payguard_approval_of_order(order_id, true, &approval))
		open_for_order(&order, approve, &approval);
	else if (!approve && !payguard_text_is(approval.status, "rejected") &&
			 !payguard_policy_asks(order.currency, order.amount, &asked))
		refuse_pointless(&order);
	payguard_approval_decide(&approval, approve, note);
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_approvals, &approval);
}

static void
judge_order(const Order *order, int64 expected_version)
{
	Refusal refusal;

	if (!payguard_refuse_unpayable(order, GetCurrentTimestamp(), &refusal) ||
		!payguard_refuse_version(order, expected_version, &refusal))
		payguard_raise(&refusal);
}

/*
 * refuse_pointless raises PY105: a rejection counts where a policy asks for something, and nowhere
 * else.
 */
static void
refuse_pointless(const Order *order)
{
	Refusal refusal;

	payguard_refuse(
		&refusal, ERR_ILLEGAL_TRANSITION,
		psprintf("order \"%s\" needs no approval", payguard_str(order->order_id)),
		"No policy asks for one, so that a rejection would not hold it back.",
		"Cancel the order with payguard.cancel_order().");
	payguard_raise(&refusal);
}

/*
 * open_for_order asks for an approval that is to be decided at once. A transaction whose snapshot is
 * older cannot see it, and would pay what is being rejected: the order's row stops it.
 */
static void
open_for_order(Order *order, bool approve, Approval *approval)
{
	Approval asked = {
		.subject = payguard_text("order"),
		.order_id = order->order_id,
		.amount = order->amount,
		.currency = order->currency,
		.requested_by = who_asked(order),
	};

	if (!approve && !payguard_policy_holds(order, true))
		refuse_pointless(order);
	payguard_order_touch(order);
	payguard_approval_ask(&asked);
	payguard_store_refresh(); /* to see it */
	if (!payguard_approval_of_order(order->order_id, true, approval))
		payguard_store_suppressed(&payguard_approvals);
}

/*
 * who_asked returns who made the order what it is. Attempts and their ends are no such change.
 */
static text *
who_asked(const Order *order)
{
	Datum id = PointerGetDatum(order->order_id);
	Event *events;

	if (payguard_store_list(&payguard_events, &last_change_by_a_person, &id,
							(void **) &events) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("order \"%s\" has no first event", payguard_str(order->order_id)),
				 errhint("Run payguard.verify().")));
	return events[0].actor;
}
