/*
 * plan.c
 *		Questions about many rows, and statements on many rows: by SPI, with saved plans.
 *
 * Our tables refuse every UPDATE and DELETE statement (guard/own.c) but the one that this file is running.
 * `announced` names its table, its kind and its command id. A statement that a user's trigger runs inside
 * of ours is another command, and is refused.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "base/text.h"
#include "store/plan.h"
#include "store/table.h"

typedef struct PlanKey
{
	const Table *table; /* of a RowQuery; NULL: of a Statement */
	const void *of;		/* the RowQuery or Statement */
} PlanKey;

/* A saved plan. */
typedef struct PlanEntry
{
	PlanKey key;
	SPIPlanPtr plan;
	int generation; /* of the plan that was made with our settings */
} PlanEntry;

/* A statement that guard/own.c lets through. */
typedef struct Announcement
{
	const char *relation; /* NULL: none */
	CmdType operation;
	CommandId command;
} Announcement;

static HTAB *plans = NULL;
static Announcement announced = {NULL, CMD_UNKNOWN, InvalidCommandId};

static SPIPlanPtr get_plan(const Table *table, const void *of, const char *sql,
						   const Oid *types);
static PlanEntry *find_entry(const Table *table, const void *of);
static bool is_good(const PlanEntry *entry);
static SPIPlanPtr prepare(const char *sql, const Oid *types);
static void plan_again(SPIPlanPtr plan, const CachedPlanSource *source);
static void plan_as_for_full_tables(void);
static void run(SPIPlanPtr plan, Datum *values, const char *nulls, bool read_only,
				Announcement statement);

/*
 * payguard_store_list reads the rows that a query names, with the snapshot of
 * payguard_store_find(), and returns their number; rows: an array of the table's structs.
 */
int
payguard_store_list(const Table *table, const RowQuery *query, Datum *values, void **rows)
{
	return payguard_store_list_nulls(table, query, values, NULL, rows);
}

/*
 * payguard_store_list_nulls is payguard_store_list with parameters that may be NULL: nulls is as SPI has
 * them.
 */
int
payguard_store_list_nulls(const Table *table, const RowQuery *query, Datum *values,
						  const char *nulls, void **rows)
{
	MemoryContext caller = CurrentMemoryContext;
	Columns columns;
	TupleDesc desc;
	Datum *row_values;
	bool *row_nulls;
	char *row;
	int n;

	run(get_plan(table, query, query->where, query->types), values, nulls, true,
		(Announcement){NULL, CMD_UNKNOWN, InvalidCommandId});
	MemoryContextSwitchTo(caller);
	n = (int) SPI_processed;
	desc = SPI_tuptable->tupdesc;
	payguard_table_columns(table, desc, columns);
	row_values = palloc(sizeof(Datum) * desc->natts);
	row_nulls = palloc(sizeof(bool) * desc->natts);
	*rows = row = MemoryContextAllocHuge(caller, mul_size(Max(n, 1), table->row_size));
	for (int i = 0; i < n; i++, row += table->row_size)
	{
		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(SPI_tuptable->vals[i], desc, row_values, row_nulls);
		payguard_table_read(table, columns, row_values, row_nulls, row);
		((RowHeader *) row)->xmin = DatumGetTransactionId(row_values[desc->natts - 1]);
	}
	SPI_freetuptable(SPI_tuptable);
	pfree(row_values);
	pfree(row_nulls);
	return n;
}

/*
 * payguard_store_execute runs a statement on many rows and returns the number of its results,
 * which payguard_store_result() and payguard_store_put_results() read until the next call. SPI takes a newer snapshot
 * for each statement, as payguard_store_refresh() does.
 */
int
payguard_store_execute(const Statement *statement, Datum *values, const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;

	run(get_plan(NULL, statement, statement->sql, statement->types), values, nulls, false,
		(Announcement){statement->changes, statement->operation, InvalidCommandId});
	MemoryContextSwitchTo(caller);
	return (int) SPI_processed;
}

/*
 * payguard_store_result returns a value of the last statement's results: valid until the next
 * call of the store.
 */
Datum
payguard_store_result(int row, int column, bool *isnull)
{
	Assert(row >= 0 && (uint64) row < SPI_tuptable->numvals);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column + 1,
						 isnull);
}

/*
 * payguard_store_put_results puts the last statement's results into a function's result.
 */
void
payguard_store_put_results(Tuplestorestate *store, TupleDesc desc)
{
	if (SPI_tuptable->tupdesc->natts != desc->natts)
		elog(ERROR, "payguard: %d columns instead of %d", SPI_tuptable->tupdesc->natts,
			 desc->natts);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		CHECK_FOR_INTERRUPTS();
		tuplestore_puttuple(store, SPI_tuptable->vals[i]);
	}
}

/*
 * payguard_store_expects tells whether this statement on one of our tables is the one that this file is
 * running: of that table, that kind, and that command. Statements that run inside of it, in a
 * user's trigger, are later commands. It is asked once, by the statement's own trigger.
 */
