/*
 * refusal_of.c
 *		refusal_of(): whether what an operator may do would be refused as things stand. payguard.cases offers what
 *		would not.
 *
 * It asks the judges of the requests themselves, with the caller's snapshot, and locks nothing.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "base/argument.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/rows.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/task.h"
#include "money/refunding.h"
#include "requests/judge.h"

/* What is to be done with what. A name may be left out. */
typedef struct Action
{
	const char *name;
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t
		*other_id; /* a refund's; of dismiss_surplus the payment that it is the same as */
	int64 number;  /* a task's or an alert's */
	bool as_whole_price; /* of accept_surplus */
	bool allowed;
	Refusal refusal;
} Action;

static void judge(void *argument);
static bool judge_payment(Action *action);
static bool judge_refund(Action *action);
static bool judge_order(Action *action);
static bool judge_task(Action *action);
static bool is_unknown(Action *action);

PG_FUNCTION_INFO_V1(payguard_refusal_of);

/*
 * refusal_of(action, order_id, payment_id, other_id, number) → text
 *
 * Why the function `action` would be refused now; NULL: it would not, as far as the state of things decides. Of
 * resolve_finding the action is "accept", "refund" or "waive"; "accept_less" is accept_surplus as the whole price;
 * "settle_refund" is of a refund that nobody is making, "name_refund" of one with a number of the channel. Errors: 22004
 * without an action; 22023 for one that is not known.
 */
Datum
payguard_refusal_of(PG_FUNCTION_ARGS)
{
	Action action = {
		.name = payguard_str(payguard_arg_id(ARG(0), "action")),
		.order_id = payguard_arg_id_or_null(ARG(1), "order_id"),
		.payment_id = PG_ARGISNULL(2) ? NULL : PG_GETARG_UUID_P(2),
		.other_id = PG_ARGISNULL(3) ? NULL : PG_GETARG_UUID_P(3),
		.number = PG_ARGISNULL(4) ? NO_ID : PG_GETARG_INT64(4),
	};

	payguard_store_look(judge, &action);
	if (action.allowed)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(action.refusal.message));
}

static void
judge(void *argument)
{
	Action *action = argument;
	const char *name = action->name;

	action->as_whole_price = strcmp(name, "accept_less") == 0;
	if (strcmp(name, "accept_surplus") == 0 || action->as_whole_price ||
		strcmp(name, "dismiss_surplus") == 0 || strcmp(name, "close_payment") == 0 ||
		strcmp(name, "capture_payment") == 0 || strcmp(name, "query_payment") == 0 ||
		strcmp(name, "settle_payment") == 0)
		action->allowed = judge_payment(action);
	else if (strcmp(name, "approve_refund") == 0 || strcmp(name, "reject_refund") == 0 ||
			 strcmp(name, "retry_refund") == 0 || strcmp(name, "waive_refund") == 0 ||
			 strcmp(name, "settle_refund") == 0 || strcmp(name, "name_refund") == 0)
		action->allowed = judge_refund(action);
	else if (strcmp(name, "approve_order") == 0 || strcmp(name, "reject_order") == 0 ||
			 strcmp(name, "reopen_order") == 0 || strcmp(name, "refund_order") == 0)
		action->allowed = judge_order(action);
	else if (strcmp(name, "requeue_task") == 0)
		action->allowed = judge_task(action);
	else if (strcmp(name, "accept") == 0 || strcmp(name, "refund") == 0 ||
			 strcmp(name, "waive") == 0)
		action->allowed = payguard_judge_finding(action->number, name, &action->refusal);
	else
		payguard_arg_bad("action", psprintf("\"%s\" is not known.", name),
						 "Give the name of a function that payguard.cases offers.");
}

static bool
judge_payment(Action *action)
{
	Payment payment;
	Payment same;
	Order order;

	if (action->payment_id == NULL ||
		!payguard_payment_find(action->payment_id, &payment) ||
		!payguard_order_find(payment.order_id, &order))
		return is_unknown(action);
	if (strcmp(action->name, "capture_payment") == 0)
		return payguard_judge_capture(&order, &payment, &action->refusal);
	if (strcmp(action->name, "close_payment") == 0)
		return payguard_judge_close(&payment, &action->refusal);
	if (strcmp(action->name, "query_payment") == 0)
		return payguard_payment_may_be_asked(&payment) ||
			   payguard_judge_close(&payment, &action->refusal);
	if (strcmp(action->name, "settle_payment") == 0)
		/* a word is never refused, also about a capture that is on its way */
		return payguard_payment_is_open(payment.status) ||
			   payguard_judge_close(&payment, &action->refusal);
	if (strcmp(action->name, "dismiss_surplus") == 0)
	{
		if (action->other_id == NULL || !payguard_payment_find(action->other_id, &same))
			return is_unknown(action);
		return payguard_judge_dismiss_surplus(&payment, &same, &action->refusal);
	}
	return payguard_judge_accept_surplus(&order, &payment, action->as_whole_price,
										 &action->refusal);
}

static bool
judge_refund(Action *action)
{
	Refund like = {.refund_id = action->other_id};
	Refund refund;
	Payment payment;

	if (action->other_id == NULL ||
		!payguard_store_find(&payguard_refunds, REFUND_BY_ID, &like, &refund) ||
		!payguard_payment_find(refund.payment_id, &payment))
		return is_unknown(action);
	if (strcmp(action->name, "retry_refund") == 0)
		return payguard_judge_retry(&payment, &refund, &action->refusal);
	if (strcmp(action->name, "waive_refund") == 0)
		return payguard_judge_waive(&refund, &action->refusal);
	if (strcmp(action->name, "settle_refund") == 0)
		/* a word is never refused; while a worker sends the money, sending it by hand would be twice */
		return refund.status == REFUND_FAILED ||
			   (refund.status == REFUND_PENDING && !payguard_refund_has_begun(&refund)) ||
			   payguard_refund_refuse_move(&refund, "settled", NULL, &action->refusal);
	if (strcmp(action->name, "name_refund") == 0)
		return refund.status == REFUND_PENDING || refund.status == REFUND_UNKNOWN ||
			   refund.status == REFUND_FAILED ||
			   payguard_refund_refuse_move(&refund, "settled", NULL, &action->refusal);
	return payguard_judge_decide_refund(
		&refund, strcmp(action->name, "approve_refund") == 0, &action->refusal);
}

static bool
judge_order(Action *action)
{
	Order order;
	Payment payment;

	if (action->order_id == NULL || !payguard_order_find(action->order_id, &order))
		return is_unknown(action);
	if (strcmp(action->name, "approve_order") == 0)
		return payguard_judge_decide_order(&order, &action->refusal);
	if (strcmp(action->name, "reject_order") == 0)
		return payguard_judge_reject_order(&order, &action->refusal);
	if (strcmp(action->name, "reopen_order") == 0)
		return payguard_judge_reopen(&order, &payment, &action->refusal);
	if (order.payment_id == NULL || !payguard_payment_find(order.payment_id, &payment))
		return is_unknown(action);
	return payguard_judge_refund(&order, &payment, &action->refusal);
}

static bool
judge_task(Action *action)
{
	Task like = {.task_id = action->number};
	Task task;

	return payguard_store_find(&payguard_tasks, TASK_BY_ID, &like, &task) ||
		   is_unknown(action);
}

/*
 * is_unknown refuses, since there is nothing to act on.
 */
static bool
is_unknown(Action *action)
{
	return payguard_refuse(&action->refusal, ERR_ORDER_NOT_FOUND,
						   "there is nothing to act on", NULL, NULL);
}
