/*
 * trigger.h
 *		The triggers that are guards, as the catalog has them.
 */
#ifndef PAYGUARD_GUARD_TRIGGER_H
#define PAYGUARD_GUARD_TRIGGER_H

#include "access/attnum.h"
#include "access/genam.h"
#include "access/tupdesc.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#define GUARD_FUNCTION "guard"
#define GUARD_TRUNCATE_FUNCTION "guard_truncate"
#define GUARD_TRIGGER "payguard_guard"
#define GUARD_TRUNCATE_TRIGGER "payguard_guard_truncate"
#define GUARD_LACKS_INDEX "has no unique index for its guard's once"
#define GUARD_LACKS_ORDER_INDEX                                                          \
	"has no index on its order_id_column, which its guard's follow needs"

/* A trigger of ours in the catalogs. */
typedef struct GuardTrigger
{
	Oid trigger;
	Oid relation;
	Oid parent;	 /* the trigger that a partition's was cloned from */
	bool always; /* it fires always, and as it was made */
	const char *name;
	const char *settings; /* NULL: the trigger for TRUNCATE */
	Oid namespace;		  /* the relation's, and its names */
	const char *schema;
	const char *table;
	bool logged;
} GuardTrigger;

/* What a scan of a catalog needs. */
typedef struct CatalogScan
{
	Relation catalog;
	SysScanDesc scan;
} CatalogScan;

extern char *payguard_guard_qualified(Oid relation);
extern Oid payguard_guard_function(bool truncate);
extern List *payguard_guard_triggers(void);
extern List *payguard_guard_triggers_at(Snapshot at);
extern List *payguard_guard_triggers_of(Oid relation, bool truncate, Snapshot at);
extern GuardTrigger *payguard_guard_trigger_of(Oid relation, bool truncate);
extern bool payguard_guard_is_guarded(Oid relation);
extern bool payguard_guard_read_relation(GuardTrigger *guard, Snapshot at);
extern TupleDesc payguard_guard_desc(Oid relation, Snapshot at);
extern Oid payguard_guard_parent(Oid relation, Snapshot at);
extern CatalogScan payguard_catalog_scan_begin(Oid catalog, Oid index, AttrNumber column,
											   Oid oid, Snapshot at);
extern void payguard_catalog_scan_end(CatalogScan *scan);

#endif
