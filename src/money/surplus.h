/*
 * surplus.h
 *		Money that is too much.
 */
#ifndef PAYGUARD_MONEY_SURPLUS_H
#define PAYGUARD_MONEY_SURPLUS_H

#include "rules/machine.h"
#include "records/order.h"
#include "records/payment.h"

extern int64 payguard_refund_excess(const Order *order, const Payment *payment);
extern void payguard_refund_surplus(Order *order, const Payment *payment,
									RefundStatus status);
extern void payguard_refund_what_is_here(Order *order, const Payment *payment);
extern void payguard_refund_correct_received(Order *order, const Payment *payment);
extern void payguard_refund_waive_rest(const Payment *payment, text *note);
extern bool payguard_refund_takes_rest(const Payment *payment, int64 amount,
									   const text *currency);
extern void payguard_refund_settle(const Payment *payment);
extern bool payguard_refund_waive_unbegun(const Payment *payment, const text *note);
extern bool payguard_refund_one_has_begun(const Payment *payment);
extern bool payguard_refund_may_keep_excess(const Order *order, const Payment *payment);
extern bool payguard_refund_keep_excess(Order *order, const Payment *payment,
										const text *note);
extern void payguard_refund_rest(Order *order, const Payment *payment, text *key,
								 text *reason);

#endif
