/*
 * machine.c
 *		The state machines as constant tables, and the one function that allows a move.
 *
 * Nothing else in payguard decides whether a state may follow another. The tables can be read
 * from SQL (payguard.state_transitions()), so that verify(), the model and the documents use
 * these very ones.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "rules/machine.h"

#define TO(status) ((uint32) 1 << (status))

static const char *const order_states[N_ORDER_STATUS] = {
	[ORDER_UNPAID] = "unpaid",		 [ORDER_PAYING] = "paying",
	[ORDER_PAID] = "paid",			 [ORDER_REFUNDED] = "refunded",
	[ORDER_CANCELLED] = "cancelled", [ORDER_EXPIRED] = "expired",
};

static const uint32 order_moves[N_ORDER_STATUS] = {
	[ORDER_NONE] = TO(ORDER_UNPAID),
	[ORDER_UNPAID] =
		TO(ORDER_PAYING) | TO(ORDER_PAID) | TO(ORDER_CANCELLED) | TO(ORDER_EXPIRED),
	[ORDER_PAYING] =
		TO(ORDER_UNPAID) | TO(ORDER_PAID) | TO(ORDER_CANCELLED) | TO(ORDER_EXPIRED),
	/* the channel has taken the money back: it is to be paid again */
	[ORDER_PAID] = TO(ORDER_REFUNDED) | TO(ORDER_UNPAID),
	[ORDER_REFUNDED] = TO(ORDER_PAID) | TO(ORDER_UNPAID),
	[ORDER_CANCELLED] = TO(ORDER_PAID),
	[ORDER_EXPIRED] = TO(ORDER_PAID),
};

static const char *const payment_states[N_PAYMENT_STATUS] = {
	[PAYMENT_PENDING] = "pending",		 [PAYMENT_PROCESSING] = "processing",
	[PAYMENT_AUTHORIZED] = "authorized", [PAYMENT_CAPTURING] = "capturing",
	[PAYMENT_UNKNOWN] = "unknown",		 [PAYMENT_CLOSING] = "closing",
	[PAYMENT_SUPERSEDED] = "superseded", [PAYMENT_FAILED] = "failed",
	[PAYMENT_SUCCEEDED] = "succeeded",	 [PAYMENT_SURPLUS] = "surplus",
	[PAYMENT_RETURNED] = "returned",
};

#define TO_OTHER_THAN_LIVE                                                               \
	(TO(PAYMENT_SUPERSEDED) | TO(PAYMENT_FAILED) | TO(PAYMENT_SUCCEEDED) |               \
	 TO(PAYMENT_SURPLUS))

static const uint32 payment_moves[N_PAYMENT_STATUS] = {
	[PAYMENT_NONE] = TO(PAYMENT_PENDING) | TO(PAYMENT_FAILED) | TO(PAYMENT_SUCCEEDED) |
					 TO(PAYMENT_SURPLUS),
	[PAYMENT_PENDING] = TO(PAYMENT_PROCESSING) | TO(PAYMENT_AUTHORIZED) |
						TO(PAYMENT_UNKNOWN) | TO(PAYMENT_CLOSING) | TO_OTHER_THAN_LIVE,
	[PAYMENT_PROCESSING] = TO(PAYMENT_PENDING) | TO(PAYMENT_AUTHORIZED) |
						   TO(PAYMENT_CLOSING) | TO_OTHER_THAN_LIVE,
	[PAYMENT_AUTHORIZED] =
		TO(PAYMENT_CAPTURING) | TO(PAYMENT_CLOSING) | TO_OTHER_THAN_LIVE,
	/* the channel has not taken it, and holds it still */
	[PAYMENT_CAPTURING] =
		TO(PAYMENT_AUTHORIZED) | TO(PAYMENT_CLOSING) | TO_OTHER_THAN_LIVE,
	[PAYMENT_UNKNOWN] = TO(PAYMENT_PENDING) | TO(PAYMENT_PROCESSING) |
						TO(PAYMENT_AUTHORIZED) | TO(PAYMENT_CLOSING) | TO_OTHER_THAN_LIVE,
	[PAYMENT_CLOSING] = TO_OTHER_THAN_LIVE,
	[PAYMENT_SUPERSEDED] = TO(PAYMENT_FAILED) | TO(PAYMENT_SURPLUS),
	/* the channel goes on with an attempt that it had said to have failed */
	[PAYMENT_FAILED] = TO(PAYMENT_PENDING) | TO(PAYMENT_PROCESSING) |
					   TO(PAYMENT_AUTHORIZED) | TO(PAYMENT_SUCCEEDED) |
					   TO(PAYMENT_SURPLUS),
	/* where only a part was taken back, the rest is too much */
	[PAYMENT_SUCCEEDED] = TO(PAYMENT_RETURNED) | TO(PAYMENT_SURPLUS),
	[PAYMENT_SURPLUS] = TO(PAYMENT_SUCCEEDED) | TO(PAYMENT_FAILED),
	[PAYMENT_RETURNED] = TO(PAYMENT_SUCCEEDED) | TO(PAYMENT_SURPLUS),
};

