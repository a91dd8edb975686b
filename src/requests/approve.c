/*
 * approve.c
 *		approve_order(), reject_order(), request_approval(), approve_refund(), reject_refund(): the second opinion.
 *
 * The person who asked, or has changed the order since, is no second person. A decision is about what was seen: an
 * order that changed while the call waited for its lock is judged anew.
 *
 * Locking: the order's row lock covers its approvals and those of its refunds.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/table.h"
#include "store/write.h"
#include "records/approval.h"
#include "records/balance.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/event.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/result.h"
#include "money/payable.h"
#include "money/policy.h"
#include "money/refunding.h"
#include "requests/create_order.h"
#include "requests/judge.h"

static const RowQuery last_change_by_a_person = {
	"order_id " OP_EQ " $1 AND kind " OP_EQ " ANY "
	"('{order.created,order.imported,order.updated}'::pg_catalog.text[]) ORDER BY "
	"event_id DESC LIMIT 1",
	{TEXTOID, InvalidOid}};

static Datum decide_order(FunctionCallInfo fcinfo, bool approve, const char *function);
static void check_order(const Order *order, int64 expected_version);
static bool judge_rejection(const Order *order, Refusal *refusal);
static void open_for_order(Order *order, Approval *approval);
static text *who_asked(const Order *order);
static void ask(Order *order, text *note, Approval *approval);
static void refuse_rejected(const Approval *approval);
static void refuse_needless(const Order *order) pg_attribute_noreturn();
static Datum decide_refund(FunctionCallInfo fcinfo, bool approve, const char *function);
static void go_on(Order *order, const Payment *payment, Refund *refund, text *note);

PG_FUNCTION_INFO_V1(payguard_approve_order);

/*
 * approve_order(order_id, note, expected_version := NULL) → approvals
 *
 * Where no approval is open (a policy that came later, a suspected duplicate) it opens one first: the person who last
 * changed the order has asked then. An approved one is returned as it is. Errors: 22004, 22023; PY401; PY101-PY103
 * where the order is not to be paid; PY105 where it was rejected; PY201; PY602.
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
	Refusal refusal;

	payguard_request_begin(function);
	payguard_order_must_exist(order_id, &seen);
	check_order(&seen, expected_version);
	payguard_order_lock_known(order_id, &order);
	payguard_store_refresh();
	check_order(&order, expected_version);
	/* what was changed while we waited is not what was to be decided */
	if (order.amount != seen.amount ||
		!payguard_text_equal(order.currency, seen.currency))
	{
		payguard_judge_version(&order, seen.version, &refusal);
		payguard_raise(&refusal);
	}
	if (!approve && !judge_rejection(&order, &refusal))
		payguard_raise(&refusal);
	if (!payguard_approval_of_order(order_id, true, &approval))
		open_for_order(&order, &approval);
	payguard_approval_decide(&approval, approve, note);
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_approvals, &approval);
}

static void
check_order(const Order *order, int64 expected_version)
{
	Refusal refusal;

	if (!payguard_judge_decide_order(order, &refusal) ||
		!payguard_judge_version(order, expected_version, &refusal))
		payguard_raise(&refusal);
}

/*
 * payguard_judge_decide_order tells whether an order is one that a second person decides about; who may is another
 * question.
 */
bool
payguard_judge_decide_order(const Order *order, Refusal *refusal)
{
	return payguard_judge_payable_to(PAYABLE_TO_DECIDE, order, GetCurrentTimestamp(),
									 refusal);
}

/*
 * judge_rejection refuses with PY105 what would be pointless: a rejection counts where a policy asks for something, and
 * nowhere else.
 */
static bool
judge_rejection(const Order *order, Refusal *refusal)
{
	Approval approval;
	Asked asked;

	if (payguard_approval_of_order(order->order_id, true, &approval)
			? payguard_text_is(approval.status, "rejected") ||
				  payguard_policy_asks(order->currency, order->amount, &asked)
			: payguard_policy_holds(order, true))
		return true;
	return payguard_refuse(
		refusal, ERR_ILLEGAL_TRANSITION,
		psprintf("order \"%s\" needs no approval", payguard_str(order->order_id)),
		"No policy asks for one, so a rejection would not hold the order back.",
		"Cancel the order with payguard.cancel_order().");
}

/*
 * payguard_judge_reject_order is payguard_judge_decide_order for a rejection.
 */
bool
payguard_judge_reject_order(const Order *order, Refusal *refusal)
{
	return payguard_judge_decide_order(order, refusal) && judge_rejection(order, refusal);
}

/*
 * open_for_order asks for an approval that is to be decided at once. A transaction whose snapshot is
 * older cannot see it, and would pay what is being rejected: the order's row stops it.
 */
