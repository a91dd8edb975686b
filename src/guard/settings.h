/*
 * settings.h
 *		A guard's settings.
 */
#ifndef PAYGUARD_GUARD_SETTINGS_H
#define PAYGUARD_GUARD_SETTINGS_H

#include "access/attnum.h"
#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "rules/machine.h"

#define MAX_GUARD_STATES 1000
#define GUARD_CONSUMER "payguard.rows." /* and the number of the table */

/* One state of a guarded table's graph. */
typedef struct GuardState
{
	const char *name;
	int length; /* of the name, bytes */
	Oid label;	/* where the status is an enum: of the label */
	bool initial;
	bool deletable;
	bool paid;	  /* only while payguard says that the order is paid */
	bool closed;  /* only while it says that the order is closed, or given back */
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
	AttrNumber order_id; /* InvalidAttrNumber: none */
	AttrNumber amount;	 /* InvalidAttrNumber: none */
	Oid amount_type;	 /* numeric: major units, whole numbers: minor units */
	AttrNumber currency; /* InvalidAttrNumber: none */
	GuardColumns frozen; /* never change */
	GuardColumns once;	 /* unique among the rows in success states */
	GuardColumns
		held; /* once, order_id, amount and currency: do not change while the row is paid */
	GuardColumns order;	  /* order_id alone: does not change while the row is closed */
	GuardColumns columns; /* all of the above, in the order of the settings */
	int nstates;
	int room;			  /* for so many is memory allocated */
	GuardState *states;	  /* sorted as jsonb sorts keys: by length, then by bytes */
	bool *moves;		  /* [MOVE(guard, from, to)] */
	bool follows;		  /* sync_rows() moves its rows */
	const char *consumer; /* whose position says up to where it has */
	int follow
		[N_ORDER_STATUS]; /* the state of a row whose order has that status; -1: none */
} Guard;

#define MOVE(guard, from, to) ((Size) (from) * (guard)->nstates + (to))

extern int payguard_guard_state(const Guard *guard, Datum value, bool isnull);
extern const char *payguard_guard_value(TupleDesc desc, AttrNumber column, Datum value,
										bool isnull);
extern const char *payguard_guard_status_of(const Guard *guard, TupleTableSlot *row);
extern Guard *payguard_guard_parse(const char *settings, TupleDesc desc,
								   const char **problem);
extern List *payguard_guard_strings(Jsonb *settings, const char *key);

#endif
