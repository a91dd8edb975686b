/*
 * payable.h
 *		Whether an order may be paid now.
 */
#ifndef PAYGUARD_MONEY_PAYABLE_H
#define PAYGUARD_MONEY_PAYABLE_H

#include "datatype/timestamp.h"

#include "base/refusal.h"
#include "records/order.h"

extern bool payguard_judge_payable(const Order *order, TimestampTz now, Refusal *refusal);
extern bool payguard_judge_payable_briefly(const Order *order, TimestampTz now,
										   Refusal *refusal);

#endif
