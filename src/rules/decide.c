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
	[CHANNEL_SUCCEEDED] = "succeeded",	 [CHANNEL_FAILED] = "failed",
	[CHANNEL_CLOSED] = "closed",		 [CHANNEL_PENDING] = "pending",
	[CHANNEL_PROCESSING] = "processing", [CHANNEL_AUTHORIZED] = "authorized",
	[CHANNEL_UNKNOWN] = "unknown",		 [CHANNEL_NOT_FOUND] = "not_found",
};

static const char *const money_names[N_MONEY] = {
	[MONEY_FITS] = "fits",
	[MONEY_MORE] = "more",
	[MONEY_LESS] = "less",
	[MONEY_OTHER] = "other",
};

static const char *const late_success_names[N_LATE_SUCCESS] = {
	[LATE_ACCEPT] = "accept",
	[LATE_ACCEPT_EXPIRED] = "accept_expired",
	[LATE_REFUND] = "refund",
	[LATE_HOLD] = "hold",
};

static Decision stay(const Facts *facts);
static Decision decide_live(const Facts *facts);
static Decision decide_end(const Facts *facts);
static Decision decide_authorized(const Facts *facts);
static Decision decide_success(const Facts *facts);
static Decision pay(const Facts *facts, Decision decision);
static Decision ask_again(Decision decision);
static Decision decide_superseded(const Facts *facts);
static Decision decide_late(const Facts *facts);
static Decision decide_failed(const Facts *facts);
static Decision decide_received(const Facts *facts);
static Decision decide_returned(const Facts *facts);
static Decision take_as_surplus(const Facts *facts, const char *alert);
static const char *surplus_because(const Facts *facts, const char *alert);
static Decision hold_as_surplus(const Facts *facts);
static Decision take_as_mismatch(const Facts *facts);
static bool is_enough(const Facts *facts);
static OrderStatus without_money(const Facts *facts);
static void put_decisions(ReturnSetInfo *rsinfo, const Facts *states);

/*
 * payguard_decide tells what follows. It never refuses: what the channel says happened.
 */
