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
extern void payguard_reversal_of_failed(Order *order, Payment *payment,
										const Report *report, Applied *applied);
extern void payguard_refund_reverse(Order *order, Payment *payment, const Report *report,
									Refund *refund, Applied *applied);

#endif
