/*
 * rows.h
 *		Rows found by a key, locked, inserted, updated, deleted.
 */
#ifndef PAYGUARD_STORE_ROWS_H
#define PAYGUARD_STORE_ROWS_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "base/compat.h"
#include "store/open.h"
#include "store/table.h"

/* How rows of a key are locked. */
typedef enum RowLock
{
	ROW_READ,	  /* not at all */
	ROW_LOCK,	  /* as payguard_store_lock() does */
	ROW_LOCK_FREE /* those that nobody holds: the others are left out */
} RowLock;

extern bool payguard_store_find(const Table *table, int key, const void *like, void *row);
extern bool payguard_store_may_have(const Table *table, int key, const void *like);
extern bool payguard_rows_find(OpenTable *open, int key, const void *like,
							   TupleTableSlot *slot);
extern void payguard_store_check(const Table *table, const void *const *rows, int n,
								 bool *stands);
extern bool payguard_store_lock(const Table *table, int key, const void *like, void *row);
extern bool payguard_store_lock_free(const Table *table, int key, const void *like,
									 void *row);
extern int payguard_store_list_by_key(const Table *table, int key, int nfields,
									  RowLock lock, const Datum *values, int n,
									  void **rows);
extern bool payguard_rows_has_key(const OpenTable *open, const void *like,
								  TupleTableSlot *slot);
extern void payguard_index_of_key(const Table *table, int key, NameData *name);
extern bool payguard_is_index_of_key(const OpenTable *open, int key, Relation index);
extern void payguard_raise_concurrent(const char *what) pg_attribute_noreturn();

#endif
