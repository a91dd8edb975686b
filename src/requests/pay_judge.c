/*
 * pay_judge.c
 *		Judges a call that pays, before and after its order is locked.
 *
 * The checks come in their documented order: the key, the channel, the order, its state, its version, the
 * money, the policies. A key that is known is judged by what it named first.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/datum.h"
#include "utils/timestamp.h"

#include "rules/machine.h"
#include "base/argument.h"
#include "base/element.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/durable.h"
#include "store/rows.h"
#include "records/channel.h"
#include "records/order.h"
#include "records/payment.h"
#include "money/payable.h"
#include "money/policy.h"
#include "requests/pay_judge.h"

static void apply_checks(PayCall *call);
static bool judge_known(const PayCall *call, Refusal *refusal);
static bool judge_channel(const PayCall *call, Refusal *refusal);
static bool judge_money(const PayCall *call, const Order *order, Refusal *refusal);

/*
 * payguard_pay_find_key looks up the payment that a call's key has named before.
 */
void
payguard_pay_find_key(PayCall *call)
{
	Payment like = {.idempotency_key = call->key};

	call->key_known =
		payguard_store_find(&payguard_payments, PAYMENT_BY_KEY, &like, &call->payment);
}

/*
 * payguard_pay_judge makes a call's verdict. Of a batch what it says is kept alone: nobody sees more of a
 * refusal.
 */
void
payguard_pay_judge(PayCall *call)
{
	MemoryContext caller = payguard_element_begin(call->memory);
	Refusal *refusal = &call->refusal;

	apply_checks(call);
	if (call->memory)
	{
		MemoryContextSwitchTo(caller);
		if (call->verdict == VERDICT_REFUSE)
			*refusal = (Refusal){.id = refusal->id, .message = pstrdup(refusal->message)};
		if (call->verdict == VERDICT_OPEN && call->duplicate)
			call->duplicate =
				DatumGetTextPP(datumCopy(PointerGetDatum(call->duplicate), false, -1));
	}
	payguard_element_end(call->memory, caller);
}

/*
 * apply_checks applies the checks in their documented order: the key, the channel, the order, its
 * state, its version, the money, the policies.
 */
static void
apply_checks(PayCall *call)
{
	const OrderEntry *entry = call->entry;
	Refusal *refusal = &call->refusal;
	bool good;

	if (call->key_known)
	{
		call->verdict = judge_known(call, refusal) ? VERDICT_REPLAY : VERDICT_REFUSE;
		return;
	}
	good = judge_channel(call, refusal) &&
		   (entry->found || payguard_refuse_not_found(call->order_id, refusal)) &&
		   (call->brief ? payguard_judge_payable_briefly : payguard_judge_payable)(
			   &entry->order, GetCurrentTimestamp(), refusal) &&
		   payguard_judge_version(&entry->order, call->expected_version, refusal) &&
		   judge_money(call, &entry->order, refusal) &&
		   payguard_policy_judge(&entry->order, call->expected_version, entry->locked,
								 &call->duplicate, refusal);
	call->verdict = good ? VERDICT_OPEN : VERDICT_REFUSE;
}

/*
 * judge_known judges a call whose key is known: a replay, PY301, PY302 or PY303.
 */
static bool
judge_known(const PayCall *call, Refusal *refusal)
{
	const Payment *payment = &call->payment;
	const char *key = payguard_str(call->key);

	if (payguard_text_is(payment->failure_code, "revoked") &&
		payguard_text_equal(payment->order_id, call->order_id))
		return payguard_refuse(
			refusal, ERR_KEY_REVOKED, psprintf("idempotency key \"%s\" is revoked", key),
			psprintf("It was revoked at %s, unused.",
					 payguard_time_str(payment->completed_at)),
			"Whoever revoked it decided that this call must not pay. Ask "
			"for the order's status.");
	if (!payguard_pay_judge_key_reuse(call, refusal))
		return false;
	if (payment->status == PAYMENT_FAILED)
		return payguard_refuse(
			refusal, ERR_PAYMENT_FAILED,
			psprintf("the payment with idempotency key \"%s\" failed", key),
			psprintf("Payment \"%s\" failed at %s%s%s.",
					 payguard_uuid_str(payment->payment_id),
					 payguard_time_str(payment->completed_at),
					 payment->failure_code ? ": " : "",
					 payguard_str(payment->failure_code)),
			"Use a new key for a new attempt.");
	return true;
}

/*
 * payguard_pay_judge_key_reuse compares a request with the one that its key names. Values are shown only
 * where both are about the same order.
 */
