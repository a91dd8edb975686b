/*
 * write.h
 *		Rows inserted, updated, deleted.
 */
#ifndef PAYGUARD_STORE_WRITE_H
#define PAYGUARD_STORE_WRITE_H

#include "base/compat.h"
#include "store/table.h"

extern void payguard_store_insert(const Table *table, const void *row);
extern bool payguard_store_insert_new(const Table *table, int key, const void *row);
extern void payguard_store_update(const Table *table, FieldSet changed, const void *row);
extern void payguard_store_delete(const Table *table, const void *row);
extern void payguard_store_insert_all(const Table *table, const void *const *rows, int n);
extern void payguard_store_insert_new_all(const Table *table, int key,
										  const void *const *rows, int n, bool *inserted);
extern void payguard_store_update_all(const Table *table, FieldSet changed,
									  const void *const *rows, int n);
extern void payguard_store_delete_all(const Table *table, const void *const *rows, int n);
extern void payguard_store_suppressed(const Table *table) pg_attribute_noreturn();

#endif
