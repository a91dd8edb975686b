/*
 * payable.h
 *		Whether an order may be paid now.
 */
#ifndef PAYGUARD_MONEY_PAYABLE_H
#define PAYGUARD_MONEY_PAYABLE_H

#include "datatype/timestamp.h"

#include "base/refusal.h"
#include "records/order.h"

/* What an order is to be payable for. */
typedef enum Purpose
{
	PAYABLE_TO_PAY,	   /* a customer pays */
	PAYABLE_TO_CHANGE, /* update_order() */
	PAYABLE_TO_CANCEL, /* cancel_order() */
	PAYABLE_TO_ACCEPT, /* accept_surplus() */
	PAYABLE_TO_DECIDE  /* approve_order(), reject_order(), request_approval() */
} Purpose;

extern bool payguard_judge_payable_to(Purpose purpose, const Order *order,
									  TimestampTz now, Refusal *refusal);
extern bool payguard_judge_payable(const Order *order, TimestampTz now, Refusal *refusal);
extern bool payguard_judge_payable_briefly(const Order *order, TimestampTz now,
										   Refusal *refusal);

#endif