bool
payguard_pay_judge_key_reuse(const PayCall *call, Refusal *refusal)
{
	const Payment *payment = &call->payment;
	StringInfoData differences;

	initStringInfo(&differences);
	if (!payguard_text_equal(payment->order_id, call->order_id))
		appendStringInfoString(&differences, ", order_id");
	else
	{
		if (call->amount != NO_AMOUNT && call->amount != payment->amount)
			appendStringInfo(&differences,
							 ", amount (" INT64_FORMAT ", not " INT64_FORMAT ")",
							 payment->amount, call->amount);
		if (call->currency && !payguard_text_equal(call->currency, payment->currency))
			appendStringInfo(&differences, ", currency (%s, not %s)",
							 payguard_str(payment->currency),
							 payguard_str(call->currency));
		if (!payguard_text_equal(call->channel, payment->channel))
			appendStringInfo(&differences, ", channel (\"%s\", not \"%s\")",
							 payguard_str(payment->channel), payguard_str(call->channel));
		if (!payguard_text_equal(payment->capture, call->capture))
			appendStringInfoString(&differences, ", capture");
		if (!payguard_text_is(payment->request_kind, call->kind))
			appendStringInfo(&differences, ", kind of call (\"%s\", not \"%s\")",
							 payguard_str(payment->request_kind), call->kind);
	}
	if (differences.len == 0)
		return true;
	return payguard_refuse(
		refusal, ERR_KEY_REUSED,
		psprintf("idempotency key \"%s\" was used for another request",
				 payguard_str(call->key)),
		psprintf("The requests differ in: %s.", differences.data + 2),
		"A key names one request for ever: use a new key for a new request, and the same "
		"arguments for a retry.");
}

/*
 * judge_channel tells whether a call may use its channel: pay_order() an internal one, an
 * attempt any other; PY405 or PY406 says why not. Errors: 22023.
 */
static bool
judge_channel(const PayCall *call, Refusal *refusal)
{
	const char *name = payguard_str(call->channel);
	Channel channel;

	if (payguard_text_is(call->channel, INTERNAL_CHANNEL) &&
		!payguard_pay_is_attempt(call))
		return true;
	if (!payguard_channel_find(call->channel, &channel))
		return payguard_channel_refuse_unknown(call->channel, refusal);
	if (payguard_pay_is_attempt(call) && channel.internal)
		payguard_arg_bad("channel",
						 "It is internal: there is nothing outside to wait for.",
						 "Pay with payguard.pay_order().");
	if (!payguard_pay_is_attempt(call) && !channel.internal)
		return payguard_refuse(
			refusal, ERR_CHANNEL_NOT_INTERNAL,
			psprintf("channel \"%s\" is not internal", name),
			"pay_order() is for money that is in the shop's own hands; what an outside "
			"channel took is evidence.",
			"Start a payment through the channel, and report what the channel answers.");
	return true;
}

/*
 * payguard_pay_is_attempt tells whether a call asks for a payment that an outside channel will make.
 */
bool
payguard_pay_is_attempt(const PayCall *call)
{
	return strcmp(call->kind, "start") == 0 || strcmp(call->kind, "request") == 0;
}

/*
 * judge_money tells whether a call is about the order's amount and currency; PY501 or PY502
 * says why not.
 */
static bool
judge_money(const PayCall *call, const Order *order, Refusal *refusal)
{
	const char *id = payguard_str(order->order_id);

	if (call->currency && !payguard_text_equal(call->currency, order->currency))
		return payguard_refuse(refusal, ERR_CURRENCY_MISMATCH,
							   psprintf("order \"%s\" is in another currency", id),
							   psprintf("The order asks for %s, the call is in %s.",
										payguard_money(order->amount, order->currency),
										payguard_str(call->currency)),
							   "Pay in the order's currency.");
	if (call->amount != NO_AMOUNT && call->amount != order->amount)
		return payguard_refuse(
			refusal, ERR_AMOUNT_MISMATCH,
			psprintf("order \"%s\" asks for another amount", id),
			psprintf("The order asks for %s, the call is about %s.",
					 payguard_money(order->amount, order->currency),
					 payguard_money(call->amount, order->currency)),
			"Show the customer the order's amount, in minor units, and ask again.");
	return true;
}

/*
 * payguard_pay_make_durable makes the rows durable on which an answer rests: it must not outlive them.
 */
void
payguard_pay_make_durable(const PayCall *call)
{
	if (call->key_known)
		payguard_store_make_durable(&call->payment);
	if (call->entry->found)
		payguard_store_make_durable(&call->entry->order);
}
