/*
 * returned.h
 *		Money that went back.
 */
#ifndef PAYGUARD_EVIDENCE_RETURNED_H
#define PAYGUARD_EVIDENCE_RETURNED_H

#include "records/balance.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"

extern void payguard_refund_report(Order *order, const Report *report, Refund *refund,
								   Applied *applied);
extern void payguard_returned_uncount(Order *order, const Payment *payment,
									  const Refund *refund, RefundBalance *balance);
extern void payguard_returned_contradict(const Refund *refund, const Report *report,
										 const char *alert, const char *why,
										 Applied *applied);

#endif
