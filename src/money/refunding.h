/*
 * refunding.h
 *		Refunds: made, counted, held back.
 */
#ifndef PAYGUARD_MONEY_REFUNDING_H
#define PAYGUARD_MONEY_REFUNDING_H

#include "utils/jsonb.h"

#include "records/balance.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"

/* A request to refund, as the caller made it. */
typedef struct RefundCall
{
	text *key;
	int64 amount; /* NO_AMOUNT: the rest */
	text *reason;
	Jsonb *details;
	text *channel; /* NULL: the payment's own */
} RefundCall;

extern bool payguard_refund_has_begun(const Refund *refund);
extern bool payguard_refund_replay(const RefundCall *call, const Payment *payment,
								   const text *order_id, Refund *refund);
extern void payguard_refund_insert(Order *order, const Payment *payment, Refund *refund);
extern bool payguard_refund_needs_approval(const Payment *payment, const Refund *refund);
extern bool payguard_refund_policy_asks(const Refund *refund, int64 going_back);
extern void payguard_refund_count_returned(Order *order, const Payment *payment,
										   const Refund *refund, RefundBalance *balance,
										   int64 amount);
extern void payguard_refund_hold_unbegun(const Payment *payment);
extern bool payguard_refund_counts_for_order(const Order *order, const Payment *payment,
											 const Refund *refund);
extern int64 payguard_refund_paid_amount(const Order *order, const Payment *payment);
extern void payguard_refund_change_order(Order *order, const Payment *payment,
										 int64 refunded);
extern void payguard_refund_schedule(const Refund *refund, const char *kind);
extern void payguard_refund_end_tasks(const Refund *refund);
extern void payguard_refund_waive(const Payment *payment, Refund *refund, text *note);

#endif
