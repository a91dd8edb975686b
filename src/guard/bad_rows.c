/*
 * bad_rows.c
 *		Rows of a table that its guard would not let in: of a new guard, and for verify().
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "base/argument.h"
#include "base/compat.h"
#include "base/text.h"
#include "guard/bad_rows.h"
#include "guard/owner.h"
#include "guard/row_order.h"
#include "guard/settings.h"
#include "guard/trigger.h"

#define MAX_EXAMPLES 5

/* Rows that break one rule of a guard. */
typedef struct Fault
{
	int64 rows;
	List *examples; /* strings */
} Fault;

/* Rows that break a guard's rules. */
typedef struct BadRows
{
	MemoryContext context; /* the examples' */
	Fault stateless;	   /* their status is none of the graph's */
	Fault unpaid;		   /* paid here, and not in payguard */
	Fault other_amount;	   /* paid here, and another amount in payguard */
	Fault open;			   /* closed here, and never in payguard */
	Fault doubled;		   /* another row has the same values of once */
} BadRows;

/* Reading the rows of one table. */
typedef struct Reading
{
	const Guard *guard;
	TupleDesc desc;
	BadRows *bad;
	Tuplesortstate *sort; /* of what once is about; NULL: that is not looked at */
	TupleTableSlot *once; /* a row of it */
	TypeCacheEntry **types;
} Reading;

static void read_rows(Relation relation, const char *settings, Snapshot snapshot,
					  bool once, BadRows *bad);
static void look_at_row(const Reading *reading, TupleTableSlot *row);
static void look_at_order(const Reading *reading, const GuardState *state,
						  TupleTableSlot *row);
static void begin_sort(Reading *reading);
static void sort_row(const Reading *reading, TupleTableSlot *row);
static void find_doubled(const Reading *reading, MemoryContext each);
static bool are_equal(const Reading *reading, TupleTableSlot *a, TupleTableSlot *b);
static const char *once_value(TupleTableSlot *row);
static void add_fault(BadRows *bad, Fault *fault, TupleTableSlot *row, AttrNumber column);
static void add_example(BadRows *bad, Fault *fault, const char *value);
static bool breaks_checks(const BadRows *bad);
static char *describe(const BadRows *bad);
static void describe_fault(StringInfo text, const Fault *fault, const char *what);

PG_FUNCTION_INFO_V1(payguard_guard_bad_rows);

/*
 * guard_bad_rows(table) → text: what is wrong with the rows of one guarded table
 * (partitions and heirs have their own guards), a sentence without its full stop; NULL:
 * nothing. Reads the table. Rows that were there when a guard was put on as NOT VALID are
 * told too. Error: 42P01.
 */
Datum
payguard_guard_bad_rows(PG_FUNCTION_ARGS)
{
	Oid table = PG_GETARG_OID(0);
	Relation relation = try_relation_open(table, AccessShareLock);
	char *problem;

	if (relation == NULL)
		payguard_guard_missing(table);
	problem = payguard_bad_rows_problem(relation);
	relation_close(relation, AccessShareLock);
	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(payguard_text(problem));
}

/*
 * payguard_bad_rows_check raises 23514 or 23505 where rows break the rules already. once: whether those that
 * share its values are looked for.
 */
void
payguard_bad_rows_check(List *tables, const char *settings, bool once)
{
	BadRows bad = {.context = CurrentMemoryContext};
	ListCell *cell;

	foreach (cell, tables)
	{
		Relation relation = table_open(lfirst_oid(cell), NoLock);

		read_rows(relation, settings, GetLatestSnapshot(), once, &bad);
		table_close(relation, NoLock);
	}
	if (!breaks_checks(&bad) && bad.doubled.rows == 0)
		return;
	ereport(
		ERROR,
		(errcode(breaks_checks(&bad) ? ERRCODE_CHECK_VIOLATION
									 : ERRCODE_UNIQUE_VIOLATION),
		 errmsg("relation \"%s\" has rows that break the guard",
				get_rel_name(linitial_oid(tables))),
		 errdetail("It has %s. Nothing has been changed.", describe(&bad)),
		 errhint("Correct them first, or guard the table with not_valid := true, which "
				 "leaves the rows that are there as they are."),
		 err_generic_string(PG_DIAG_CONSTRAINT_NAME, GUARD_TRIGGER)));
}

/*
 * payguard_bad_rows_problem says what is wrong with the rows of a relation that is locked; NULL: nothing,
 * or it has no guard.
 */
char *
payguard_bad_rows_problem(Relation relation)
{
	GuardTrigger *guard = payguard_guard_trigger_of(RelationGetRelid(relation), false);
	BadRows bad = {.context = CurrentMemoryContext};

	/* with a snapshot that is as old as the one with which orders are looked up */
	if (guard)
		read_rows(relation, guard->settings, GetTransactionSnapshot(), true, &bad);
	return describe(&bad);
}

/*
 * read_rows looks at each row of one table, which takes the memory of one row, and work_mem for
 * those that once is about. Nothing is read where the table has no rows of its own, or the guard
 * does not fit it.
 */
