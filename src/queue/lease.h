/*
 * lease.h
 *		Leases.
 */
#ifndef PAYGUARD_QUEUE_LEASE_H
#define PAYGUARD_QUEUE_LEASE_H

#include "datatype/timestamp.h"
#include "fmgr.h"

#include "records/order.h"
#include "records/task.h"
#include "queue/answer_batch.h"

extern int payguard_lease_expire(TimestampTz now, int max);
extern bool payguard_lease_find_subject(int64 task_id, Task *task,
										FinishedTask *finished);
extern bool payguard_lease_holds(const Answer *answer, Lease *lease);
extern void payguard_lease_lock_order(FunctionCallInfo fcinfo, const char *function,
									  Order *order, Task *task, Lease *lease);
extern void payguard_task_must_exist(int64 task_id, Task *task);

#endif
