/*
 * facts.h
 *		The facts that a report meets.
 */
#ifndef PAYGUARD_EVIDENCE_FACTS_H
#define PAYGUARD_EVIDENCE_FACTS_H

#include "rules/decide.h"
#include "records/channel.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"

extern void payguard_facts_read(const Order *order, const Payment *payment,
								const Channel *channel, const Report *report,
								Facts *facts);
extern Money payguard_compare_money(const Order *order, const Payment *payment,
									const Report *report);
extern Money payguard_compare_with_order(const Order *order, const Report *report);
extern bool payguard_is_in_time(const Order *order, const Report *report);
extern Decision payguard_decide_or_hold(const Order *order, const Report *report,
										Facts *facts);

#endif
