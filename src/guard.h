/*
 * guard.h
 *		What guard.c (the trigger), guard_table.c (putting it on), guard_trigger.c and once.c
 * (finding it) and guard_ddl.c (keeping it on) share.
 *
 * A guard is a row trigger on an application's table, whose one argument is a JSON object
 * with its settings: they travel with the table through pg_dump.
 */
#ifndef PAYGUARD_GUARD_H
#define PAYGUARD_GUARD_H

#include "access/attnum.h"
#include "executor/tuptable.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "command.h"
#include "compat.h"

#define GUARD_FUNCTION "guard"
#define GUARD_TRUNCATE_FUNCTION "guard_truncate"
#define GUARD_TRIGGER "payguard_guard"
#define GUARD_TRUNCATE_TRIGGER "payguard_guard_truncate"
#define GUARD_LACKS_INDEX "has no unique index for its guard's once"
#define MAX_GUARD_STATES 1000

/* One state of a guarded table's graph. */
typedef struct GuardState
{
	const char *name;
	int length; /* of the name, bytes */
	Oid label;	/* where the status is an enum: of the label */
	bool initial;
	bool deletable;
	bool paid;	  /* only while payguard says that the order is paid */
	bool success; /* `once` counts it */
} GuardState;

typedef struct GuardColumns
{
	int n;
	AttrNumber *columns;
} GuardColumns;

/* A guard's settings, as parsed for one relation. */
typedef struct Guard
{
	AttrNumber status;
	Oid status_type; /* text, varchar or an enum: a domain's base type */
	bool is_enum;
	AttrNumber version; /* InvalidAttrNumber: none */
	Oid version_type;
	AttrNumber order_id;  /* InvalidAttrNumber: none */
	GuardColumns frozen;  /* never change */
	GuardColumns once;	  /* unique among the rows in success states */
	GuardColumns held;	  /* once and order_id: do not change while the row is paid */
	GuardColumns columns; /* all of the above, in the order of the settings */
	int nstates;
	int room;			/* for so many is memory allocated */
	GuardState *states; /* sorted as jsonb sorts keys: by length, then by bytes */
	bool *moves;		/* [MOVE(guard, from, to)] */
	bool valid;			/* the rows that were there have been checked */
} Guard;

#define MOVE(guard, from, to) ((Size) (from) * (guard)->nstates + (to))

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

/* guard.c */
extern Guard *payguard_guard_parse(const char *settings, TupleDesc desc,
								   const char **problem);
extern int payguard_guard_state(const Guard *guard, Datum value, bool isnull);
extern bool payguard_guard_order_is_paid(const Guard *guard, TupleTableSlot *slot,
										 bool or_refunded);
extern const char *payguard_guard_value(TupleDesc desc, AttrNumber column, Datum value,
										bool isnull);
extern List *payguard_guard_strings(Jsonb *settings, const char *key);

/* guard_table.c */
extern void payguard_guard_cover_truncate(Oid relation);
extern void payguard_guard_remake(Oid relation, const char *name, const char *settings);
extern void payguard_guard_event(const char *kind, const char *schema, const char *table,
								 Jsonb *details);

/* guard_trigger.c; at: the moment that is asked about, NULL for now */
extern Oid payguard_guard_function(bool truncate);
extern List *payguard_guard_triggers(bool truncate);
extern List *payguard_guard_triggers_at(bool truncate, Snapshot at);
extern List *payguard_guard_triggers_of(Oid relation, bool truncate, Snapshot at);
extern GuardTrigger *payguard_guard_trigger_of(Oid relation, bool truncate);
extern bool payguard_guard_is_guarded(Oid relation);
extern bool payguard_guard_read_relation(GuardTrigger *guard, Snapshot at);
extern TupleDesc payguard_guard_desc(Oid relation, Snapshot at);
extern Oid payguard_guard_parent(Oid relation, Snapshot at);
extern List *payguard_guard_find_problems(const GuardTrigger *trigger, Snapshot at);

/* once.c */
extern bool payguard_once_is_held(Oid relation, TupleDesc desc, const Guard *guard,
								  Snapshot at, Oid but);

/* guard_ddl.c */
extern void payguard_guard_ddl_start(Node *statement);
extern void payguard_guard_ddl_end(const Command *command);
extern void payguard_guard_check_made(Node *statement);
extern void payguard_guard_refuse_drop(Oid relation, const List *dropped);
extern void payguard_guard_refuse_drop_index(Oid relation, Oid index);

/* drop.c */
extern List *payguard_drop_named(const DropStmt *statement);
extern List *payguard_drop_owned(const DropOwnedStmt *statement);
extern bool payguard_drop_reaches(List *objects, List **guarded);

/* protect.c */
typedef struct Identity
{
	Oid user;
	int context;
} Identity;

extern Identity payguard_as_owner(void);
extern void payguard_as_before(Identity identity);
extern void payguard_refuse_ddl(const char *detail, const char *hint)
	pg_attribute_noreturn();
extern void payguard_refuse_broken(const char *what) pg_attribute_noreturn();

#endif
