/*
 * judge.h
 *		Whether what an operator may do would be refused as things stand: the judges of the requests themselves, which
 *		payguard.cases asks, too.
 *
 * A judge reads rows as its request does. Under the order's lock that decides; under payguard_store_look() it
 * foretells. Those of refunds of the rest, of second names and of findings only foretell: what their requests refuse, and
 * some of what they do not.
 */
#ifndef PAYGUARD_REQUESTS_JUDGE_H
#define PAYGUARD_REQUESTS_JUDGE_H

#include "base/refusal.h"
#include "records/alert.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"

extern bool payguard_judge_update(const Order *order, int64 expected_version,
								  const text *customer_id, Refusal *refusal);
extern bool payguard_judge_capture(const Order *order, const Payment *payment,
								   Refusal *refusal);
extern bool payguard_judge_close(const Payment *payment, Refusal *refusal);
extern bool payguard_judge_reopen(const Order *order, Payment *payment, Refusal *refusal);
extern bool payguard_judge_decide_order(const Order *order, Refusal *refusal);
extern bool payguard_judge_reject_order(const Order *order, Refusal *refusal);
extern bool payguard_judge_accept_surplus(const Order *order, const Payment *payment,
										  bool as_whole_price, Refusal *refusal);
extern bool payguard_judge_dismiss_surplus(const Payment *payment, const Payment *same,
										   Refusal *refusal);
extern bool payguard_judge_refund(const Order *order, const Payment *payment,
								  Refusal *refusal);
extern bool payguard_judge_decide_refund(const Refund *refund, bool approve,
										 Refusal *refusal);
extern bool payguard_judge_retry(const Payment *payment, const Refund *refund,
								 Refusal *refusal);
extern bool payguard_judge_waive(const Refund *refund, Refusal *refusal);
extern bool payguard_judge_finding(int64 alert_id, const char *action, Refusal *refusal);

#endif
