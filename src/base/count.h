/*
 * count.h
 *		Replays and refusals counted in shared memory.
 */
#ifndef PAYGUARD_BASE_COUNT_H
#define PAYGUARD_BASE_COUNT_H

#include "port/atomics.h"

#define REPLAYS 0 /* the other counters are those of refusals: refusal.c */
#define MAX_COUNTERS 64

/* What is counted of one database. */
typedef struct DatabaseCounters
{
	pg_atomic_uint32 database; /* its oid; 0: the slot is free */
	pg_atomic_uint64 since;	   /* TimestampTz */
	pg_atomic_uint64 count[MAX_COUNTERS];
} DatabaseCounters;

extern void payguard_counters_init(void);
extern void payguard_count_replay(void);
extern void payguard_count(int counter);
extern DatabaseCounters *payguard_counters_find(void);
extern void payguard_counters_clear(DatabaseCounters *slot);

#endif
