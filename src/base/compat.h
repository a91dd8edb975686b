/*
 * compat.h
 *		The only place that asks which PostgreSQL this is.
 */
#ifndef PAYGUARD_BASE_COMPAT_H
#define PAYGUARD_BASE_COMPAT_H

#include "access/genam.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/tupdesc.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/nodes.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "replication/walsender_private.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"

#if PG_VERSION_NUM < 150000
#error "payguard needs PostgreSQL 15 or newer"
#endif

/* 18 has pg_noreturn instead, in front of a declaration. */
#ifndef pg_attribute_noreturn
#define pg_attribute_noreturn() __attribute__((noreturn))
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

/* A jsonb value in the making; "result" is there after its end was pushed. */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState JsonBuilder;
#define payguard_push_json(builder, token, value)                                        \
	pushJsonbValue((builder), (token), (value))
#else
typedef struct JsonBuilder
{
	JsonbParseState *parseState;
	JsonbValue *result;
} JsonBuilder;
#define payguard_push_json(builder, token, value)                                        \
	((builder)->result = pushJsonbValue(&(builder)->parseState, (token), (value)))
#endif

/* A description of a row whose attributes were filled in by hand is complete. */
static inline void
payguard_finish_tuple_desc(TupleDesc desc)
{
#if PG_VERSION_NUM >= 180000
	for (int i = 0; i < desc->natts; i++)
		populate_compact_attribute(desc, i);
#endif
#if PG_VERSION_NUM >= 190000
	TupleDescFinalize(desc);
#endif
}

/* Whether this transaction holds a lock of just this mode. */
#if PG_VERSION_NUM >= 170000
#define payguard_lock_held(tag, mode) LockHeldByMe((tag), (mode), false)
#else
#define payguard_lock_held(tag, mode) LockHeldByMe((tag), (mode))
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

/* An update says which indexes need the new version of a row. */
#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes PayguardUpdateIndexes;
#define payguard_any_index(indexes) ((indexes) != TU_None)
#else
typedef bool PayguardUpdateIndexes;
#define payguard_any_index(indexes) (indexes)
#endif

#if PG_VERSION_NUM >= 190000
#define payguard_tuple_update(table, tid, slot, command, snapshot, failure, mode,        \
							  indexes)                                                   \
	table_tuple_update(table, tid, slot, command, 0, snapshot, InvalidSnapshot, true,    \
					   failure, mode, indexes)
#else
#define payguard_tuple_update(table, tid, slot, command, snapshot, failure, mode,        \
							  indexes)                                                   \
	table_tuple_update(table, tid, slot, command, snapshot, InvalidSnapshot, true,       \
					   failure, mode, indexes)
#endif

#if PG_VERSION_NUM >= 190000
#define payguard_tuple_delete(table, tid, command, snapshot, failure)                    \
	table_tuple_delete(table, tid, command, 0, snapshot, InvalidSnapshot, true, failure)
#else
#define payguard_tuple_delete(table, tid, command, snapshot, failure)                    \
	table_tuple_delete(table, tid, command, snapshot, InvalidSnapshot, true, failure,    \
					   false)
#endif

/* Index entries of a new row or version; those of a conflict are reported, not raised. */
#if PG_VERSION_NUM >= 190000
#define payguard_insert_index_tuples(result, slot, estate, update, conflict, arbiters)   \
	ExecInsertIndexTuples(result, estate,                                                \
						  ((update) ? EIIT_IS_UPDATE : 0) |                              \
							  ((arbiters) != NIL ? EIIT_NO_DUPE_ERROR : 0),              \
						  slot, arbiters, conflict)
#elif PG_VERSION_NUM >= 160000
#define payguard_insert_index_tuples(result, slot, estate, update, conflict, arbiters)   \
	ExecInsertIndexTuples(result, slot, estate, update, (arbiters) != NIL, conflict,     \
						  arbiters, false)