static void
read_rows(Relation relation, const char *settings, Snapshot snapshot, bool once,
		  BadRows *bad)
{
	const char *problem;
	Reading reading = {
		.guard = payguard_guard_parse(settings, RelationGetDescr(relation), &problem),
		.desc = RelationGetDescr(relation),
		.bad = bad};
	MemoryContext each;
	MemoryContext caller;
	TupleTableSlot *row;
	TableScanDesc scan;

	if (reading.guard == NULL || relation->rd_rel->relkind != RELKIND_RELATION)
		return;
	if (once)
		begin_sort(&reading);
	each = AllocSetContextCreate(CurrentMemoryContext, "payguard row of a guarded table",
								 ALLOCSET_DEFAULT_SIZES);
	snapshot = RegisterSnapshot(snapshot);
	row = table_slot_create(relation, NULL);
	scan = payguard_table_beginscan(relation, snapshot);
	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		CHECK_FOR_INTERRUPTS();
		caller = MemoryContextSwitchTo(each);
		look_at_row(&reading, row);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(each);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	if (reading.sort)
		find_doubled(&reading, each);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(each);
}

static void
look_at_row(const Reading *reading, TupleTableSlot *row)
{
	const Guard *guard = reading->guard;
	BadRows *bad = reading->bad;
	bool isnull;
	Datum value = slot_getattr(row, guard->status, &isnull);
	int state = payguard_guard_state(guard, value, isnull);

	if (state < 0)
	{
		add_fault(bad, &bad->stateless, row, guard->status);
		return;
	}
	look_at_order(reading, &guard->states[state], row);
	if (guard->states[state].success && reading->sort)
		sort_row(reading, row);
}

static void
look_at_order(const Reading *reading, const GuardState *state, TupleTableSlot *row)
{
	const Guard *guard = reading->guard;
	BadRows *bad = reading->bad;
	RowOrder order = ROW_ORDER_FITS;

	if (state->paid)
		order = payguard_row_order_is_paid(guard, row, true);
	else if (state->closed)
		order = payguard_row_order_is_closed(guard, row, true);
	if (order == ROW_ORDER_UNPAID)
		add_fault(bad, &bad->unpaid, row, guard->order_id);
	else if (order == ROW_ORDER_OPEN)
		add_fault(bad, &bad->open, row, guard->order_id);
	else if (order != ROW_ORDER_FITS)
		add_fault(bad, &bad->other_amount, row, guard->order_id);
}

/*
 * begin_sort prepares to sort what once is about, row by row: an index may have lost some. It is
 * left alone where a type has no order, which no index for once can be built on.
 */
static void
begin_sort(Reading *reading)
{
	const GuardColumns *once = &reading->guard->once;
	AttrNumber *numbers = palloc((once->n + 1) * sizeof(AttrNumber));
	Oid *operators = palloc((once->n + 1) * sizeof(Oid));
	Oid *collations = palloc((once->n + 1) * sizeof(Oid));
	bool *nulls_first = palloc0((once->n + 1) * sizeof(bool));
	List *lists[4] = {NIL, NIL, NIL, NIL};
	TupleDesc desc;

	if (once->n == 0)
		return;
	reading->types = palloc(once->n * sizeof(TypeCacheEntry *));
	for (int i = 0; i < once->n; i++)
	{
		Form_pg_attribute column = TupleDescAttr(reading->desc, once->columns[i] - 1);
		TypeCacheEntry *type = lookup_type_cache(
			column->atttypid, TYPECACHE_LT_OPR | TYPECACHE_EQ_OPR_FINFO);

		if (!OidIsValid(type->lt_opr) || !OidIsValid(type->eq_opr_finfo.fn_oid))
			return;
		reading->types[i] = type;
		numbers[i] = i + 1;
		operators[i] = type->lt_opr;
		collations[i] = column->attcollation;
		lists[0] = lappend(lists[0], makeString(pstrdup(NameStr(column->attname))));
		lists[1] = lappend_oid(lists[1], column->atttypid);
		lists[2] = lappend_int(lists[2], column->atttypmod);
		lists[3] = lappend_oid(lists[3], column->attcollation);
	}
	desc = BuildDescFromLists(lists[0], lists[1], lists[2], lists[3]);
	reading->once = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	reading->sort = tuplesort_begin_heap(desc, once->n, numbers, operators, collations,
										 nulls_first, work_mem, NULL, TUPLESORT_NONE);
}

/*
 * sort_row puts a row among those that are sorted. One with a NULL is like no other.
 */
static void
sort_row(const Reading *reading, TupleTableSlot *row)
{
	const GuardColumns *once = &reading->guard->once;

	ExecClearTuple(reading->once);
	for (int i = 0; i < once->n; i++)
	{
		reading->once->tts_values[i] =
			slot_getattr(row, once->columns[i], &reading->once->tts_isnull[i]);
		if (reading->once->tts_isnull[i])
			return;
	}
	ExecStoreVirtualTuple(reading->once);
	tuplesort_puttupleslot(reading->sort, reading->once);
}

