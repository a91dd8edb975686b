/*
 * assert.h
 *		What assertions ask.
 */
#ifndef PAYGUARD_RECORDS_ASSERT_H
#define PAYGUARD_RECORDS_ASSERT_H

#ifdef USE_ASSERT_CHECKING
extern bool payguard_order_is_locked(const text *order_id);
extern bool payguard_is_sorted(const void *rows, int n, size_t size,
							   int (*compare)(const void *, const void *));
#endif

#endif