#else
#define payguard_insert_index_tuples(result, slot, estate, update, conflict, arbiters)   \
	ExecInsertIndexTuples(result, slot, estate, update, (arbiters) != NIL, conflict,     \
						  arbiters)
#endif

#if PG_VERSION_NUM >= 190000
#define payguard_table_beginscan(table, snapshot)                                        \
	table_beginscan(table, snapshot, 0, NULL, 0)
#else
#define payguard_table_beginscan(table, snapshot)                                        \
	table_beginscan(table, snapshot, 0, NULL)
#endif

#if PG_VERSION_NUM >= 190000
#define payguard_index_beginscan(table, index, snapshot, nkeys)                          \
	index_beginscan(table, index, snapshot, NULL, nkeys, 0, 0)
#elif PG_VERSION_NUM >= 180000
#define payguard_index_beginscan(table, index, snapshot, nkeys)                          \
	index_beginscan(table, index, snapshot, NULL, nkeys, 0)
#else
#define payguard_index_beginscan(table, index, snapshot, nkeys)                          \
	index_beginscan(table, index, snapshot, nkeys, 0)
#endif

#if PG_VERSION_NUM >= 180000
#define payguard_check_index_constraints(result, slot, estate, conflict, arbiters)       \
	ExecCheckIndexConstraints(result, slot, estate, conflict, NULL, arbiters)
#else
#define payguard_check_index_constraints(result, slot, estate, conflict, arbiters)       \
	ExecCheckIndexConstraints(result, slot, estate, conflict, arbiters)
#endif

/* A state for triggers to look at rows that have changed meanwhile; ours are locked before. */
#if PG_VERSION_NUM >= 160000
#define payguard_eval_plan_qual_init(epq, estate)                                        \
	EvalPlanQualInit((epq), (estate), NULL, NIL, -1, NIL)
#else
#define payguard_eval_plan_qual_init(epq, estate)                                        \
	EvalPlanQualInit((epq), (estate), NULL, NIL, -1)
#endif

/* BEFORE ROW triggers of a row that is locked; false: one of them suppresses the operation. */
#if PG_VERSION_NUM >= 180000
#define payguard_before_row_update(estate, epq, result, tid, slot)                       \
	ExecBRUpdateTriggers((estate), (epq), (result), (tid), NULL, (slot), NULL, NULL,     \
						 false)
#define payguard_before_row_delete(estate, epq, result, tid)                             \
	ExecBRDeleteTriggers((estate), (epq), (result), (tid), NULL, NULL, NULL, NULL, false)
#elif PG_VERSION_NUM >= 160000
#define payguard_before_row_update(estate, epq, result, tid, slot)                       \
	ExecBRUpdateTriggers((estate), (epq), (result), (tid), NULL, (slot), NULL, NULL)
#define payguard_before_row_delete(estate, epq, result, tid)                             \
	ExecBRDeleteTriggers((estate), (epq), (result), (tid), NULL, NULL, NULL, NULL)
#else
#define payguard_before_row_update(estate, epq, result, tid, slot)                       \
	ExecBRUpdateTriggers((estate), (epq), (result), (tid), NULL, (slot), NULL)
#define payguard_before_row_delete(estate, epq, result, tid)                             \
	ExecBRDeleteTriggers((estate), (epq), (result), (tid), NULL, NULL)
#endif

/* Gives an executor's state a range table of one table, of which these columns are updated. */
static inline void
payguard_init_range_table(EState *estate, RangeTblEntry *range, Bitmapset *updated)
{
#if PG_VERSION_NUM >= 160000
	RTEPermissionInfo *permissions = makeNode(RTEPermissionInfo);

	permissions->relid = range->relid;
	permissions->updatedCols = updated;
	range->perminfoindex = 1;
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(range), list_make1(permissions),
					   bms_make_singleton(1));
#else
	ExecInitRangeTable(estate, list_make1(range), list_make1(permissions));
#endif
#else
	range->updatedCols = updated;
	ExecInitRangeTable(estate, list_make1(range));
#endif
}

#endif
