/*
 * approval.c
 *		Second opinions: who may be asked to decide, about which amount, and what was decided.
 *
 * An approval is bound to a currency and an amount, or less. One counts for each order, refund or finding; a change makes it
 * void and, where a policy asks, a new one is opened. The person who asked cannot decide.
 *
 * Locking: the order's row lock covers its approvals and those of its refunds. A call that pays locks the approval that
 * allows it, too, so that a transaction with an older snapshot cannot pay on a decision that was taken back.
 */
#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/alert.h"
#include "records/approval.h"
#include "records/event.h"

static const Field approval_fields[] = {APPROVAL_COLUMNS(COLUMN_FIELD)};

static const Key approval_keys[] = {
	[APPROVAL_BY_ID] = {.fields = {APPROVAL_F_APPROVAL_ID, -1}, .index = "pkey"},
	[APPROVAL_OF_ORDER] = {.fields = {APPROVAL_F_ORDER_ID, -1},
						   .index = "of_order",
						   .partial = true},
	[APPROVAL_OF_REFUND] = {.fields = {APPROVAL_F_REFUND_ID, -1},
							.index = "of_refund",
							.partial = true},
	[APPROVAL_OF_FINDING] = {.fields = {APPROVAL_F_ALERT_ID, -1},
							 .index = "of_finding",
							 .partial = true},
};
const Table payguard_approvals =
	TABLE("approvals", Approval, approval_fields, approval_keys);

static bool find(int key, bool lock, const Approval *like, Approval *approval);
static int key_of(const Approval *approval);
static void write_event(const char *what, const Approval *approval, const char *from,
						const char *to);
static const char *cause_of(const Approval *approval);

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
 * key_of returns the key by which the approval of an order, a refund or a finding is found.
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
	payguard_alert_resolve(
		"approval_required", payguard_text(cause_of(&approval)),
		payguard_text("It is not needed any more, or it was asked for anew."));
}

/*
 * payguard_approval_decide decides an approval that is locked; false: it was decided so before, and nothing has been
 * written. Errors: PY602 where the person who asked decides; PY105 where it was rejected before.
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
			"The person who asked cannot decide. Nothing has been written.",
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
