/*
 * retry.h
 *		Tasks that are done again.
 */
#ifndef PAYGUARD_QUEUE_RETRY_H
#define PAYGUARD_QUEUE_RETRY_H

#include "datatype/timestamp.h"

#include "records/order.h"
#include "records/payment.h"
#include "records/task.h"

extern bool payguard_task_may_charge(const Order *order, const Payment *payment);
extern TimestampTz payguard_task_back_off(const Task *task);

#endif