static const char *const refund_states[N_REFUND_STATUS] = {
	[REFUND_AWAITING_APPROVAL] = "awaiting_approval",
	[REFUND_PENDING] = "pending",
	[REFUND_UNKNOWN] = "unknown",
	[REFUND_SUCCEEDED] = "succeeded",
	[REFUND_FAILED] = "failed",
	[REFUND_WAIVED] = "waived",
	[REFUND_REINSTATED] = "reinstated",
	[REFUND_MERGED] = "merged",
};

static const uint32 refund_moves[N_REFUND_STATUS] = {
	[REFUND_NONE] =
		TO(REFUND_AWAITING_APPROVAL) | TO(REFUND_PENDING) | TO(REFUND_SUCCEEDED),
	/* money that went back without approval, or though it was waived, is evidence */
	[REFUND_AWAITING_APPROVAL] =
		TO(REFUND_PENDING) | TO(REFUND_WAIVED) | TO(REFUND_SUCCEEDED),
	/* what nobody has begun is asked about again when it is not the same any more */
	[REFUND_PENDING] = TO(REFUND_AWAITING_APPROVAL) | TO(REFUND_UNKNOWN) |
					   TO(REFUND_SUCCEEDED) | TO(REFUND_FAILED) | TO(REFUND_WAIVED),
	[REFUND_UNKNOWN] = TO(REFUND_PENDING) | TO(REFUND_SUCCEEDED) | TO(REFUND_FAILED),
	[REFUND_SUCCEEDED] = TO(REFUND_FAILED) | TO(REFUND_REINSTATED) | TO(REFUND_MERGED),
	[REFUND_FAILED] = TO(REFUND_PENDING) | TO(REFUND_SUCCEEDED) | TO(REFUND_WAIVED),
	[REFUND_WAIVED] = TO(REFUND_SUCCEEDED),
	/* it is taken back once more */
	[REFUND_REINSTATED] = TO(REFUND_SUCCEEDED),
};

const Machine payguard_order_machine = {"order", order_states, N_ORDER_STATUS,
										order_moves};
const Machine payguard_payment_machine = {"payment", payment_states, N_PAYMENT_STATUS,
										  payment_moves};
const Machine payguard_refund_machine = {"refund", refund_states, N_REFUND_STATUS,
										 refund_moves};

/*
 * payguard_machine_allows tells whether `to` may follow `from`. A status outside of the
 * machine is an internal error, never a default.
 */
bool
payguard_machine_allows(const Machine *machine, int from, int to)
{
	if (from < 0 || from >= machine->nstates || to <= 0 || to >= machine->nstates)
		elog(ERROR, "payguard: %d to %d is no move of the %s machine", from, to,
			 machine->name);
	return (machine->moves[from] & TO(to)) != 0;
}

