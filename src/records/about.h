/*
 * about.h
 *		What an event, an alert, an approval or a task is about: ids.
 */
#ifndef PAYGUARD_RECORDS_ABOUT_H
#define PAYGUARD_RECORDS_ABOUT_H

#include "utils/uuid.h"

/* What an event, an alert or a task is about: the ids that are known. */
typedef struct About
{
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	int64 task_id;
} About;

#define ABOUT_NOTHING ((About){0})

#endif
