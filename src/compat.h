/*
 * compat.h
 *		The only place that asks which PostgreSQL this is.
 */
#ifndef PAYGUARD_COMPAT_H
#define PAYGUARD_COMPAT_H

#include "postgres.h"

#include "access/transam.h"
#include "replication/walsender_private.h"
#include "utils/acl.h"
#include "utils/jsonb.h"

#if PG_VERSION_NUM < 150000
#error "payguard needs PostgreSQL 15 or newer"
#endif

/* 18 has pg_noreturn instead, in front of a declaration. */
#ifndef pg_attribute_noreturn
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

#if PG_VERSION_NUM >= 160000
#include "catalog/pg_proc.h"
#define payguard_may_execute(function, role)                                             \
	(object_aclcheck(ProcedureRelationId, (function), (role), ACL_EXECUTE) == ACLCHECK_OK)
#else
#define payguard_may_execute(function, role)                                             \
	(pg_proc_aclcheck((function), (role), ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* A jsonb value in the making; "result" is there after its end was pushed. */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState JsonBuilder;
#define payguard_push_json(builder, token, value) pushJsonbValue((builder), (token), (value))
#else
typedef struct JsonBuilder
{
	JsonbParseState *parseState;
	JsonbValue *result;
} JsonBuilder;
#define payguard_push_json(builder, token, value)                                        	((builder)->result = pushJsonbValue(&(builder)->parseState, (token), (value)))
#endif

/* The oldest transaction whose outcome can still be looked up. */
#if PG_VERSION_NUM >= 170000
#define payguard_oldest_clog_xid() (TransamVariables->oldestClogXid)
#else
#define payguard_oldest_clog_xid() (ShmemVariableCache->oldestClogXid)
#endif

/* Whether commits wait for standbys at all. Minor releases have renamed the field. */
#ifdef SYNC_STANDBY_DEFINED
#define payguard_sync_standbys_defined()                                                 \
	((WalSndCtl->sync_standbys_status & SYNC_STANDBY_DEFINED) != 0)
#else
#define payguard_sync_standbys_defined() (WalSndCtl->sync_standbys_defined)
#endif

#endif
