/*
 * driver.c
 *		Calls the channels' in-database drivers, for run_tasks(), with a time-out.
 *
 * run_tasks() commits between its steps, so statement_timeout, which counts from the client's
 * statement, is of no use to it. The timer here cancels the running query as that does.
 *
 * Whoever calls must be able to tell a cancellation from outside, which ends run_tasks(), from a
 * driver that took too long or raised query_canceled itself, which is only an outcome that is not
 * known: only the first keeps its SQLSTATE.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timeout.h"

#include "payguard.h"

static TimeoutId timer;
static bool is_registered = false;
static volatile sig_atomic_t has_fired = false;

static void start_timer(const Interval *timeout);
static void stop_timer(void);
static void fire(void);
static Datum ask(const char *driver, Datum task, Oid task_type, TupleDesc desc,
				 bool *isnull);
static bool is_cancelled_from_outside(const ErrorData *error);

PG_FUNCTION_INFO_V1(payguard_call_driver);

/*
 * call_driver(driver regproc, task payguard.task, timeout interval) → payguard.channel_reply
 *
 * NULL: the driver gave no row. Errors: 22004, 22023; the driver's own, where query_canceled
 * becomes 38000; 42804 where it returns something else.
 */
Datum
payguard_call_driver(PG_FUNCTION_ARGS)
{
	Interval *timeout = payguard_arg_lease(ARG(2), "timeout");
	MemoryContext caller = CurrentMemoryContext;
	TupleDesc desc;
	volatile Datum reply = (Datum) 0;
	bool isnull = true;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("driver");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "payguard: call_driver() returns no composite type");
	start_timer(timeout);
	PG_TRY();
	{
		reply = ask(DatumGetCString(DirectFunctionCall1(regprocout, PG_GETARG_DATUM(0))),
					PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1),
					get_fn_expr_argtype(fcinfo->flinfo, 1), desc, &isnull);
		stop_timer();
	}
	PG_CATCH();
	{
		ErrorData *error;

		stop_timer();
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_QUERY_CANCELED ||
			is_cancelled_from_outside(error))
			PG_RE_THROW();
		FlushErrorState();
		error->sqlerrcode = ERRCODE_EXTERNAL_ROUTINE_EXCEPTION;
		ReThrowError(error);
	}
	PG_END_TRY();
	if (isnull)
		PG_RETURN_NULL();
	return reply;
}

static void
start_timer(const Interval *timeout)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!is_registered)
	{
		timer = RegisterTimeout(USER_TIMEOUT, fire);
		is_registered = true;
	}
	has_fired = false;
	enable_timeout_at(timer, payguard_time_plus(now, timeout));
}

static void
stop_timer(void)
{
	disable_timeout(timer, false);
	/* a cancellation that came too late to cancel anything */
	if (has_fired)
		QueryCancelPending = false;
}

static void
fire(void)
{
	has_fired = true;
	QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/*
 * ask runs the driver, with the rights of whoever called. isnull: it gave no row.
 */
static Datum
ask(const char *driver, Datum task, Oid task_type, TupleDesc desc, bool *isnull)
{
	MemoryContext caller = CurrentMemoryContext;
	char *sql = psprintf("SELECT d.* FROM %s($1) d", driver);
	char nulls[] = {task == (Datum) 0 ? 'n' : ' ', '\0'};
	Datum reply = (Datum) 0;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "payguard: SPI_connect failed");
	if (SPI_execute_with_args(sql, 1, &task_type, &task, nulls, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "payguard: the driver was not called");
	*isnull = SPI_processed == 0;
	if (!*isnull)
	{
		TupleDesc given = SPI_tuptable->tupdesc;
		char **values = palloc0(sizeof(char *) * desc->natts);

		if (given->natts != desc->natts)
			ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
							errmsg("the driver does not return payguard.channel_reply")));
		for (int i = 0; i < desc->natts; i++)
			values[i] = SPI_getvalue(SPI_tuptable->vals[0], given, i + 1);
		MemoryContextSwitchTo(caller);
		reply = HeapTupleGetDatum(
			BuildTupleFromCStrings(TupleDescGetAttInMetadata(desc), values));
	}
	SPI_finish();
	MemoryContextSwitchTo(caller);
	return reply;
}

/*
 * is_cancelled_from_outside tells whether the server itself raised query_canceled, for somebody
 * else: only there it is raised by ProcessInterrupts().
 */
static bool
is_cancelled_from_outside(const ErrorData *error)
{
	return !has_fired && error->funcname &&
		   strcmp(error->funcname, "ProcessInterrupts") == 0;
}
