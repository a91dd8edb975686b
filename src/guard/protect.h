/*
 * protect.h
 *		The setting payguard.allow_unsafe_ddl.
 */
#ifndef PAYGUARD_GUARD_PROTECT_H
#define PAYGUARD_GUARD_PROTECT_H

extern bool payguard_allow_unsafe_ddl;

#endif
