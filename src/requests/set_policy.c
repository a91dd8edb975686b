/*
 * set_policy.c
 *		set_policy(): what payments and refunds from an amount on need.
 *
 * Locking: the policy's row. Calls that have begun go on by the policies that they have read.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/argument.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/alert.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/event.h"
#include "money/policy.h"

static bool keep_policy(const Policy *policy, bool asks);
static bool is_same(const Policy *a, const Policy *b);
static Jsonb *describe(const Policy *policy, const text *changed_by);
static void check_policy(Policy *policy, bool has_window);

PG_FUNCTION_INFO_V1(payguard_set_policy);

/*
 * set_policy(currency, min_amount, approve_payment := false, approve_refund := false,
 *			  require_version := false, duplicate_window := NULL, on_duplicate := NULL)
 *	→ policies
 *
 * min_amount: minor units. One that asks for nothing is removed. A change opens the alert policy_changed. Errors: 22004, 22023.
 */
Datum
payguard_set_policy(PG_FUNCTION_ARGS)
{
	Policy policy = {
		.currency = payguard_arg_currency(ARG(0), "currency"),
		.min_amount = payguard_arg_amount(ARG(1), "min_amount"),
		.duplicate_window = payguard_arg_interval_or_null(ARG(5), "duplicate_window"),
		.on_duplicate = payguard_arg_id_or_null(ARG(6), "on_duplicate"),
		.updated_at = GetCurrentTimestamp(),
	};
	bool *const flags[3] = {&policy.approve_payment, &policy.approve_refund,
							&policy.require_version};
	const char *const names[3] = {"approve_payment", "approve_refund", "require_version"};
	bool asks = policy.duplicate_window != NULL;

	for (int i = 0; i < 3; i++)
	{
		if (PG_ARGISNULL(i + 2))
			payguard_arg_missing(names[i]);
		*flags[i] = PG_GETARG_BOOL(i + 2);
		asks |= *flags[i];
	}
	check_policy(&policy, policy.duplicate_window != NULL);

	payguard_request_begin("set_policy()");
	/* what guards the shop's money has changed: somebody else shall know */
	if (keep_policy(&policy, asks) && payguard_channel_scripts_are_new())
		payguard_alert_open("policy_changed", "warning",
							payguard_text(psprintf(
								"%s " INT64_FORMAT " %s", payguard_str(policy.currency),
								policy.min_amount, payguard_time_str(policy.updated_at))),
							ABOUT_NOTHING, describe(&policy, payguard_actor()));
	payguard_event_write("policy.set", ABOUT_NOTHING, NULL, NULL, NO_ID,
						 describe(&policy, NULL));
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_policies, &policy);
}

static Jsonb *
describe(const Policy *policy, const text *changed_by)
{
	return payguard_json(
		"currency", 't', policy->currency, "min_amount", 'i', policy->min_amount,
		"approve_payment", 'b', policy->approve_payment, "approve_refund", 'b',
		policy->approve_refund, "require_version", 'b', policy->require_version,
		"duplicate_window", 's',
		policy->duplicate_window
			? DatumGetCString(DirectFunctionCall1(
				  interval_out, IntervalPGetDatum(policy->duplicate_window)))
			: NULL,
		"on_duplicate", 't', policy->on_duplicate, "changed_by", 't', changed_by, NULL);
}

/*
 * keep_policy writes a policy, or removes the one that asks for nothing any more, and tells whether anything has
 * changed by that.
 */
static bool
keep_policy(const Policy *policy, bool asks)
{
	Policy existing;

	if (asks && payguard_store_insert_new(&payguard_policies, POLICY_OF_AMOUNT, policy))
		return true;
	if (!payguard_store_lock(&payguard_policies, POLICY_OF_AMOUNT, policy, &existing))
	{
		/* somebody has removed it while we waited */
		if (asks)
			payguard_store_insert(&payguard_policies, policy);
		return asks;
	}
	if (asks)
		payguard_store_update(
			&payguard_policies,
			FIELD(POLICY_F_APPROVE_PAYMENT) | FIELD(POLICY_F_APPROVE_REFUND) |
				FIELD(POLICY_F_REQUIRE_VERSION) | FIELD(POLICY_F_DUPLICATE_WINDOW) |
				FIELD(POLICY_F_ON_DUPLICATE) | FIELD(POLICY_F_UPDATED_AT),
			policy);
	else
		payguard_store_delete(&payguard_policies, &existing);
	return !asks || !is_same(policy, &existing);
}

/*
 * is_same tells whether two policies for an amount ask for the same.
 */
static bool
is_same(const Policy *a, const Policy *b)
{
	return a->approve_payment == b->approve_payment &&
		   a->approve_refund == b->approve_refund &&
		   a->require_version == b->require_version &&
		   (a->duplicate_window != NULL) == (b->duplicate_window != NULL) &&
		   (a->duplicate_window == NULL ||
			DatumGetBool(DirectFunctionCall2(interval_eq,
											 IntervalPGetDatum(a->duplicate_window),
											 IntervalPGetDatum(b->duplicate_window)))) &&
		   payguard_text_equal(a->on_duplicate, b->on_duplicate);
}

/*
 * check_policy checks what belongs together; without a word, duplicates are flagged.
 */
static void
check_policy(Policy *policy, bool has_window)
{
	Interval *zero = palloc0(sizeof(Interval));

	if (policy->on_duplicate && !has_window)
		payguard_arg_bad("on_duplicate", "It is given without a duplicate_window.",
						 "Give both, or none.");
	if (!has_window)
		return;
	if (DatumGetBool(DirectFunctionCall2(interval_eq, IntervalPGetDatum(zero),
										 IntervalPGetDatum(policy->duplicate_window))))
		payguard_arg_bad("duplicate_window", "It is 0.",
						 "Give an interval such as '10 min', or leave it out.");
	if (policy->on_duplicate == NULL)
		policy->on_duplicate = payguard_text(payguard_on_duplicate_names[DUPLICATE_FLAG]);
	for (int i = 0; i < N_ON_DUPLICATE; i++)
		if (payguard_text_is(policy->on_duplicate, payguard_on_duplicate_names[i]))
			return;
	payguard_arg_bad("on_duplicate",
					 psprintf("\"%s\" is not known.", payguard_str(policy->on_duplicate)),
					 "Use flag, hold or refuse.");
}
