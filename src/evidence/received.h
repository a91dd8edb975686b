/*
 * received.h
 *		Money that came.
 */
#ifndef PAYGUARD_EVIDENCE_RECEIVED_H
#define PAYGUARD_EVIDENCE_RECEIVED_H

#include "utils/jsonb.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "store/table.h"
#include "records/channel.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"

extern void payguard_received_close_again(const Payment *payment, const Channel *channel);
extern void payguard_received_supersede_other(Order *order);
extern void payguard_received_become(Order *order, const Payment *payment,
									 OrderStatus to);
extern FieldSet payguard_received_take(Payment *payment, const Report *report);
extern FieldSet payguard_received_note_failure(Payment *payment, const Report *report);
extern FieldSet payguard_received_authorize(Payment *payment, const Report *report);
extern void payguard_received_follow_capture(Order *order, const Payment *payment,
											 PaymentStatus was, const Decision *decision,
											 FieldSet changed);
extern FieldSet payguard_received_revive(Payment *payment);
extern FieldSet payguard_received_note_txn(Payment *payment, const Report *report);
extern bool payguard_received_insert(const Order *order, const text *channel,
									 const Report *report, PaymentStatus status,
									 Jsonb *details, Payment *payment);
extern void payguard_received_return(Order *order, Payment *payment, Jsonb *details);
extern void payguard_received_alert(const Payment *payment, const char *alert,
									Jsonb *details);
extern void payguard_received_give_back(Order *order, const Payment *payment,
										const Channel *channel, const Report *report,
										const Decision *decision);

#endif
