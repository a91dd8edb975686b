/*
 * create_order.h
 *		Orders made and updated.
 */
#ifndef PAYGUARD_REQUESTS_CREATE_ORDER_H
#define PAYGUARD_REQUESTS_CREATE_ORDER_H

#include "records/order.h"

extern void payguard_approval_renew(const Order *order);

#endif
