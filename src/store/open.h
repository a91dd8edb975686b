/*
 * open.h
 *		The store for one call: its snapshot, its tables, its subtransactions.
 */
#ifndef PAYGUARD_STORE_OPEN_H
#define PAYGUARD_STORE_OPEN_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"
#include "utils/reltrigger.h"

#include "store/table.h"

typedef enum StoreMode
{
	STORE_READ,	 /* reads with the caller's snapshot; good on a standby */
	STORE_WRITE, /* reads with a snapshot of its own that sees all done so far */
} StoreMode;

/* A table that is open, for one operation. */
typedef struct OpenTable
{
	const Table *table;
	Relation relation;
	Columns columns;
} OpenTable;

extern uint64 payguard_store_snapshot;
extern void payguard_store_begin(StoreMode mode);
extern void payguard_store_refresh(void);
extern void payguard_store_end(StoreMode mode);
extern void payguard_store_look(void (*judge)(void *), void *argument);
extern bool payguard_store_only_looks(void);
extern bool payguard_open_table(OpenTable *open, const Table *table, LOCKMODE mode);
extern void payguard_must_open_table(OpenTable *open, const Table *table, LOCKMODE mode);
extern void payguard_close_table(OpenTable *open);
extern bool payguard_store_is_empty(const Table *table);
extern bool payguard_store_has_user_triggers(const Table *table);
extern bool payguard_is_own_trigger(const Trigger *trigger);
extern bool payguard_store_try(void (*write)(void *), void *argument);
extern ErrorData *payguard_store_attempt(void (*write)(void *), void *argument);

#endif
