/*
 * apply.h
 *		Evidence applied to a payment.
 */
#ifndef PAYGUARD_EVIDENCE_APPLY_H
#define PAYGUARD_EVIDENCE_APPLY_H

#include "records/channel.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"

/* What the caller of payguard_evidence_answer() has looked up before, for many answers. */
typedef struct Known
{
	const Channel *channel; /* of the payment */
	bool
		only_task; /* the payment has no open task but the answered one, which the caller ends */
	bool new_txn; /* no payment has the report's transaction */
} Known;

extern void payguard_evidence_apply(Order *order, Payment *payment, const Report *report,
									Applied *applied);
extern void payguard_evidence_answer(Order *order, Payment *payment,
									 const Report *reported, const Known *known,
									 Applied *applied);
extern void payguard_record_apply(Order *order, const Channel *channel,
								  const Report *report, Payment *payment,
								  Applied *applied);
extern void payguard_evidence_fill_in(Order *order, Payment *payment,
									  const Report *report, Applied *applied);

#endif
