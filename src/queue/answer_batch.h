/*
 * answer_batch.h
 *		Answers of workers, many at a time.
 */
#ifndef PAYGUARD_QUEUE_ANSWER_BATCH_H
#define PAYGUARD_QUEUE_ANSWER_BATCH_H

#include "utils/uuid.h"

#include "base/argument.h"
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
	Unreadable bad;			/* the report is "unknown" then ... */
	const char *unreadable; /* ... and the answer as it came is kept, as JSON */
} Answer;

extern void payguard_batch_answer(Answer *answers, int n, bool *answered);

#endif