/*
 * find_doubled counts the sorted rows that are like another.
 */
static void
find_doubled(const Reading *reading, MemoryContext each)
{
	Fault *doubled = &reading->bad->doubled;
	TupleDesc desc = reading->once->tts_tupleDescriptor;
	TupleTableSlot *last = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TupleTableSlot *row = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	bool is_counted = false; /* the last one is */

	tuplesort_performsort(reading->sort);
	while (tuplesort_gettupleslot(reading->sort, true, true, row, NULL))
	{
		MemoryContext caller = MemoryContextSwitchTo(each);
		bool is_like = !TTS_EMPTY(last) && are_equal(reading, last, row);
		TupleTableSlot *free = last;

		CHECK_FOR_INTERRUPTS();
		if (is_like)
			doubled->rows += is_counted ? 1 : 2;
		if (is_like && !is_counted)
			add_example(reading->bad, doubled, once_value(row));
		is_counted = is_like;
		last = row;
		row = free;
		MemoryContextSwitchTo(caller);
		MemoryContextReset(each);
	}
	ExecDropSingleTupleTableSlot(last);
	ExecDropSingleTupleTableSlot(row);
	ExecDropSingleTupleTableSlot(reading->once);
	tuplesort_end(reading->sort);
}

static bool
are_equal(const Reading *reading, TupleTableSlot *a, TupleTableSlot *b)
{
	TupleDesc desc = a->tts_tupleDescriptor;

	for (int i = 0; i < desc->natts; i++)
	{
		bool isnull;
		Datum of_a = slot_getattr(a, i + 1, &isnull);
		Datum of_b = slot_getattr(b, i + 1, &isnull);

		if (!DatumGetBool(FunctionCall2Coll(&reading->types[i]->eq_opr_finfo,
											TupleDescAttr(desc, i)->attcollation, of_a,
											of_b)))
			return false;
	}
	return true;
}

/*
 * once_value writes the values of one row of what once is about.
 */
static const char *
once_value(TupleTableSlot *row)
{
	TupleDesc desc = row->tts_tupleDescriptor;
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < desc->natts; i++)
	{
		bool isnull;
		Datum value = slot_getattr(row, i + 1, &isnull);

		appendStringInfo(&text, "%s%s", i > 0 ? " " : "",
						 payguard_guard_value(desc, i + 1, value, isnull));
	}
	return text.data;
}

/*
 * add_fault counts a row that breaks a rule. column: whose value is an example.
 */
static void
add_fault(BadRows *bad, Fault *fault, TupleTableSlot *row, AttrNumber column)
{
	bool isnull;
	Datum value = slot_getattr(row, column, &isnull);

	fault->rows++;
	if (list_length(fault->examples) < MAX_EXAMPLES)
		add_example(
			bad, fault,
			payguard_guard_value(row->tts_tupleDescriptor, column, value, isnull));
}

/*
 * add_example keeps a value, the beginning of a long one, unless there are enough.
 */
static void
add_example(BadRows *bad, Fault *fault, const char *value)
{
	MemoryContext caller = MemoryContextSwitchTo(bad->context);
	char *example = pnstrdup(value, pg_mbcliplen(value, strlen(value), MAX_ID_LENGTH));

	if (list_length(fault->examples) < MAX_EXAMPLES &&
		!payguard_list_has(fault->examples, example))
		fault->examples = lappend(fault->examples, example);
	else
		pfree(example);
	MemoryContextSwitchTo(caller);
}

/*
 * breaks_checks tells whether rows break what is checked of each by itself.
 */
static bool
breaks_checks(const BadRows *bad)
{
	return bad->stateless.rows > 0 || bad->unpaid.rows > 0 ||
		   bad->other_amount.rows > 0 || bad->open.rows > 0;
}

/*
 * describe says what is wrong; NULL: nothing.
 */
static char *
describe(const BadRows *bad)
{
	StringInfoData text;

	initStringInfo(&text);
	describe_fault(&text, &bad->stateless, "whose status is no state of the guard");
	describe_fault(&text, &bad->unpaid, "in a paid state whose order is not paid");
	describe_fault(&text, &bad->other_amount,
				   "in a paid state whose order is over another amount");
	describe_fault(&text, &bad->open, "in a closed state whose order is not closed");
	describe_fault(&text, &bad->doubled,
				   "in success states that share their values of once");
	return text.len > 0 ? text.data : NULL;
}

static void
describe_fault(StringInfo text, const Fault *fault, const char *what)
{
	const char *comma = "";
	ListCell *cell;

	if (fault->rows == 0)
		return;
	appendStringInfo(text, "%s" INT64_FORMAT " rows %s (", text->len > 0 ? " and " : "",
					 fault->rows, what);
	foreach (cell, fault->examples)
	{
		appendStringInfo(text, "%s%s", comma, (char *) lfirst(cell));
		comma = ", ";
	}
	appendStringInfoChar(text, ')');
}
