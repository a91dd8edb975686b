/*
 * call.c
 *		The calls of our functions that are running: begun, and ended.
 *
 * A user's trigger on one of our tables may call another of our functions, so that several run at a
 * time, the innermost one last. What a call is must not outlive it, whichever way it ends: those
 * that an error has ended are taken away with the subtransaction that they began in.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/memutils.h"

#include "store/open.h"
#include "store/table.h"
#include "records/call.h"

typedef struct Call
{
	int level;	   /* of the transactions when it began */
	bool evidence; /* no setting of the session may get it refused */
} Call;

static Call *calls = NULL;
static int ncalls = 0;
static int max_calls = 0;

static void begin(const char *function, bool evidence);
static void end_with_subtransaction(SubXactEvent event, SubTransactionId mine,
									SubTransactionId parent, void *argument);
static void end_with_transaction(XactEvent event, void *argument);
static TupleDesc as_record(TupleDesc desc);

/*
 * payguard_request_begin opens the store for a request. Errors: 25006 in a read-only
 * transaction, in recovery and in parallel mode, whatever the answer would be.
 */
void
payguard_request_begin(const char *function)
{
	begin(function, false);
}

/*
 * payguard_evidence_begin is payguard_request_begin for evidence, which no setting of the session may cause to be
 * refused.
 */
void
payguard_evidence_begin(const char *function)
{
	begin(function, true);
}

static void
begin(const char *function, bool evidence)
{
	PreventCommandIfReadOnly(function);
	PreventCommandIfParallelMode(function);
	PreventCommandDuringRecovery(function);
	if (calls == NULL)
	{
		calls = MemoryContextAlloc(TopMemoryContext, sizeof(Call) * 8);
		max_calls = 8;
		RegisterSubXactCallback(end_with_subtransaction, NULL);
		RegisterXactCallback(end_with_transaction, NULL);
	}
	if (ncalls == max_calls)
	{
		calls = repalloc(calls, sizeof(Call) * 2 * max_calls);
		max_calls *= 2;
	}
	payguard_store_begin(STORE_WRITE);
	calls[ncalls++] =
		(Call){.level = GetCurrentTransactionNestLevel(), .evidence = evidence};
}

/*
 * payguard_call_end closes the store for the call that began last.
 */
void
payguard_call_end(void)
{
	Assert(ncalls > 0 && calls[ncalls - 1].level == GetCurrentTransactionNestLevel());
	payguard_store_end(STORE_WRITE);
	ncalls--;
}

/*
 * payguard_call_is_evidence tells whether the innermost call is evidence.
 */
bool
payguard_call_is_evidence(void)
{
	return ncalls > 0 && calls[ncalls - 1].evidence;
}

static void
end_with_subtransaction(SubXactEvent event, SubTransactionId mine,
						SubTransactionId parent, void *argument)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (ncalls > 0 && calls[ncalls - 1].level >= GetCurrentTransactionNestLevel())
		ncalls--;
}

static void
end_with_transaction(XactEvent event, void *argument)
{
	Assert(ncalls == 0 || event == XACT_EVENT_ABORT);
	if (event == XACT_EVENT_ABORT)
		ncalls = 0;
}

/*
 * payguard_row_result makes a row of one of our tables the result of a function.
 */
Datum
payguard_row_result(FunctionCallInfo fcinfo, const Table *table, const void *row)
{
	return payguard_store_row_datum(table, row, payguard_result_desc(fcinfo));
}

/*
 * as_record makes of a row type one that is no table's.
 */
static TupleDesc
as_record(TupleDesc desc)
{
	TupleDesc record = CreateTupleDescCopy(desc);

	record->tdtypeid = RECORDOID;
	record->tdtypmod = -1;
	return record;
}

/*
 * payguard_result_desc returns the row type that a function was declared to return, kept
 * between the calls of one statement. Where an update has added a column to it since the statement
 * began, the row is as the statement expects it.
 */
TupleDesc
payguard_result_desc(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		const ReturnSetInfo *caller = (const ReturnSetInfo *) fcinfo->resultinfo;
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		TupleDesc desc;

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "payguard: the function must return a row");
		if (caller && IsA(caller, ReturnSetInfo) && caller->expectedDesc &&
			caller->expectedDesc->natts < desc->natts)
			desc = as_record(caller->expectedDesc);
		fcinfo->flinfo->fn_extra = BlessTupleDesc(CreateTupleDescCopy(desc));
		MemoryContextSwitchTo(old);
	}
	return (TupleDesc) fcinfo->flinfo->fn_extra;
}
