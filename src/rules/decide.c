/*
 * decide.c
 *		What follows from (order, attempt, report): one pure function, without I/O.
 *
 * Its table is listed in doc/design.md from payguard.decisions(), which enumerates it; the
 * model in test/model takes its transitions from there too. Every switch is over all values
 * and has no default, so that a state without its cells does not compile.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "rules/decide.h"
#include "rules/machine.h"

static const char *const channel_status_names[N_CHANNEL_STATUS] = {
	[CHANNEL_SUCCEEDED] = "succeeded", [CHANNEL_FAILED] = "failed",
	[CHANNEL_CLOSED] = "closed",	   [CHANNEL_PENDING] = "pending",
	[CHANNEL_UNKNOWN] = "unknown",	   [CHANNEL_NOT_FOUND] = "not_found",
};

static const char *const late_success_names[N_LATE_SUCCESS] = {
	[LATE_ACCEPT] = "accept",
	[LATE_ACCEPT_EXPIRED] = "accept_expired",
	[LATE_REFUND] = "refund",
	[LATE_HOLD] = "hold",
};

static Decision stay(const Facts *facts);
static Decision decide_live(const Facts *facts);
static Decision ask_again(Decision decision);
static Decision decide_superseded(const Facts *facts);
static Decision decide_late(const Facts *facts);
static Decision decide_received(const Facts *facts);
static Decision take_as_surplus(const Facts *facts, const char *alert);
static const char *surplus_because(const Facts *facts, const char *alert);
static Decision hold_as_surplus(const Facts *facts);
static OrderStatus without_money(const Facts *facts);

/*
 * payguard_decide tells what follows. It never refuses: what the channel says happened.
 */