/*
 * payguard_machine_move returns `to` where it may follow `from`. Requests and evidence are
 * judged before they get here, so an illegal move is a defect of payguard.
 */
int
payguard_machine_move(const Machine *machine, int from, int to)
{
	if (!payguard_machine_allows(machine, from, to))
		elog(ERROR, "payguard: %s cannot go from \"%s\" to \"%s\"", machine->name,
			 from ? machine->states[from] : "nothing", machine->states[to]);
	return to;
}

/*
 * payguard_machine_name returns the stored name of a status.
 */
const char *
payguard_machine_name(const Machine *machine, int status)
{
	if (status <= 0 || status >= machine->nstates)
		elog(ERROR, "payguard: %d is no status of the %s machine", status, machine->name);
	return machine->states[status];
}

/*
 * payguard_machine_status returns the status with a stored name. An unknown name means that
 * somebody has written to the table by other ways than ours: error XX001.
 */
int
payguard_machine_status(const Machine *machine, const char *name, int length)
{
	for (int status = 1; status < machine->nstates; status++)
	{
		const char *known = machine->states[status];

		if (strncmp(known, name, length) == 0 && known[length] == '\0')
			return status;
	}
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("unknown %s status \"%.*s\"", machine->name, length, name),
					errhint("Run payguard.verify().")));
}

/*
 * payguard_payment_is_live tells whether a payment may still bring the order's money.
 */
bool
payguard_payment_is_live(PaymentStatus status)
{
	switch (status)
	{
		case PAYMENT_PENDING:
		case PAYMENT_PROCESSING:
		case PAYMENT_AUTHORIZED:
		case PAYMENT_CAPTURING:
		case PAYMENT_UNKNOWN:
		case PAYMENT_CLOSING:
			return true;
		case PAYMENT_SUPERSEDED:
		case PAYMENT_FAILED:
		case PAYMENT_SUCCEEDED:
		case PAYMENT_SURPLUS:
		case PAYMENT_RETURNED:
			return false;
		case PAYMENT_NONE:
		case N_PAYMENT_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no status of a payment", (int) status);
}

/*
 * payguard_payment_is_open tells whether a payment waits for its channel: it is live, or another one
 * paid the order and it is being closed.
 */
bool
payguard_payment_is_open(PaymentStatus status)
{
	return payguard_payment_is_live(status) || status == PAYMENT_SUPERSEDED;
}

/*
 * payguard_payment_holds_order tells whether the customer has done all that he can do to pay: as long as the
 * channel has it so, the order's deadline does not matter.
 */
bool
payguard_payment_holds_order(PaymentStatus status)
{
	return status == PAYMENT_PROCESSING || status == PAYMENT_AUTHORIZED ||
		   status == PAYMENT_CAPTURING;
}

PG_FUNCTION_INFO_V1(payguard_state_transitions);

/*
 * state_transitions() → SETOF (machine, from_status, to_status): the tables above.
 * from_status is NULL where to_status can be a row's first state.
 */
Datum
payguard_state_transitions(PG_FUNCTION_ARGS)
{
	static const Machine *const machines[] = {
		&payguard_order_machine, &payguard_payment_machine, &payguard_refund_machine};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (size_t i = 0; i < lengthof(machines); i++)
		for (int from = 0; from < machines[i]->nstates; from++)
			for (int to = 1; to < machines[i]->nstates; to++)
				if (payguard_machine_allows(machines[i], from, to))
				{
					Datum values[3] = {CStringGetTextDatum(machines[i]->name), 0,
									   CStringGetTextDatum(machines[i]->states[to])};
					bool nulls[3] = {false, from == 0, false};

					if (from != 0)
						values[1] = CStringGetTextDatum(machines[i]->states[from]);
					tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
										 nulls);
				}
	return (Datum) 0;
}