bool
payguard_store_expects(const char *relation, CmdType operation)
{
	bool mine = announced.relation != NULL && strcmp(announced.relation, relation) == 0 &&
				announced.operation == operation && ActiveSnapshotSet() &&
				GetActiveSnapshot()->curcid == announced.command;

	if (mine)
		announced.relation = NULL;
	return mine;
}

/*
 * get_plan finds the saved plan of a statement, or makes it. One that is not good any more is made again in
 * its place, never freed: the statement that it belongs to may be running, and a user's trigger in it may
 * have called us.
 *
 * sql: the whole statement, or, of a query for a table's rows, what stands behind WHERE
 */
static SPIPlanPtr
get_plan(const Table *table, const void *of, const char *sql, const Oid *types)
{
	PlanEntry *entry = find_entry(table, of);
	CachedPlanSource *source;
	int level;

	if (is_good(entry))
		return entry->plan;
	level = NewGUCNestLevel();
	plan_as_for_full_tables();
	if (entry->plan == NULL)
	{
		if (table)
			sql =
				psprintf("SELECT %s.*, %s.xmin FROM ONLY " PAYGUARD_SCHEMA ".%s WHERE %s",
						 table->name, table->name, table->name, sql);
		entry->plan = prepare(sql, types);
	}
	source = linitial(SPI_plan_get_plan_sources(entry->plan));
	/* one that was made with the caller's settings may be valid */
	if (source->gplan)
		source->gplan->is_valid = false;
	plan_again(entry->plan, source);
	AtEOXact_GUC(true, level);
	entry->generation = source->generation;
	return entry->plan;
}

/*
 * find_entry finds where a saved plan is kept; it may have to be made.
 */
static PlanEntry *
find_entry(const Table *table, const void *of)
{
	PlanKey key = {table, of};
	PlanEntry *entry;
	bool found;

	if (plans == NULL)
	{
		HASHCTL ctl = {.keysize = sizeof(PlanKey),
					   .entrysize = sizeof(PlanEntry),
					   .hcxt = AllocSetContextCreate(TopMemoryContext, "payguard plans",
													 ALLOCSET_SMALL_SIZES)};

		plans = hash_create("payguard plans", 32, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(plans, &key, HASH_ENTER, &found);
	if (!found)
		entry->plan = NULL;
	return entry;
}

/*
 * is_good tells whether a saved plan is there, valid, and made with our settings. A plan that PostgreSQL
 * itself has made again, with the caller's settings, was good enough for that one run.
 */
static bool
is_good(const PlanEntry *entry)
{
	CachedPlanSource *source;

	if (entry->plan == NULL)
		return false;
	source = linitial(SPI_plan_get_plan_sources(entry->plan));
	return source->is_valid && source->gplan && source->gplan->is_valid &&
		   source->generation == entry->generation;
}

/*
 * prepare parses and keeps a statement. Everything in it is qualified, the operators too: the caller's
 * search_path must not choose what runs with our rights.
 */
static SPIPlanPtr
prepare(const char *sql, const Oid *types)
{
	SPIPlanPtr plan;
	Oid parameters[MAX_STATEMENT_PARAMETERS];
	int n = 0;

	for (; OidIsValid(types[n]); n++)
		parameters[n] = types[n];
	plan = SPI_prepare_cursor(sql, n, parameters, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "payguard: cannot prepare \"%s\": %s", sql,
			 SPI_result_code_string(SPI_result));
	return plan;
}

/*
 * plan_again plans a statement with the settings of now.
 */
static void
plan_again(SPIPlanPtr plan, const CachedPlanSource *source)
{
	CachedPlan *planned = SPI_plan_get_cached_plan(plan);

	if (planned == NULL)
		elog(ERROR, "payguard: \"%s\" is not one statement", source->query_string);
	ReleaseCachedPlan(planned, CurrentResourceOwner);
}

/*
 * plan_as_for_full_tables makes the planner find rows by an index, in the index's order, whatever their number is: a
 * plan made while a table is almost empty must still be good when it is full. The settings hold as SET LOCAL in a
 * function does, for planning alone: users' triggers see their own.
 */
static void
plan_as_for_full_tables(void)
{
	static const char *const off[] = {"enable_seqscan",	  "enable_hashjoin",
									  "enable_mergejoin", "enable_material",
									  "enable_sort",	  "jit"};

	for (size_t i = 0; i < lengthof(off); i++)
		(void) set_config_option(off[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * run executes a plan, announced to guard/own.c where it updates or deletes. The announcement before it,
 * of a statement inside of which this one runs, holds again afterwards.
 */
static void
run(SPIPlanPtr plan, Datum *values, const char *nulls, bool read_only,
	Announcement statement)
{
	Announcement outer = announced;
	volatile int result = 0;

	if (!read_only)
	{
		/* SPI takes no newer command than this one, since nothing is written in between */
		CommandCounterIncrement();
		statement.command = GetCurrentCommandId(false);
	}
	announced = statement;
	PG_TRY();
	{
		result = SPI_execute_plan(plan, values, nulls, read_only, 0);
	}
	PG_FINALLY();
	{
		announced = outer;
	}
	PG_END_TRY();
	if (result < 0)
		elog(ERROR, "payguard: SPI_execute_plan failed: %s",
			 SPI_result_code_string(result));
}
