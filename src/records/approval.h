/*
 * approval.h
 *		Approvals on record: second opinions that were asked for.
 */
#ifndef PAYGUARD_RECORDS_APPROVAL_H
#define PAYGUARD_RECORDS_APPROVAL_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "store/table.h"

/* A second opinion that was asked for. */
typedef struct Approval
{
	RowHeader header;
	int64 approval_id;
	text *subject; /* order, refund, finding */
	text *order_id;
	pg_uuid_t *refund_id;
	int64 alert_id;
	int64 amount;
	text *currency;
	text *status; /* open, approved, rejected, void */
	text *requested_by;
	TimestampTz requested_at;
	text *decided_by;
	TimestampTz decided_at;
	text *note;
} Approval;

#define APPROVAL_COLUMNS(X)                                                              \
	X(APPROVAL_F_APPROVAL_ID, Approval, approval_id, FIELD_ID,                           \
	  .sequence = "approvals_approval_id_seq")                                           \
	X(APPROVAL_F_SUBJECT, Approval, subject, FIELD_TEXT)                                 \
	X(APPROVAL_F_ORDER_ID, Approval, order_id, FIELD_TEXT)                               \
	X(APPROVAL_F_REFUND_ID, Approval, refund_id, FIELD_UUID)                             \
	X(APPROVAL_F_ALERT_ID, Approval, alert_id, FIELD_ID)                                 \
	X(APPROVAL_F_AMOUNT, Approval, amount, FIELD_AMOUNT)                                 \
	X(APPROVAL_F_CURRENCY, Approval, currency, FIELD_TEXT)                               \
	X(APPROVAL_F_STATUS, Approval, status, FIELD_TEXT)                                   \
	X(APPROVAL_F_REQUESTED_BY, Approval, requested_by, FIELD_TEXT)                       \
	X(APPROVAL_F_REQUESTED_AT, Approval, requested_at, FIELD_TIME)                       \
	X(APPROVAL_F_DECIDED_BY, Approval, decided_by, FIELD_TEXT)                           \
	X(APPROVAL_F_DECIDED_AT, Approval, decided_at, FIELD_TIME)                           \
	X(APPROVAL_F_NOTE, Approval, note, FIELD_TEXT)

enum
{
	APPROVAL_COLUMNS(COLUMN_NUMBER) N_APPROVAL_FIELDS
};

enum
{
	APPROVAL_BY_ID,
	APPROVAL_OF_ORDER,
	APPROVAL_OF_REFUND,
	APPROVAL_OF_FINDING
};

extern bool payguard_approval_of_order(const text *order_id, bool lock,
									   Approval *approval);
extern bool payguard_approval_of_refund(const pg_uuid_t *refund_id, Approval *approval);
extern bool payguard_approval_of_finding(int64 alert_id, Approval *approval);
extern void payguard_approval_ask(const Approval *asked);
extern void payguard_approval_end(const text *order_id, const pg_uuid_t *refund_id,
								  int64 alert_id);
extern bool payguard_approval_decide(Approval *approval, bool approve, text *note);
extern const Table payguard_approvals;

#endif
