/*
 * driver.c
 *		Calls the channels' in-database drivers, for run_tasks(), with a time-out.
 *
 * run_tasks() commits between its steps. statement_timeout counts from the client's statement, so
 * it is of no use here. The timer of this file cancels the running query as statement_timeout does.
 *
 * A driver may call another one (a router, a fallback). The timer belongs to the innermost call and
 * goes off at the nearest deadline. On every way out it is given back to the outer call.
 *
 * Two things must be told apart. A cancellation from outside ends run_tasks(), and keeps its
 * SQLSTATE. A driver that took too long, or raised query_canceled itself, only has an unknown
 * outcome, and its error becomes 38000. The server has one flag for all cancellations. So a signal
 * handler notes a cancellation from outside; it counts even if the driver's time is over as well.
 */
#include "postgres.h"

#include <signal.h>

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/argument.h"
#include "base/value.h"

/* A driver that is running. */
typedef struct DriverCall
{
	struct DriverCall *outer; /* whose driver has called this one, or NULL */
	TimestampTz deadline;	  /* the outer one's, where that is nearer */
} DriverCall;

static TimeoutId timer;
static bool is_registered = false;
static DriverCall *running = NULL;		  /* the innermost one; it stands on the stack */
static struct sigaction server_on_cancel; /* what the server does, while a driver runs */

/* The time of the innermost call is over. */
static volatile sig_atomic_t has_fired = false;

/* Somebody else has cancelled the query since the outermost call began. */
static volatile sig_atomic_t was_cancelled = false;

static void start_call(DriverCall *call, const Interval *timeout);
static bool end_call(const DriverCall *call);
static void fire(void);
static void hear_cancellations(void);
static void note_cancel(int number, siginfo_t *info, void *context);
static Datum ask(const char *driver, Datum task, Oid task_type, TupleDesc desc,
				 bool *isnull);
static bool is_cancellation(const ErrorData *error);

PG_FUNCTION_INFO_V1(payguard_call_driver);

/*
 * call_driver(driver regproc, task payguard.task, timeout interval) → payguard.channel_reply
 *
 * NULL: the driver gave no row. Errors: 22004, 22023; the driver's own, where query_canceled
 * becomes 38000, unless the time of an outer call is over, too; 42804 where it returns something
 * else.
 */
Datum
payguard_call_driver(PG_FUNCTION_ARGS)
{
	Interval *timeout = payguard_arg_lease(ARG(2), "timeout");
	MemoryContext caller = CurrentMemoryContext;
	DriverCall call;
	TupleDesc desc;
	volatile Datum reply = (Datum) 0;
	bool isnull = true;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("driver");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "payguard: call_driver() returns no composite type");
	start_call(&call, timeout);
	PG_TRY();
	{
		reply = ask(DatumGetCString(DirectFunctionCall1(regprocout, PG_GETARG_DATUM(0))),
					PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1),
					get_fn_expr_argtype(fcinfo->flinfo, 1), desc, &isnull);
		end_call(&call);
	}
	PG_CATCH();
	{
		bool over = end_call(&call);
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		if (is_cancellation(error) && (was_cancelled || !over))
		{
			/* from outside: what is pending is the timer's, or the same once more */
			if (over)
				QueryCancelPending = false;
			PG_RE_THROW();
		}
		/* the outer call's time is over, too: its driver is not to go on with another one */
		if (has_fired)
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

/*
 * start_call starts the timer for a call, which becomes the innermost one.
 */
static void
start_call(DriverCall *call, const Interval *timeout)
{
	TimestampTz deadline = payguard_time_plus(GetCurrentTimestamp(), timeout);

	if (!is_registered)
	{
		timer = RegisterTimeout(USER_TIMEOUT, fire);
		is_registered = true;
	}
	call->outer = running;
	call->deadline = running ? Min(deadline, running->deadline) : deadline;
	if (running == NULL)
	{
		has_fired = false;
		hear_cancellations();
	}
	running = call;
	enable_timeout_at(timer, call->deadline);
}

/*
 * end_call gives the timer back to the outer call, on every way out, and tells whether the time was
 * over. Where that of the outer call is, too, has_fired stays for it.
 */
static bool
end_call(const DriverCall *call)
{
	bool over;

	disable_timeout(timer, false);
	over = has_fired;
	running = call->outer;
	if (running == NULL)
		sigaction(SIGINT, &server_on_cancel, NULL);
	if (over && running && running->deadline <= call->deadline)
		return true;
	/* a cancellation that came too late to cancel anything */
	if (over && !was_cancelled)
		QueryCancelPending = false;
	has_fired = false;
	if (running)
		enable_timeout_at(timer, running->deadline);
	return over;
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
 * hear_cancellations has note_cancel() called before what the server does about a SIGINT; nothing, where
 * the server does nothing.
 */
static void
hear_cancellations(void)
{
	struct sigaction action;

	was_cancelled = false;
	sigaction(SIGINT, NULL, &server_on_cancel);
	if (server_on_cancel.sa_handler == SIG_IGN || server_on_cancel.sa_handler == SIG_DFL)
		return;
	action = server_on_cancel;
	action.sa_flags |= SA_SIGINFO;
	action.sa_sigaction = note_cancel;
	sigaction(SIGINT, &action, NULL);
	/* one that came a moment before */
	if (QueryCancelPending)
		was_cancelled = true;
}

/*
 * note_cancel notes that somebody cancels the query. A lock_timeout comes by the same signal, but is
 * no such thing.
 */
static void
note_cancel(int number, siginfo_t *info, void *context)
{
	if (!get_timeout_indicator(LOCK_TIMEOUT, false))
		was_cancelled = true;
	if (server_on_cancel.sa_flags & SA_SIGINFO)
		server_on_cancel.sa_sigaction(number, info, context);
	else
		server_on_cancel.sa_handler(number);
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
	if (SPI_execute_with_args(sql, 1, &task_type, &task, nulls, false, 1) !=
		SPI_OK_SELECT)
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
 * is_cancellation tells whether the server itself raised query_canceled: only there it is raised by
 * ProcessInterrupts().
 */
static bool
is_cancellation(const ErrorData *error)
{
	return error->funcname && strcmp(error->funcname, "ProcessInterrupts") == 0;
}
