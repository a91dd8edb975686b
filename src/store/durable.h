/*
 * durable.h
 *		What an answer rests on is as durable as the answer itself.
 */
#ifndef PAYGUARD_STORE_DURABLE_H
#define PAYGUARD_STORE_DURABLE_H

extern void payguard_store_make_durable(const void *row);
extern void payguard_store_make_all_durable(void);

#endif
