/*
 * order.h
 *		Orders on record.
 */
#ifndef PAYGUARD_RECORDS_ORDER_H
#define PAYGUARD_RECORDS_ORDER_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/compat.h"
#include "base/refusal.h"
#include "store/plan.h"
#include "store/table.h"

/* Something payable. */
typedef struct Order
{
	RowHeader header;
	text *order_id;
	text *customer_id;
	int64 amount;
	text *currency;
	OrderStatus status;
	OrderStatus closing_as; /* what it becomes when its attempt ends without money */
	int64 version;
	pg_uuid_t *payment_id; /* the one that paid */
	int64 refunded_amount;
	TimestampTz created_at;
	TimestampTz updated_at;
	TimestampTz expires_at;
	pg_uuid_t *returned_payment_id; /* the last one whose money was taken back */
} Order;

#define ORDER_COLUMNS(X)                                                                 \
	X(ORDER_F_ORDER_ID, Order, order_id, FIELD_TEXT)                                     \
	X(ORDER_F_CUSTOMER_ID, Order, customer_id, FIELD_TEXT)                               \
	X(ORDER_F_AMOUNT, Order, amount, FIELD_AMOUNT)                                       \
	X(ORDER_F_CURRENCY, Order, currency, FIELD_TEXT)                                     \
	X(ORDER_F_STATUS, Order, status, FIELD_STATUS, .machine = &payguard_order_machine)   \
	X(ORDER_F_CLOSING_AS, Order, closing_as, FIELD_STATUS,                               \
	  .machine = &payguard_order_machine)                                                \
	X(ORDER_F_VERSION, Order, version, FIELD_ID)                                         \
	X(ORDER_F_PAYMENT_ID, Order, payment_id, FIELD_UUID)                                 \
	X(ORDER_F_REFUNDED_AMOUNT, Order, refunded_amount, FIELD_AMOUNT)                     \
	X(ORDER_F_CREATED_AT, Order, created_at, FIELD_TIME)                                 \
	X(ORDER_F_UPDATED_AT, Order, updated_at, FIELD_TIME)                                 \
	X(ORDER_F_EXPIRES_AT, Order, expires_at, FIELD_TIME)                                 \
	X(ORDER_F_RETURNED_PAYMENT_ID, Order, returned_payment_id, FIELD_UUID)

enum
{
	ORDER_COLUMNS(COLUMN_NUMBER) N_ORDER_FIELDS
};

enum
{
	ORDER_BY_ID
};

/* When an order expires. */
typedef struct Deadline
{
	RowHeader header;
	text *order_id;
	TimestampTz expires_at;
} Deadline;

#define DEADLINE_COLUMNS(X)                                                              \
	X(DEADLINE_F_ORDER_ID, Deadline, order_id, FIELD_TEXT)                               \
	X(DEADLINE_F_EXPIRES_AT, Deadline, expires_at, FIELD_TIME)

enum
{
	DEADLINE_COLUMNS(COLUMN_NUMBER) N_DEADLINE_FIELDS
};

enum
{
	DEADLINE_BY_ORDER
};

extern int payguard_order_compare(const void *a, const void *b);
extern bool payguard_order_find(const text *order_id, Order *order);
extern void payguard_order_must_exist(const text *order_id, Order *order);
extern bool payguard_order_lock(const text *order_id, Order *order);
extern void payguard_order_lock_known(const text *order_id, Order *order);
extern bool payguard_order_lock_found(Order *order);
extern bool payguard_order_lock_free(const text *order_id, Order *order);
extern void payguard_order_change(Order *order, OrderStatus to, FieldSet also,
								  const char *kind, pg_uuid_t *payment_id,
								  Jsonb *details);
extern void payguard_order_touch(Order *order);
extern Jsonb *payguard_order_replaces(const Order *order);
extern void payguard_order_return(Order *order, pg_uuid_t *payment_id, Jsonb *details);
extern void payguard_alert_order(const char *kind, const char *severity,
								 const Order *order, Jsonb *details);
extern bool payguard_order_is_past_deadline(const Order *order, TimestampTz now);
extern bool payguard_refuse_not_found(const text *order_id, Refusal *refusal);
extern void payguard_order_raise_not_found(const text *order_id) pg_attribute_noreturn();
extern bool payguard_judge_version(const Order *order, int64 expected, Refusal *refusal);
extern void payguard_order_check_deadline(TimestampTz expires_at);
extern void payguard_order_set_deadline(const Order *order);
extern void payguard_order_look_at_deadline_again(const Order *order);
extern const RowQuery payguard_due_deadlines;
extern void payguard_order_refuse(const Order *order, const Refusal *refusal)
	pg_attribute_noreturn();
extern const Table payguard_archived_orders;
extern const Table payguard_orders;
extern const Table payguard_deadlines;

#endif
