/*
 * pay_round.h
 *		A round of calls that pay.
 */
#ifndef PAYGUARD_REQUESTS_PAY_ROUND_H
#define PAYGUARD_REQUESTS_PAY_ROUND_H

#include "requests/pay_judge.h"

extern void payguard_pay(PayCall *calls, int n);
extern void payguard_pay_link(PayCall *calls, int n);
extern void payguard_pay_fill(PayCall *call);

#endif
