/*
 * reversal.h
 *		Money that a channel gave back on its own.
 */
#ifndef PAYGUARD_EVIDENCE_REVERSAL_H
#define PAYGUARD_EVIDENCE_REVERSAL_H

#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"

extern bool payguard_refund_find_reversed(text *channel, text *txn_id, Payment *payment);
extern void payguard_refund_reverse(Order *order, const Payment *payment,
									const Report *report, Refund *refund,
									Applied *applied);

#endif
