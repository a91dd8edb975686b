/*
 * once.c
 *		The unique index that holds a guard's `once`.
 *
 * Any index will do that is as strict as the guard says. It can be looked for now or at the
 * moment that a snapshot shows. The table is not locked.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_index.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "guard.h"
#include "payguard.h"
#include "store/each.h"
#include "store/open.h"

/* An index's condition that is tried. */
typedef struct Trial
{
	TupleDesc desc;
	List *condition;
	const Guard *guard;
	bool fits; /* it holds for the success states */
} Trial;

static bool is_once_index(HeapTuple index, TupleDesc pg_index, TupleDesc desc,
						  const Guard *guard);
static bool is_once_condition(TupleDesc desc, List *condition, const Guard *guard);
static void try_states(void *argument);
static bool runs_foreign_code(Node *node, void *context);
static bool is_foreign_function(Oid function, void *context);

/*
 * payguard_once_is_held looks for a unique index that holds what a guard's `once` says. desc:
 * the relation's columns; at: the moment, NULL for now; but: an index that does not count.
 */
bool
payguard_once_is_held(Oid relation, TupleDesc desc, const Guard *guard, Snapshot at,
					  Oid but)
{
	Relation indexes = table_open(IndexRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	ScanKeyInit(&key, Anum_pg_index_indrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(indexes, IndexIndrelidIndexId, true, at, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
		found = ((Form_pg_index) GETSTRUCT(tuple))->indexrelid != but &&
				is_once_index(tuple, RelationGetDescr(indexes), desc, guard);
	systable_endscan(scan);
	table_close(indexes, AccessShareLock);
	return found;
}

static bool
is_once_index(HeapTuple index, TupleDesc pg_index, TupleDesc desc, const Guard *guard)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index);
	bool isnull;
	Datum condition;

	if (!form->indisunique || !form->indisvalid || !form->indisready ||
		!form->indislive || !form->indimmediate)
		return false;
	/* all its columns are once's; fewer is stricter */
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		bool found = false;

		for (int j = 0; j < guard->once.n; j++)
			found = found || form->indkey.values[i] == guard->once.columns[j];
		if (!found)
			return false;
	}
	condition = heap_getattr(index, Anum_pg_index_indpred, pg_index, &isnull);
	if (isnull)
		return true;
	return is_once_condition(
		desc, make_ands_implicit(stringToNode(TextDatumGetCString(condition))), guard);
}

/*
 * is_once_condition tries an index's condition with each state of the guard: it must hold
 * for the success states. What could run a user's code is not tried. A condition that fails with
 * a state does not hold for it; it is tried in a subtransaction, since DDL and verify() of
 * others must not fail with it.
 */
static bool
is_once_condition(TupleDesc desc, List *condition, const Guard *guard)
{
	Trial trial = {.desc = desc, .condition = condition, .guard = guard};
	Bitmapset *columns = NULL;
	ErrorData *error;

	pull_varattnos((Node *) condition, 1, &columns);
	if (runs_foreign_code((Node *) condition, NULL) ||
		!bms_equal(columns, bms_make_singleton(guard->status -
											   FirstLowInvalidHeapAttributeNumber)))
		return false;
	error = payguard_store_attempt(try_states, &trial);
	if (error && !payguard_is_about_one(error))
		ReThrowError(error);
	return error == NULL && trial.fits;
}

static void
try_states(void *argument)
{
	Trial *trial = argument;
	TupleDesc desc = trial->desc;
	const Guard *guard = trial->guard;
	EState *estate = CreateExecutorState();
	ExprContext *context = GetPerTupleExprContext(estate);
	TupleTableSlot *row = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	ExprState *qual = ExecPrepareQual(trial->condition, estate);

	trial->fits = true;
	context->ecxt_scantuple = row;
	for (int i = 0; i < guard->nstates; i++)
	{
		ExecClearTuple(row);
		memset(row->tts_isnull, true, desc->natts);
		row->tts_isnull[guard->status - 1] = false;
		row->tts_values[guard->status - 1] =
			guard->is_enum ? ObjectIdGetDatum(guard->states[i].label)
						   : CStringGetTextDatum(guard->states[i].name);
		ExecStoreVirtualTuple(row);
		if (guard->states[i].success && !ExecQual(qual, context))
			trial->fits = false;
	}
	ExecDropSingleTupleTableSlot(row);
	FreeExecutorState(estate);
}

static bool
runs_foreign_code(Node *node, void *context)
{
	if (node == NULL)
		return false;
	/* a domain's constraints are the user's */
	if (IsA(node, CoerceToDomain) ||
		check_functions_in_node(node, is_foreign_function, context))
		return true;
	return expression_tree_walker(node, runs_foreign_code, context);
}

static bool
is_foreign_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}
