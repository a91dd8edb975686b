/*
 * here.h
 *		Money that had gone back and is here again.
 */
#ifndef PAYGUARD_EVIDENCE_HERE_H
#define PAYGUARD_EVIDENCE_HERE_H

#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"

extern void payguard_money_is_here(Order *order, Payment *payment, const Report *report);
extern int64 payguard_money_here(const Payment *payment);

#endif
