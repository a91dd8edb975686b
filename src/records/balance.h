/*
 * balance.h
 *		What a payment's refunds add up to.
 */
#ifndef PAYGUARD_RECORDS_BALANCE_H
#define PAYGUARD_RECORDS_BALANCE_H

#include "utils/uuid.h"

#include "store/table.h"
#include "records/payment.h"

/* The refunds of one payment added up, in the minor unit of what was received. */
typedef struct RefundBalance
{
	RowHeader header;
	pg_uuid_t *payment_id;
	int64 received;
	int64 refunding;
	int64 refunded;
	int64 excess;
} RefundBalance;

#define BALANCE_COLUMNS(X)                                                               \
	X(BALANCE_F_PAYMENT_ID, RefundBalance, payment_id, FIELD_UUID)                       \
	X(BALANCE_F_RECEIVED, RefundBalance, received, FIELD_AMOUNT)                         \
	X(BALANCE_F_REFUNDING, RefundBalance, refunding, FIELD_AMOUNT)                       \
	X(BALANCE_F_REFUNDED, RefundBalance, refunded, FIELD_AMOUNT)                         \
	X(BALANCE_F_EXCESS, RefundBalance, excess, FIELD_AMOUNT)

enum
{
	BALANCE_COLUMNS(COLUMN_NUMBER) N_BALANCE_FIELDS
};

enum
{
	BALANCE_BY_PAYMENT
};

extern void payguard_balance_must_not_exist(const RefundBalance *balance);
extern void payguard_balance_lock(const Payment *payment, RefundBalance *balance);
extern void payguard_balance_store(const Payment *payment, RefundBalance *balance);
extern int64 payguard_balance_add(int64 a, int64 b);
extern const Table payguard_refund_balances;

#endif
