/*
 * close_order.h
 *		Orders and attempts that end without money.
 */
#ifndef PAYGUARD_REQUESTS_CLOSE_ORDER_H
#define PAYGUARD_REQUESTS_CLOSE_ORDER_H

#include "records/order.h"
#include "records/payment.h"

extern void payguard_payment_close(Order *order, Payment *payment);

#endif