static void
open_for_order(Order *order, Approval *approval)
{
	Approval asked = {
		.subject = payguard_text("order"),
		.order_id = order->order_id,
		.amount = order->amount,
		.currency = order->currency,
		.requested_by = who_asked(order),
	};

	payguard_order_touch(order);
	payguard_approval_ask(&asked);
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

PG_FUNCTION_INFO_V1(payguard_request_approval);

/*
 * request_approval(order_id, note) → approvals
 *
 * Asks a second person about an order that a policy holds back (PY601). One that is asked for, or given, is returned.
 * Errors: 22004, 22023; PY401; PY101-PY103 where the order is not to be paid; PY104 where nobody can allow it; PY105
 * where it was rejected, or needs none.
 */
Datum
payguard_request_approval(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	text *note = payguard_arg_note(ARG(1), "note");
	Order order;
	Approval approval;

	payguard_request_begin("request_approval()");
	payguard_order_must_exist(order_id, &order);
	check_order(&order, NO_ID);
	payguard_order_lock_known(order_id, &order);
	payguard_store_refresh();
	check_order(&order, NO_ID);
	if (payguard_approval_of_order(order_id, true, &approval))
		refuse_rejected(&approval);
	else
		ask(&order, note, &approval);
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_approvals, &approval);
}

/*
 * ask opens an approval. A transaction whose snapshot is older cannot see it, and would pay, or end the order, without
 * making it void: the order's row stops it. Errors: PY104, PY105.
 */
static void
ask(Order *order, text *note, Approval *approval)
{
	Refusal refusal;
	text *duplicate_of;

	if (payguard_policy_judge(order, order->version, true, NULL, &refusal))
		refuse_needless(order);
	if (refusal.id != ERR_APPROVAL_REQUIRED)
		payguard_raise(&refusal);
	payguard_policy_wants_approval(order, &duplicate_of);
	payguard_order_touch(order);
	payguard_order_ask_approval(order, note, duplicate_of);
	if (!payguard_approval_of_order(order->order_id, true, approval))
		payguard_store_suppressed(&payguard_approvals);
}

/*
 * refuse_rejected raises PY105 where an approval was rejected.
 */
static void
refuse_rejected(const Approval *approval)
{
	Refusal refusal;

	if (!payguard_text_is(approval->status, "rejected"))
		return;
	payguard_refuse(&refusal, ERR_ILLEGAL_TRANSITION,
					psprintf("the approval of order \"%s\" was rejected",
							 payguard_str(approval->order_id)),
					psprintf("\"%s\" rejected it at %s.",
							 payguard_str(approval->decided_by),
							 payguard_time_str(approval->decided_at)),
					"Change the order, or cancel it.");
	payguard_raise(&refusal);
}

/*
 * refuse_needless raises PY105: an order that no policy holds back can be paid.
 */
static void
refuse_needless(const Order *order)
{
	Refusal refusal;

	payguard_refuse(
		&refusal, ERR_ILLEGAL_TRANSITION,
		psprintf("order \"%s\" needs no approval", payguard_str(order->order_id)),
		"No policy holds it back.", "Pay it.");
	payguard_raise(&refusal);
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
	Refusal refusal;

	payguard_request_begin(function);
	payguard_refund_must_exist(refund_id, &refund);
	payguard_refund_lock(refund_id, &order, &payment, &refund);
	asked = payguard_approval_of_refund(refund_id, &approval);
	if (!(asked &&
		  payguard_text_is(approval.status, approve ? "approved" : "rejected")) &&
		!payguard_judge_decide_refund(&refund, approve, &refusal))
		payguard_raise(&refusal);
	if (!asked)
		elog(ERROR, "payguard: nobody was asked to approve refund \"%s\"",
			 payguard_uuid_str(refund_id));
	/* a report that held it back may have asked for the approval */
	payguard_refund_check_not_asker(
		&refund, "The person who asked cannot decide. Nothing has been written.",
		"Have somebody else decide.");
	decided = payguard_approval_decide(&approval, approve, note);
	if (decided && approve)
		go_on(&order, &payment, &refund, note);
	else if (decided)
		payguard_refund_waive(&payment, &refund, note);
	payguard_call_end();
	return payguard_refund_result(fcinfo, &refund, !decided, NULL);
}

/*
 * payguard_judge_decide_refund tells whether a refund may be approved or rejected; who may is another question.
 */
bool
payguard_judge_decide_refund(const Refund *refund, bool approve, Refusal *refusal)
{
	return refund->status == REFUND_AWAITING_APPROVAL ||
		   payguard_refund_refuse_move(refund, approve ? "approved" : "rejected",
									   "Only a refund that awaits approval is decided.",
									   refusal);
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

	payguard_refund_channel(refund, &channel);
	if (!channel.internal && refund->amount > 0)
	{
		payguard_refund_change(refund, REFUND_PENDING, 0, details);
		payguard_refund_schedule(refund, "refund");
		return;
	}
	refund->returned_amount = refund->amount;
	refund->amount_verified = true;
	refund->completed_at = GetCurrentTimestamp();
	payguard_refund_change(refund, REFUND_SUCCEEDED,
						   FIELD(REFUND_F_RETURNED_AMOUNT) |
							   FIELD(REFUND_F_AMOUNT_VERIFIED) |
							   FIELD(REFUND_F_COMPLETED_AT),
						   details);
	payguard_balance_lock(payment, &balance);
	balance.refunding -= refund->amount;
	payguard_refund_count_returned(order, payment, refund, &balance, refund->amount);
}
