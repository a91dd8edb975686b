/*
 * refund.c
 *		Refunds on record: found, locked, changed.
 *
 * A refund is locked behind its order. payguard_refund_change() is the one place where it changes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/alert.h"
#include "records/approval.h"
#include "records/assert.h"
#include "records/event.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"

static const RowQuery of_payment = {"payment_id " OP_EQ " $1", {UUIDOID, InvalidOid}};

static const Field refund_fields[] = {REFUND_COLUMNS(COLUMN_FIELD)};

static const Key refund_keys[] = {
	[REFUND_BY_ID] = {.fields = {REFUND_F_REFUND_ID, -1},
					  .index = "pkey",
					  .archived = true},
	[REFUND_BY_KEY] = {.fields = {REFUND_F_IDEMPOTENCY_KEY, -1},
					   .index = "idempotency_key",
					   .partial = true,
					   .archived = true},
	[REFUND_BY_CHANNEL_REFUND] = {.fields = {REFUND_F_CHANNEL, REFUND_F_CHANNEL_REFUND_ID,
											 -1},
								  .index = "channel_refund",
								  .partial = true,
								  .archived = true},
	[REFUND_OF_PAYMENT] = {.fields = {REFUND_F_PAYMENT_ID, -1},
						   .index = "payment_id",
						   .shared = true},
};
static const Table archived_refunds =
	TABLE("archived_refunds", Refund, refund_fields, refund_keys);
const Table payguard_refunds =
	ARCHIVED_TABLE("refunds", Refund, refund_fields, refund_keys, archived_refunds);

static void follow_approval(const Refund *refund, RefundStatus from, bool other_amount);

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
 * payguard_refund_reversal_alert names the alert of a reversal: its kind, but for a payment that failed after it had
 * succeeded, whose money the bank took back. What the shop itself has given back has none.
 */
const char *
payguard_refund_reversal_alert(const Refund *refund)
{
	return payguard_text_is(refund->reversal_kind, "chargeback") ? "chargeback"
																 : "bank_return";
}

/*
 * payguard_refund_change is the one place where a refund changes: its state and its event together.
 */
void
payguard_refund_change(Refund *refund, RefundStatus to, FieldSet also, Jsonb *details)
{
	RefundStatus from = refund->status;
	const char *name = payguard_machine_name(&payguard_refund_machine, to);

	Assert(payguard_order_is_locked(refund->order_id));
	Assert((also & (FIELD(REFUND_F_REFUND_ID) | FIELD(REFUND_F_PAYMENT_ID) |
					FIELD(REFUND_F_ORDER_ID) | FIELD(REFUND_F_STATUS))) == 0);
	Assert((to == REFUND_AWAITING_APPROVAL || to == REFUND_PENDING ||
			to == REFUND_UNKNOWN) == (refund->completed_at == NO_TIME));
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
 * follow_approval follows a change of a refund: it waits for approval from now on; or what an approval was asked for
 * has changed; or it no longer waits, though nobody has decided.
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
		payguard_refund_ask_approval(refund, true);
}

/*
 * payguard_refund_ask_approval opens the approval of a refund that awaits it. alert: nothing else
 * tells an operator of it.
 */
void
payguard_refund_ask_approval(const Refund *refund, bool alert)
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
 * payguard_refund_is_reserved tells whether a refund's amount is counted as being refunded.
 */
bool
payguard_refund_is_reserved(RefundStatus status)
{
	return status == REFUND_AWAITING_APPROVAL || status == REFUND_PENDING ||
		   status == REFUND_UNKNOWN;
}

/*
 * payguard_refund_channel reads the channel by which a refund's money goes back: channels are not removed.
 */
void
payguard_refund_channel(const Refund *refund, Channel *channel)
{
	if (!payguard_channel_find(refund->channel, channel))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("channel \"%s\" of a refund does not exist",
							   payguard_str(refund->channel)),
						errhint("Run payguard.verify().")));
}

/*
 * payguard_refund_is_undone tells whether a refund's money is here again, and nobody is owed it: the channel has
 * undone what it gave back on its own, or it was another name of a refund of ours.
 */
bool
payguard_refund_is_undone(const Refund *refund)
{
	return refund->status == REFUND_REINSTATED || refund->status == REFUND_MERGED ||
		   (refund->status == REFUND_FAILED &&
			payguard_text_is(refund->origin, "channel"));
}

/*
 * payguard_refund_check_not_asker refuses the person who has asked for a refund: that is not the second person. Errors:
 * PY602.
 */
void
payguard_refund_check_not_asker(const Refund *refund, const char *detail,
								const char *hint)
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

/*
 * payguard_refund_must_exist reads a refund. Errors: PY403.
 */
void
payguard_refund_must_exist(const pg_uuid_t *refund_id, Refund *refund)
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
 * payguard_refund_lock locks the order of a refund that was found, and reads all three anew.
 */
void
payguard_refund_lock(const pg_uuid_t *refund_id, Order *order, Payment *payment,
					 Refund *refund)
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
 * payguard_refund_list_of lists the refunds of a payment, as the call's snapshot shows them.
 */
int
payguard_refund_list_of(const Payment *payment, Refund **refunds)
{
	Refund like = {.payment_id = payment->payment_id};
	Datum id = UUIDPGetDatum(payment->payment_id);

	if (!payguard_store_may_have(&payguard_refunds, REFUND_OF_PAYMENT, &like))
		return 0;
	return payguard_store_list(&payguard_refunds, &of_payment, &id, (void **) refunds);
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

/*
 * payguard_refund_refuse_move refuses with PY105: a refund's state does not allow it. what: a participle. It returns
 * false.
 */
bool
payguard_refund_refuse_move(const Refund *refund, const char *what, const char *hint,
							Refusal *refusal)
{
	return payguard_refuse(
		refusal, ERR_ILLEGAL_TRANSITION,
		psprintf("refund \"%s\" cannot be %s", payguard_uuid_str(refund->refund_id),
				 what),
		psprintf("It is %s.",
				 payguard_machine_name(&payguard_refund_machine, refund->status)),
		hint);
}
