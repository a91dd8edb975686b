/*
 * reinstatement.h
 *		Money that a channel gave the shop again.
 */
#ifndef PAYGUARD_EVIDENCE_REINSTATEMENT_H
#define PAYGUARD_EVIDENCE_REINSTATEMENT_H

#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"

extern void payguard_reinstate(Order *order, Payment *payment, const Report *report,
							   Refund *refund, Applied *applied);

#endif
