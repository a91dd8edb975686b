/*
 * sync_row.h
 *		The rows of one order, brought in step with it.
 */
#ifndef PAYGUARD_GUARD_SYNC_ROW_H
#define PAYGUARD_GUARD_SYNC_ROW_H

#include "rules/machine.h"
#include "guard/settings.h"

/* A guarded table whose rows follow their orders. */
typedef struct Followed
{
	Oid relation;
	Oid owner;
	const Guard *guard;
	text *consumer;
	Oid order_type;		  /* of the order's column: a domain's base type */
	const char *table;	  /* qualified; it and the columns are quoted */
	const char *order;	  /* the order's column */
	const char *status;	  /* the status column */
	const char *version;  /* the version's; NULL: there is none */
	const char *is_equal; /* the operator by which order ids are equal */
} Followed;

/* What became of the rows of an order. */
typedef enum SyncResult
{
	SYNC_IN_STEP, /* they are as the order is, or beyond; or there is none */
	SYNC_WAITS,	  /* somebody else is at one of them */
	SYNC_FAILED	  /* one of them cannot be moved */
} SyncResult;

/* Why a row could not be moved. */
typedef struct SyncProblem
{
	const char *status; /* the row's, or NULL */
	text *message;
	bool held_up; /* a trigger has waited for a lock in vain */
} SyncProblem;

extern SyncResult payguard_sync_rows_of(const Followed *followed, const text *order_id,
										OrderStatus status, int64 *changed,
										SyncProblem *problem);
extern int payguard_sync_patience(void);

#endif
