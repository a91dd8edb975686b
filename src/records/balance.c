/*
 * balance.c
 *		Refund balances on record: what a payment's refunds add up to.
 *
 * A payment gets its row with its first refund. What was received may be corrected later; received never
 * falls below what is on its way back or has gone back, and what went back beyond it is excess.
 *
 * Locking: behind the order's row lock; every refund of the payment locks the row.
 */
#include "postgres.h"

#include "common/int.h"

#include "store/open.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/balance.h"
#include "records/payment.h"

static const Field balance_fields[] = {BALANCE_COLUMNS(COLUMN_FIELD)};

static const Key balance_keys[] = {
	[BALANCE_BY_PAYMENT] = {.fields = {BALANCE_F_PAYMENT_ID, -1}, .index = "pkey"},
};
const Table payguard_refund_balances =
	TABLE("refund_balances", RefundBalance, balance_fields, balance_keys);

static void fit_received(const Payment *payment, RefundBalance *balance);

/*
 * payguard_balance_must_not_exist raises 40001 where a payment has a balance that this transaction's
 * snapshot does not see: only another row of its key meets it.
 */
void
payguard_balance_must_not_exist(const RefundBalance *balance)
{
	if (payguard_store_insert_new(&payguard_refund_balances, BALANCE_BY_PAYMENT, balance))
		payguard_store_delete(&payguard_refund_balances, balance);
}

/*
 * payguard_balance_lock locks a payment's balance, and makes it with the first refund. What was received
 * may have been corrected since, but not below what is on its way back.
 */
void
payguard_balance_lock(const Payment *payment, RefundBalance *balance)
{
	*balance = (RefundBalance){
		.payment_id = payment->payment_id,
		.received = Max(payment->received_amount, 0),
	};
	if (payguard_store_only_looks())
		payguard_store_find(&payguard_refund_balances, BALANCE_BY_PAYMENT, balance,
							balance);
	else if (!payguard_store_insert_new(&payguard_refund_balances, BALANCE_BY_PAYMENT,
										balance) &&
			 !payguard_store_lock(&payguard_refund_balances, BALANCE_BY_PAYMENT, balance,
								  balance))
		payguard_store_suppressed(&payguard_refund_balances);
	fit_received(payment, balance);
}

/*
 * payguard_balance_store writes a balance that is locked. Where the payment brought more than was known,
 * what had gone back in excess fits now.
 */
void
payguard_balance_store(const Payment *payment, RefundBalance *balance)
{
	fit_received(payment, balance);
	/* as the table's CHECK has it, in a way that does not overflow */
	Assert(balance->refunding >= 0 && balance->refunded >= 0 && balance->excess >= 0);
	Assert(balance->received - balance->refunding >= balance->refunded);
	payguard_store_update(&payguard_refund_balances,
						  FIELD(BALANCE_F_RECEIVED) | FIELD(BALANCE_F_REFUNDING) |
							  FIELD(BALANCE_F_REFUNDED) | FIELD(BALANCE_F_EXCESS),
						  balance);
}

/*
 * fit_received follows a correction of what was received: what is on its way back cannot be taken
 * off again (the alert tells the operator). What went back beyond the rest counts as refunded as
 * soon as there is room for it: what is back cannot be refunded once more.
 */
static void
fit_received(const Payment *payment, RefundBalance *balance)
{
	int64 fits;

	balance->received =
		Max(payment->received_amount, balance->refunding + balance->refunded);
	fits =
		Min(balance->excess, balance->received - balance->refunding - balance->refunded);
	balance->refunded += fits;
	balance->excess -= fits;
}

/*
 * payguard_balance_add adds amounts. Evidence is never refused, so absurd ones stop at the largest number.
 */
int64
payguard_balance_add(int64 a, int64 b)
{
	int64 sum;

	return pg_add_s64_overflow(a, b, &sum) ? PG_INT64_MAX : sum;
}