Decision
payguard_decide(const Facts *facts)
{
	switch (facts->payment)
	{
		case PAYMENT_PENDING:
		case PAYMENT_UNKNOWN:
		case PAYMENT_CLOSING:
			return decide_live(facts);
		case PAYMENT_SUPERSEDED:
			return decide_superseded(facts);
		case PAYMENT_NONE:
		case PAYMENT_FAILED:
			return decide_late(facts);
		case PAYMENT_SUCCEEDED:
		case PAYMENT_SURPLUS:
			return decide_received(facts);
		case N_PAYMENT_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no status of a payment", (int) facts->payment);
}

static Decision
stay(const Facts *facts)
{
	return (Decision){.payment = facts->payment, .order = facts->order};
}

/*
 * decide_live: the attempt may still bring the order's money.
 */
static Decision
decide_live(const Facts *facts)
{
	Decision decision = stay(facts);

	switch (facts->report)
	{
		case CHANNEL_SUCCEEDED:
			if (!facts->money_fits)
			{
				decision = take_as_surplus(facts, "amount_mismatch");
				decision.order = without_money(facts);
				return decision;
			}
			decision.payment = PAYMENT_SUCCEEDED;
			decision.order = ORDER_PAID;
			return decision;
		case CHANNEL_FAILED:
		case CHANNEL_CLOSED:
			decision.payment = PAYMENT_FAILED;
			decision.order = without_money(facts);
			return decision;
		case CHANNEL_PENDING:
			if (facts->payment == PAYMENT_UNKNOWN)
				decision.payment = PAYMENT_PENDING;
			return ask_again(decision);
		case CHANNEL_UNKNOWN:
			if (facts->payment == PAYMENT_PENDING)
				decision.payment = PAYMENT_UNKNOWN;
			return ask_again(decision);
		case CHANNEL_NOT_FOUND:
			return ask_again(decision);
		case CHANNEL_NONE:
		case N_CHANNEL_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no channel status", (int) facts->report);
}

/*
 * ask_again: the attempt stays open. A request to close it may have been lost, or refused while
 * the customer was paying, so it is repeated until the channel says how the attempt ended.
 */
static Decision
ask_again(Decision decision)
{
	decision.query = true;
	decision.close = decision.payment == PAYMENT_CLOSING;
	return decision;
}

/*
 * decide_superseded: another payment has paid the order; this one is being closed.
 */
static Decision
decide_superseded(const Facts *facts)
{
	Decision decision = stay(facts);

	switch (facts->report)
	{
		case CHANNEL_SUCCEEDED:
			return take_as_surplus(facts, facts->money_fits ? "surplus_payment"
															: "amount_mismatch");
		case CHANNEL_FAILED:
		case CHANNEL_CLOSED:
			decision.payment = PAYMENT_FAILED;
			return decision;
		case CHANNEL_PENDING:
		case CHANNEL_UNKNOWN:
		case CHANNEL_NOT_FOUND:
			decision.close = true;
			return decision;
		case CHANNEL_NONE:
		case N_CHANNEL_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no channel status", (int) facts->report);
}

/*
 * decide_late: the attempt has failed, or there never was one, and now there is a report.
 */
static Decision
decide_late(const Facts *facts)
{
	Decision decision = stay(facts);
	bool attempted = facts->payment == PAYMENT_FAILED;

	switch (facts->report)
	{
		case CHANNEL_SUCCEEDED:
			break;
		case CHANNEL_FAILED:
		case CHANNEL_CLOSED:
		case CHANNEL_PENDING:
		case CHANNEL_UNKNOWN:
		case CHANNEL_NOT_FOUND:
			return decision;
		case CHANNEL_NONE:
		case N_CHANNEL_STATUS:
			elog(ERROR, "payguard: %d is no channel status", (int) facts->report);
	}

	if (!facts->money_fits)
		return take_as_surplus(facts, "amount_mismatch");
	if (attempted && facts->late_success == LATE_REFUND)
		return take_as_surplus(facts, "surplus_payment");

	switch (facts->order)
	{
		case ORDER_PAYING:
			/* first money wins */
			decision.supersede = true;
			decision.alert = "attempt_superseded";
			break;
		case ORDER_UNPAID:
			decision.alert = attempted ? "late_success" : NULL;
			break;
		case ORDER_EXPIRED:
			if (facts->late_success == LATE_HOLD)
				break;
			if (!attempted || facts->late_success != LATE_ACCEPT_EXPIRED)
				return take_as_surplus(facts, "surplus_payment");
			decision.alert = "late_success";
			break;
		case ORDER_CANCELLED:
		case ORDER_PAID:
		case ORDER_REFUNDED:
			return take_as_surplus(facts, "surplus_payment");
		case ORDER_NONE:
		case N_ORDER_STATUS:
			elog(ERROR, "payguard: %d is no status of an order", (int) facts->order);
	}
	if (facts->late_success == LATE_HOLD)
		return hold_as_surplus(facts);
	decision.payment = PAYMENT_SUCCEEDED;
	decision.order = ORDER_PAID;
	return decision;
}

/*
 * decide_received: the payment's money is here already. A late failure never undoes it.
 */
static Decision
decide_received(const Facts *facts)
{
	Decision decision = stay(facts);

	switch (facts->report)
	{
		case CHANNEL_SUCCEEDED:
			if (facts->other_txn)
			{
				decision.second_charge = true;
				decision.query = true;
				decision.alert = "second_charge";
				decision.because = "second_charge";
			}
			else
				decision.fill_in = true;
			return decision;
		case CHANNEL_FAILED:
		case CHANNEL_CLOSED:
			decision.alert = "contradiction";
			return decision;
		case CHANNEL_PENDING:
		case CHANNEL_UNKNOWN:
		case CHANNEL_NOT_FOUND:
			return decision;
		case CHANNEL_NONE:
		case N_CHANNEL_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no channel status", (int) facts->report);
}

static Decision
take_as_surplus(const Facts *facts, const char *alert)
{
	Decision decision = stay(facts);

	decision.payment = PAYMENT_SURPLUS;
	decision.refund = true;
	decision.alert = alert;
	decision.because = surplus_because(facts, alert);
	return decision;
}

/*
 * surplus_because returns why money is surplus; payment_rates() counts by these words.
 */
static const char *
surplus_because(const Facts *facts, const char *alert)
{
	if (strcmp(alert, "amount_mismatch") == 0)
		return "amount_mismatch";
	return facts->order == ORDER_PAID || facts->order == ORDER_REFUNDED ? "order_paid"
																		: "late";
}

/*
 * hold_as_surplus: the money might pay the order, but a person has to say so first.
 */
static Decision
hold_as_surplus(const Facts *facts)
{
	Decision decision = take_as_surplus(facts, "surplus_payment");

	decision.hold = true;
	decision.because = "held";
	return decision;
}

/*
 * without_money returns what an order becomes when its attempt ends without its money.
 */
static OrderStatus
without_money(const Facts *facts)
{
	return facts->closing_as != ORDER_NONE ? facts->closing_as : ORDER_UNPAID;
}

/*
 * payguard_facts_possible tells whether an order and a payment can be in these states
 * together. Others are a violation of I1 or I5, and verify() finds them.
 */
bool
payguard_facts_possible(const Facts *facts)
{
	bool paid = facts->order == ORDER_PAID || facts->order == ORDER_REFUNDED;

	if (facts->closing_as != ORDER_NONE &&
		(facts->order != ORDER_PAYING ||
		 (facts->closing_as != ORDER_CANCELLED && facts->closing_as != ORDER_EXPIRED)))
		return false;
	switch (facts->payment)
	{
		case PAYMENT_PENDING:
		case PAYMENT_UNKNOWN:
		case PAYMENT_CLOSING:
			return facts->order == ORDER_PAYING;
		case PAYMENT_SUPERSEDED:
		case PAYMENT_SUCCEEDED:
			return paid;
		case PAYMENT_NONE:
			return facts->report == CHANNEL_SUCCEEDED;
		case PAYMENT_FAILED:
		case PAYMENT_SURPLUS:
			return true;
		case N_PAYMENT_STATUS:
			break;
	}
	return false;
}

/*
 * payguard_channel_status_name returns the documented name of a channel status.
 */
const char *
payguard_channel_status_name(ChannelStatus status)
{
	if (status <= CHANNEL_NONE || status >= N_CHANNEL_STATUS)
		elog(ERROR, "payguard: %d is no channel status", (int) status);
	return channel_status_names[status];
}

/*
 * payguard_channel_status returns the channel status with a name; CHANNEL_NONE: there is none.
 */
ChannelStatus
payguard_channel_status(const char *name)
{
	for (int status = CHANNEL_NONE + 1; status < N_CHANNEL_STATUS; status++)
		if (strcmp(channel_status_names[status], name) == 0)
			return status;
	return CHANNEL_NONE;
}

/*
 * payguard_late_success returns the setting with a name, which was checked when it was stored.
 */
LateSuccess
payguard_late_success(const char *name)
{
	for (int late = 0; late < N_LATE_SUCCESS; late++)
		if (strcmp(late_success_names[late], name) == 0)
			return late;
	elog(ERROR, "payguard: \"%s\" is no setting of late_success", name);
}

PG_FUNCTION_INFO_V1(payguard_decisions);

#define N_DECISION_COLUMNS 17

static Datum
status_or_null(const Machine *machine, int status, bool *isnull)
{
	*isnull = status == 0;
	return status == 0 ? (Datum) 0
					   : CStringGetTextDatum(payguard_machine_name(machine, status));
}

static void
put_decision(ReturnSetInfo *rsinfo, const Facts *facts)
{
	Decision decision = payguard_decide(facts);
	Datum values[N_DECISION_COLUMNS] = {0};
	bool nulls[N_DECISION_COLUMNS] = {false};
	int i = 0;

	values[i] = status_or_null(&payguard_order_machine, facts->order, &nulls[i]);
	i++;
	values[i] = status_or_null(&payguard_order_machine, facts->closing_as, &nulls[i]);
	i++;
	values[i] = status_or_null(&payguard_payment_machine, facts->payment, &nulls[i]);
	i++;
	values[i++] = CStringGetTextDatum(payguard_channel_status_name(facts->report));
	values[i++] = CStringGetTextDatum(late_success_names[facts->late_success]);
	values[i++] = BoolGetDatum(facts->money_fits);
	values[i++] = BoolGetDatum(facts->other_txn);
	values[i] = status_or_null(&payguard_order_machine, decision.order, &nulls[i]);
	i++;
	values[i] = status_or_null(&payguard_payment_machine, decision.payment, &nulls[i]);
	i++;
	values[i++] = BoolGetDatum(decision.supersede);
	values[i++] = BoolGetDatum(decision.refund);
	values[i++] = BoolGetDatum(decision.hold);
	values[i++] = BoolGetDatum(decision.second_charge);
	values[i++] = BoolGetDatum(decision.fill_in);
	values[i++] = BoolGetDatum(decision.query);
	values[i++] = BoolGetDatum(decision.close);
	nulls[i] = decision.alert == NULL;
	if (decision.alert)
		values[i] = CStringGetTextDatum(decision.alert);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * decisions() → SETOF record: every possible combination of facts, with what follows.
 */
Datum
payguard_decisions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Facts f;

	InitMaterializedSRF(fcinfo, 0);
	for (f.payment = PAYMENT_NONE; f.payment < N_PAYMENT_STATUS; f.payment++)
		for (f.order = ORDER_NONE + 1; f.order < N_ORDER_STATUS; f.order++)
			for (f.closing_as = ORDER_NONE; f.closing_as < N_ORDER_STATUS; f.closing_as++)
				for (f.report = CHANNEL_NONE + 1; f.report < N_CHANNEL_STATUS; f.report++)
					for (f.late_success = 0; f.late_success < N_LATE_SUCCESS;
						 f.late_success++)
						for (int flags = 0; flags < 4; flags++)
						{
							f.money_fits = (flags & 1) == 0;
							f.other_txn = (flags & 2) != 0;
							if (payguard_facts_possible(&f))
								put_decision(rsinfo, &f);
						}
	return (Datum) 0;
}
