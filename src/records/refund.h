/*
 * refund.h
 *		Refunds on record.
 */
#ifndef PAYGUARD_RECORDS_REFUND_H
#define PAYGUARD_RECORDS_REFUND_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/compat.h"
#include "store/plan.h"
#include "store/table.h"
#include "records/about.h"
#include "records/channel.h"
#include "records/order.h"
#include "records/payment.h"

/* One movement of money back to the customer. */
typedef struct Refund
{
	RowHeader header;
	pg_uuid_t *refund_id;
	pg_uuid_t *payment_id;
	text *order_id;
	text *idempotency_key; /* NULL where nobody asked for it */
	text *channel;
	int64 amount; /* as asked */
	text *currency;
	int64 returned_amount; /* as the channel reported */
	bool amount_verified;
	RefundStatus status;
	text *origin;		 /* request, surplus, channel */
	text *reversal_kind; /* of origin channel: refund, chargeback, bank_return, failed */
	text *reason;
	text *channel_refund_id;
	text *failure_code;
	text *failure_message;
	text *requested_by;
	Jsonb *details;
	TimestampTz created_at;
	TimestampTz completed_at;
	TimestampTz channel_time;	 /* of a reversal, as the channel has it */
	TimestampTz reinstated_time; /* of the reinstatement that undid it */
} Refund;

#define REFUND_COLUMNS(X)                                                                \
	X(REFUND_F_REFUND_ID, Refund, refund_id, FIELD_UUID)                                 \
	X(REFUND_F_PAYMENT_ID, Refund, payment_id, FIELD_UUID)                               \
	X(REFUND_F_ORDER_ID, Refund, order_id, FIELD_TEXT)                                   \
	X(REFUND_F_IDEMPOTENCY_KEY, Refund, idempotency_key, FIELD_TEXT)                     \
	X(REFUND_F_CHANNEL, Refund, channel, FIELD_TEXT)                                     \
	X(REFUND_F_AMOUNT, Refund, amount, FIELD_AMOUNT)                                     \
	X(REFUND_F_CURRENCY, Refund, currency, FIELD_TEXT)                                   \
	X(REFUND_F_RETURNED_AMOUNT, Refund, returned_amount, FIELD_AMOUNT)                   \
	X(REFUND_F_AMOUNT_VERIFIED, Refund, amount_verified, FIELD_BOOL)                     \
	X(REFUND_F_STATUS, Refund, status, FIELD_STATUS,                                     \
	  .machine = &payguard_refund_machine)                                               \
	X(REFUND_F_ORIGIN, Refund, origin, FIELD_TEXT)                                       \
	X(REFUND_F_REVERSAL_KIND, Refund, reversal_kind, FIELD_TEXT)                         \
	X(REFUND_F_REASON, Refund, reason, FIELD_TEXT)                                       \
	X(REFUND_F_CHANNEL_REFUND_ID, Refund, channel_refund_id, FIELD_TEXT)                 \
	X(REFUND_F_FAILURE_CODE, Refund, failure_code, FIELD_TEXT)                           \
	X(REFUND_F_FAILURE_MESSAGE, Refund, failure_message, FIELD_TEXT)                     \
	X(REFUND_F_REQUESTED_BY, Refund, requested_by, FIELD_TEXT)                           \
	X(REFUND_F_DETAILS, Refund, details, FIELD_JSONB)                                    \
	X(REFUND_F_CREATED_AT, Refund, created_at, FIELD_TIME)                               \
	X(REFUND_F_COMPLETED_AT, Refund, completed_at, FIELD_TIME)                           \
	X(REFUND_F_CHANNEL_TIME, Refund, channel_time, FIELD_TIME)                           \
	X(REFUND_F_REINSTATED_TIME, Refund, reinstated_time, FIELD_TIME)

enum
{
	REFUND_COLUMNS(COLUMN_NUMBER) N_REFUND_FIELDS
};

enum
{
	REFUND_BY_ID,
	REFUND_BY_KEY,
	REFUND_BY_CHANNEL_REFUND,
	REFUND_OF_PAYMENT
};

extern About payguard_refund_about(const Refund *refund);
extern void payguard_alert_refund(const char *kind, const char *severity,
								  const Refund *refund, Jsonb *details);
extern const char *payguard_refund_reversal_alert(const Refund *refund);
extern void payguard_refund_change(Refund *refund, RefundStatus to, FieldSet also,
								   Jsonb *details);
extern void payguard_refund_ask_approval(const Refund *refund, bool alert);
extern void payguard_refund_channel(const Refund *refund, Channel *channel);
extern bool payguard_refund_is_reserved(RefundStatus status);
extern bool payguard_refund_is_undone(const Refund *refund);
extern void payguard_refund_check_not_asker(const Refund *refund, const char *detail,
											const char *hint);
extern void payguard_refund_must_exist(const pg_uuid_t *refund_id, Refund *refund);
extern void payguard_refund_lock(const pg_uuid_t *refund_id, Order *order,
								 Payment *payment, Refund *refund);
extern void payguard_refund_must_be_there(const pg_uuid_t *refund_id, Refund *refund);
extern int payguard_refund_list_of(const Payment *payment, Refund **refunds);
extern bool payguard_refund_reread(const pg_uuid_t *refund_id, Refund *refund);
extern bool payguard_refund_refuse_move(const Refund *refund, const char *what,
										const char *hint, Refusal *refusal);
extern const Table payguard_refunds;

#endif
