/*
 * message.h
 *		Messages from channels, applied when their payment is known.
 */
#ifndef PAYGUARD_EVIDENCE_MESSAGE_H
#define PAYGUARD_EVIDENCE_MESSAGE_H

#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"

extern void payguard_notification_match(Order *order, Payment *payment,
										const Applied *applied);

#endif
