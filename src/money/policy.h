/*
 * policy.h
 *		Policies: what payments and refunds of an amount need.
 */
#ifndef PAYGUARD_MONEY_POLICY_H
#define PAYGUARD_MONEY_POLICY_H

#include "datatype/timestamp.h"

#include "base/refusal.h"
#include "store/table.h"
#include "records/order.h"

/* What orders and refunds of a currency need from an amount on. */
typedef struct Policy
{
	RowHeader header;
	text *currency;
	int64 min_amount;
	bool approve_payment;
	bool approve_refund;
	bool require_version;
	Interval *duplicate_window; /* NULL: it does not look for duplicates */
	text *on_duplicate;
	TimestampTz updated_at;
} Policy;

#define POLICY_COLUMNS(X)                                                                \
	X(POLICY_F_CURRENCY, Policy, currency, FIELD_TEXT)                                   \
	X(POLICY_F_MIN_AMOUNT, Policy, min_amount, FIELD_AMOUNT)                             \
	X(POLICY_F_APPROVE_PAYMENT, Policy, approve_payment, FIELD_BOOL)                     \
	X(POLICY_F_APPROVE_REFUND, Policy, approve_refund, FIELD_BOOL)                       \
	X(POLICY_F_REQUIRE_VERSION, Policy, require_version, FIELD_BOOL)                     \
	X(POLICY_F_DUPLICATE_WINDOW, Policy, duplicate_window, FIELD_INTERVAL)               \
	X(POLICY_F_ON_DUPLICATE, Policy, on_duplicate, FIELD_TEXT)                           \
	X(POLICY_F_UPDATED_AT, Policy, updated_at, FIELD_TIME)

enum
{
	POLICY_COLUMNS(COLUMN_NUMBER) N_POLICY_FIELDS
};

enum
{
	POLICY_OF_AMOUNT
};

/* What to do about a suspected duplicate, in the order in which it is looked for. */
typedef enum OnDuplicate
{
	DUPLICATE_REFUSE,
	DUPLICATE_HOLD,
	DUPLICATE_FLAG,
	N_ON_DUPLICATE
} OnDuplicate;

/* What all policies together ask for an amount. */
typedef struct Asked
{
	bool approve_payment;
	bool approve_refund;
	bool require_version;
	TimestampTz
		since[N_ON_DUPLICATE]; /* duplicates count from then on; NO_TIME: they do not */
} Asked;

/* Where payments of one customer wait for each other. */
typedef struct Customer
{
	RowHeader header;
	text *customer_id;
	text *order_id;
	TimestampTz paid_at;
} Customer;

#define CUSTOMER_COLUMNS(X)                                                              \
	X(CUSTOMER_F_CUSTOMER_ID, Customer, customer_id, FIELD_TEXT)                         \
	X(CUSTOMER_F_ORDER_ID, Customer, order_id, FIELD_TEXT)                               \
	X(CUSTOMER_F_PAID_AT, Customer, paid_at, FIELD_TIME)

enum
{
	CUSTOMER_COLUMNS(COLUMN_NUMBER) N_CUSTOMER_FIELDS
};

enum
{
	CUSTOMER_BY_ID
};

extern const char *const payguard_on_duplicate_names[N_ON_DUPLICATE];
extern bool payguard_policy_asks(const text *currency, int64 amount, Asked *asked);
extern bool payguard_policy_looks_for_duplicates(const Order *order);
extern bool payguard_policy_judge(const Order *order, int64 expected_version, bool locked,
								  text **duplicate, Refusal *refusal);
extern bool payguard_policy_wants_approval(const Order *order, text **duplicate_of);
extern bool payguard_policy_holds(const Order *order, bool locked);
extern void payguard_policy_lock_customer(text *customer_id, const text *order_id);
extern void payguard_policy_note_customer(const Order *order);
extern OnDuplicate payguard_policy_on_duplicate(const text *name);
extern const Table payguard_policies;
extern const Table payguard_customers;

#endif
