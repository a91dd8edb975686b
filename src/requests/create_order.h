/*
 * create_order.h
 *		Orders made and updated, and what is asked about them.
 */
#ifndef PAYGUARD_REQUESTS_CREATE_ORDER_H
#define PAYGUARD_REQUESTS_CREATE_ORDER_H

#include "records/order.h"

extern void payguard_order_lower(Order *order, int64 amount, text *note);
extern void payguard_order_ask_approval(const Order *order, text *note,
										const text *duplicate_of);

#endif
