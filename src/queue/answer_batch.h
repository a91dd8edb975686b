/*
 * answer_batch.h
 *		Answers of workers, many at a time.
 */
#ifndef PAYGUARD_QUEUE_ANSWER_BATCH_H
#define PAYGUARD_QUEUE_ANSWER_BATCH_H

#include "utils/uuid.h"

#include "records/report.h"
#include "records/result.h"

/* One answer of a worker. */
typedef struct Answer
{
	int64 task_id;
	pg_uuid_t *token;
	Report report;
	text *order_id; /* NULL: the task is not known */
	PaymentResult result;
} Answer;

extern void payguard_batch_answer(Answer *answers, int n, bool *answered);

#endif
