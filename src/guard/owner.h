/*
 * owner.h
 *		Work done as the owner of a table.
 */
#ifndef PAYGUARD_GUARD_OWNER_H
#define PAYGUARD_GUARD_OWNER_H

#include "base/compat.h"

/* Who acted before the owner did. */
typedef struct Identity
{
	Oid user;
	int context;
} Identity;

extern void payguard_guard_missing(Oid table) pg_attribute_noreturn();
extern Identity payguard_as_owner(void);
extern void payguard_as_before(Identity identity);

#endif