Decision
payguard_decide(const Facts *facts)
{
	switch (facts->payment)
	{
		case PAYMENT_PENDING:
		case PAYMENT_PROCESSING:
		case PAYMENT_AUTHORIZED:
		case PAYMENT_CAPTURING:
		case PAYMENT_UNKNOWN:
		case PAYMENT_CLOSING:
			return decide_live(facts);
		case PAYMENT_SUPERSEDED:
			return decide_superseded(facts);
		case PAYMENT_NONE:
			return decide_late(facts);
		case PAYMENT_FAILED:
			return facts->report == CHANNEL_SUCCEEDED ? decide_late(facts)
													  : decide_failed(facts);
		case PAYMENT_SUCCEEDED:
		case PAYMENT_SURPLUS:
			return decide_received(facts);
		case PAYMENT_RETURNED:
			return decide_returned(facts);
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
 * decide_live decides about an attempt that may still bring the order's money.
 */
static Decision
decide_live(const Facts *facts)
{
	Decision decision = stay(facts);

	switch (facts->report)
	{
		case CHANNEL_SUCCEEDED:
			return decide_success(facts);
		case CHANNEL_AUTHORIZED:
			return decide_authorized(facts);
		case CHANNEL_FAILED:
		case CHANNEL_CLOSED:
			return decide_end(facts);
		case CHANNEL_PENDING:
			if (facts->payment == PAYMENT_UNKNOWN ||
				(facts->payment == PAYMENT_PROCESSING && facts->fresh))
				decision.payment = PAYMENT_PENDING;
			return ask_again(decision);
		case CHANNEL_PROCESSING:
			if (facts->payment == PAYMENT_PENDING || facts->payment == PAYMENT_UNKNOWN)
				decision.payment = PAYMENT_PROCESSING;
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
 * decide_end decides about a live attempt that brings no money. Whoever has asked for a capture may have handed out the
 * goods.
 */
static Decision
decide_end(const Facts *facts)
{
	Decision decision = stay(facts);

	decision.payment = PAYMENT_FAILED;
	decision.order = without_money(facts);
	if (facts->payment == PAYMENT_CAPTURING && facts->closing_as == ORDER_NONE)
		decision.alert = "capture_failed";
	return decision;
}

/*
 * decide_authorized decides about a live attempt whose money is reserved. After a request to capture, the answer to a
 * later question means that the capture was not made. A capture whose answer was lost is asked for again.
 */
static Decision
decide_authorized(const Facts *facts)
{
	Decision decision = stay(facts);

	if (facts->payment == PAYMENT_CLOSING ||
		(facts->payment == PAYMENT_CAPTURING && !facts->fresh))
		return ask_again(decision);
	if (facts->closing_as != ORDER_NONE)
	{
		decision.payment = PAYMENT_CLOSING;
		return ask_again(decision);
	}
	if (facts->repeatable)
	{
		decision.capture = true;
		return decision;
	}
	if (facts->payment == PAYMENT_CAPTURING)
		decision.alert = "capture_failed";
	decision.payment = PAYMENT_AUTHORIZED;
	return ask_again(decision);
}

/*
 * decide_success decides about a live attempt that has brought money. Whoever has cancelled the order does not want it
 * any more, whether the money comes a moment before or after the attempt is closed. Money of a revived attempt is late.
 */
static Decision
decide_success(const Facts *facts)
{
	Decision decision = stay(facts);

	switch (facts->money)
	{
		case MONEY_FITS:
		case MONEY_MORE:
			if (facts->closing_as == ORDER_CANCELLED ||
				(facts->revived && facts->late_success == LATE_REFUND))
				decision = take_as_surplus(facts, "surplus_payment");
			else if (facts->revived && facts->late_success == LATE_HOLD)
				decision = hold_as_surplus(facts);
			else
			{
				decision.alert = facts->revived ? "late_success" : NULL;
				return pay(facts, decision);
			}
			break;
		case MONEY_LESS:
		case MONEY_OTHER:
			decision = take_as_mismatch(facts);
			break;
		case N_MONEY:
			elog(ERROR, "payguard: %d is no relation of amounts", (int) facts->money);
	}
	decision.order = without_money(facts);
	return decision;
}

/*
 * pay: the payment pays the order. What it brought beyond the order's amount goes back.
 */
static Decision
pay(const Facts *facts, Decision decision)
{
	decision.payment = PAYMENT_SUCCEEDED;
	decision.order = ORDER_PAID;
	decision.excess = facts->money == MONEY_MORE;
	return decision;
}

/*
 * ask_again leaves the attempt open and has the channel asked again. A request to close it may have been lost, or
 * refused while the customer was paying, so it is repeated until the channel says how the attempt ended.
 */
static Decision
ask_again(Decision decision)
{
	decision.query = true;
	decision.close = decision.payment == PAYMENT_CLOSING;
	return decision;
}

/*
 * decide_superseded decides about an attempt that is being closed, since another payment has paid the order.
 */
static Decision
decide_superseded(const Facts *facts)
{
	Decision decision = stay(facts);

	switch (facts->report)
	{
		case CHANNEL_SUCCEEDED:
			return is_enough(facts) ? take_as_surplus(facts, "surplus_payment")
									: take_as_mismatch(facts);
		case CHANNEL_FAILED:
		case CHANNEL_CLOSED:
			decision.payment = PAYMENT_FAILED;
			return decision;
		case CHANNEL_PENDING:
		case CHANNEL_PROCESSING:
		case CHANNEL_AUTHORIZED:
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
 * decide_failed decides about a failed attempt of which the channel says anything but that it took the money. An
 * attempt that goes on there is live again, or is closed: it might take the money later.
 */
static Decision
decide_failed(const Facts *facts)
{
	Decision decision = stay(facts);

	switch (facts->report)
	{
		case CHANNEL_PENDING:
		case CHANNEL_PROCESSING:
		case CHANNEL_AUTHORIZED:
			if (!facts->fresh)
				decision.query = true;
			else if (facts->revivable)
			{
				decision.payment = facts->report == CHANNEL_PENDING ? PAYMENT_PENDING
								   : facts->report == CHANNEL_PROCESSING
									   ? PAYMENT_PROCESSING
									   : PAYMENT_AUTHORIZED;
				decision.order = ORDER_PAYING;
				decision.query = true;
			}
			else
			{
				decision.close = true;
				decision.alert = "attempt_alive";
			}
			return decision;
		case CHANNEL_FAILED:
		case CHANNEL_CLOSED:
		case CHANNEL_UNKNOWN:
		case CHANNEL_NOT_FOUND:
			return decision;
		case CHANNEL_SUCCEEDED:
		case CHANNEL_NONE:
		case N_CHANNEL_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no channel status here", (int) facts->report);
}

/*
 * decide_late decides about money of an attempt that has failed, or money without an attempt.
 */
static Decision
decide_late(const Facts *facts)
{
	Decision decision = stay(facts);
	bool attempted = facts->payment == PAYMENT_FAILED;

	if (facts->report != CHANNEL_SUCCEEDED)
		elog(ERROR, "payguard: %d is no channel status here", (int) facts->report);
	if (!is_enough(facts))
		return take_as_mismatch(facts);
	if (attempted && facts->late_success == LATE_REFUND)
		return take_as_surplus(facts, "surplus_payment");

	switch (facts->order)
	{
		case ORDER_PAYING:
			if (facts->closing_as == ORDER_CANCELLED)
				return take_as_surplus(facts, "surplus_payment");
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
			if (facts->late_success == LATE_REFUND ||
				(facts->late_success == LATE_ACCEPT && !facts->in_time))
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
	return pay(facts, decision);
}

/*
 * decide_received decides about a payment whose money is here already. A late failure undoes it only if the channel
 * takes money back that way, and has been asked since.
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
			if (!facts->reverses)
				decision.alert = "contradiction";
			else if (facts->fresh)
				decision.reverse = true;
			else
				decision.query = true;
			return decision;
		case CHANNEL_PENDING:
		case CHANNEL_PROCESSING:
		case CHANNEL_AUTHORIZED:
		case CHANNEL_UNKNOWN:
		case CHANNEL_NOT_FOUND:
			return decision;
		case CHANNEL_NONE:
		case N_CHANNEL_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no channel status", (int) facts->report);
}

/*
 * decide_returned decides about a payment whose money the channel has taken back. What it says of that money now is
 * old; only another transaction is new money.
 */
static Decision
decide_returned(const Facts *facts)
{
	Decision decision = stay(facts);

	decision.another = facts->report == CHANNEL_SUCCEEDED && facts->other_txn;
	return decision;
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
 * hold_as_surplus keeps money that might pay the order as surplus: a person has to say so first.
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
 * take_as_mismatch keeps money that is less than the order asks for, or in another currency, as surplus. A person
 * decides, who may lower the order, or find the rest.
 */
static Decision
take_as_mismatch(const Facts *facts)
{
	Decision decision = take_as_surplus(facts, "amount_mismatch");

	decision.hold = true;
	return decision;
}

/*
 * is_enough tells whether the money is what the order asks for, or more.
 */
static bool
is_enough(const Facts *facts)
{
	return facts->money == MONEY_FITS || facts->money == MONEY_MORE;
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
 * payguard_is_step_back tells whether a report takes back what is known of a payment. Messages are late,
 * repeated and out of order: only who has asked since the payment's last change may say that.
 */
bool
payguard_is_step_back(const Facts *facts)
{
	switch (facts->payment)
	{
		case PAYMENT_PROCESSING:
			return facts->report == CHANNEL_PENDING;
		case PAYMENT_CAPTURING:
			return facts->report == CHANNEL_AUTHORIZED;
		case PAYMENT_FAILED:
			return facts->report == CHANNEL_PENDING ||
				   facts->report == CHANNEL_PROCESSING ||
				   facts->report == CHANNEL_AUTHORIZED;
		case PAYMENT_SUCCEEDED:
		case PAYMENT_SURPLUS:
			return facts->reverses;
		default:
			return false;
	}
}

/*
 * is_detail_possible tells whether facts that matter in a few situations are set in these alone.
 */
static bool
is_detail_possible(const Facts *facts)
{
	bool received =
		facts->payment == PAYMENT_SUCCEEDED || facts->payment == PAYMENT_SURPLUS;

	if (facts->in_time &&
		(facts->order != ORDER_EXPIRED || facts->report != CHANNEL_SUCCEEDED ||
		 (facts->payment != PAYMENT_NONE && facts->payment != PAYMENT_FAILED)))
		return false;
	if (facts->revived &&
		(facts->report != CHANNEL_SUCCEEDED || facts->payment == PAYMENT_NONE ||
		 !payguard_payment_is_live(facts->payment)))
		return false;
	if (facts->reverses && (!received || (facts->report != CHANNEL_FAILED &&
										  facts->report != CHANNEL_CLOSED)))
		return false;
	if (facts->fresh && !payguard_is_step_back(facts))
		return false;
	if (facts->repeatable && (!facts->fresh || facts->payment != PAYMENT_CAPTURING ||
							  facts->closing_as != ORDER_NONE))
		return false;
	return !facts->revivable || (facts->fresh && facts->payment == PAYMENT_FAILED &&
								 facts->order == ORDER_UNPAID);
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
		case PAYMENT_PROCESSING:
		case PAYMENT_AUTHORIZED:
		case PAYMENT_CAPTURING:
		case PAYMENT_UNKNOWN:
		case PAYMENT_CLOSING:
			return facts->order == ORDER_PAYING && is_detail_possible(facts);
		case PAYMENT_SUCCEEDED:
			return paid && is_detail_possible(facts);
		case PAYMENT_NONE:
			return facts->report == CHANNEL_SUCCEEDED && is_detail_possible(facts);
		case PAYMENT_SUPERSEDED: /* the money that superseded it may be taken back */
		case PAYMENT_FAILED:
		case PAYMENT_SURPLUS:
		case PAYMENT_RETURNED:
			return is_detail_possible(facts);
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

#define N_DECISION_COLUMNS 27
#define N_DECISION_COLUMNS_1_1 17 /* in the scripts of 1.1.0 and before */

static Datum
status_or_null(const Machine *machine, int status, bool *isnull)
{
	*isnull = status == 0;
	return status == 0 ? (Datum) 0
					   : CStringGetTextDatum(payguard_machine_name(machine, status));
}

/*
 * put_decision lists what follows from facts. Older scripts know fewer of them.
 */
static void
put_decision(ReturnSetInfo *rsinfo, const Facts *facts)
{
	bool before_1_2 = rsinfo->setDesc->natts == N_DECISION_COLUMNS_1_1;
	bool is_new =
		facts->payment == PAYMENT_PROCESSING || facts->payment == PAYMENT_AUTHORIZED ||
		facts->payment == PAYMENT_CAPTURING || facts->payment == PAYMENT_RETURNED ||
		facts->report == CHANNEL_PROCESSING || facts->report == CHANNEL_AUTHORIZED ||
		facts->money == MONEY_MORE || facts->money == MONEY_OTHER || facts->in_time ||
		facts->revived || facts->fresh || facts->revivable || facts->reverses;
	Decision decision = payguard_decide(facts);
	Datum values[N_DECISION_COLUMNS] = {0};
	bool nulls[N_DECISION_COLUMNS] = {false};
	int i = 0;

	if (before_1_2 && is_new)
		return;
	values[i] = status_or_null(&payguard_order_machine, facts->order, &nulls[i]);
	i++;
	values[i] = status_or_null(&payguard_order_machine, facts->closing_as, &nulls[i]);
	i++;
	values[i] = status_or_null(&payguard_payment_machine, facts->payment, &nulls[i]);
	i++;
	values[i++] = CStringGetTextDatum(payguard_channel_status_name(facts->report));
	values[i++] = CStringGetTextDatum(late_success_names[facts->late_success]);
	values[i++] = before_1_2 ? BoolGetDatum(facts->money == MONEY_FITS)
							 : CStringGetTextDatum(money_names[facts->money]);
	values[i++] = BoolGetDatum(facts->other_txn);
	if (!before_1_2)
	{
		values[i++] = BoolGetDatum(facts->in_time);
		values[i++] = BoolGetDatum(facts->revived);
		values[i++] = BoolGetDatum(facts->fresh);
		values[i++] = BoolGetDatum(facts->revivable);
		values[i++] = BoolGetDatum(facts->reverses);
		values[i++] = BoolGetDatum(facts->repeatable);
	}
	values[i] = status_or_null(&payguard_order_machine, decision.order, &nulls[i]);
	i++;
	values[i] = status_or_null(&payguard_payment_machine, decision.payment, &nulls[i]);
	i++;
	values[i++] = BoolGetDatum(decision.supersede);
	values[i++] = BoolGetDatum(decision.refund);
	values[i++] = BoolGetDatum(decision.hold);
	if (!before_1_2)
		values[i++] = BoolGetDatum(decision.excess);
	values[i++] = BoolGetDatum(decision.second_charge);
	if (!before_1_2)
	{
		values[i++] = BoolGetDatum(decision.another);
		values[i++] = BoolGetDatum(decision.reverse);
	}
	values[i++] = BoolGetDatum(decision.fill_in);
	values[i++] = BoolGetDatum(decision.query);
	values[i++] = BoolGetDatum(decision.close);
	if (!before_1_2)
		values[i++] = BoolGetDatum(decision.capture);
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
				put_decisions(rsinfo, &f);
	return (Datum) 0;
}

/*
 * put_decisions lists what follows from an order and a payment, whatever is reported.
 */
static void
put_decisions(ReturnSetInfo *rsinfo, const Facts *states)
{
	Facts f = *states;

	for (f.report = CHANNEL_NONE + 1; f.report < N_CHANNEL_STATUS; f.report++)
		for (f.late_success = 0; f.late_success < N_LATE_SUCCESS; f.late_success++)
			for (f.money = 0; f.money < N_MONEY; f.money++)
				for (int flags = 0; flags < 128; flags++)
				{
					f.other_txn = (flags & 1) != 0;
					f.in_time = (flags & 2) != 0;
					f.revived = (flags & 4) != 0;
					f.fresh = (flags & 8) != 0;
					f.revivable = (flags & 16) != 0;
					f.reverses = (flags & 32) != 0;
					f.repeatable = (flags & 64) != 0;
					if (payguard_facts_possible(&f))
						put_decision(rsinfo, &f);
				}
}
