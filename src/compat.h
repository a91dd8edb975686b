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

#if PG_VERSION_NUM < 150000
#error "payguard needs PostgreSQL 15 or newer"
#endif

#if PG_VERSION_NUM >= 160000
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#define payguard_may_execute(function, role)                                             \
	(object_aclcheck(ProcedureRelationId, (function), (role), ACL_EXECUTE) == ACLCHECK_OK)
#define payguard_owns_relation(relation, role)                                           \
	object_ownercheck(RelationRelationId, (relation), (role))
#define payguard_owns_schema(schema, role)                                               \
	object_ownercheck(NamespaceRelationId, (schema), (role))
#else
#define payguard_may_execute(function, role)                                             \
	(pg_proc_aclcheck((function), (role), ACL_EXECUTE) == ACLCHECK_OK)
#define payguard_owns_relation(relation, role) pg_class_ownercheck((relation), (role))
#define payguard_owns_schema(schema, role) pg_namespace_ownercheck((schema), (role))
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
