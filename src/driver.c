/*
 * driver.c
 *		A time-out for the channels' in-database drivers.
 *
 * run_tasks() commits between its steps, so statement_timeout, which counts from the client's
 * statement, is of no use to it. The timer here cancels the running query as that does; whoever
 * catches the cancellation asks stop_driver_timer() whether it was ours.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timeout.h"

#include "payguard.h"

static TimeoutId timer;
static bool is_registered = false;
static volatile sig_atomic_t has_fired = false;

static void
fire(void)
{
	has_fired = true;
	QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

PG_FUNCTION_INFO_V1(payguard_start_driver_timer);

/*
 * start_driver_timer(timeout interval) → void: cancels what runs when the time is over.
 * Errors: 22004, 22023.
 */
Datum
payguard_start_driver_timer(PG_FUNCTION_ARGS)
{
	Interval *timeout = payguard_arg_lease(ARG(0), "timeout");
	TimestampTz now = GetCurrentTimestamp();

	if (!is_registered)
	{
		timer = RegisterTimeout(USER_TIMEOUT, fire);
		is_registered = true;
	}
	has_fired = false;
	enable_timeout_at(timer, payguard_time_plus(now, timeout));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(payguard_stop_driver_timer);

/*
 * stop_driver_timer() → boolean: whether the time was over.
 */
Datum
payguard_stop_driver_timer(PG_FUNCTION_ARGS)
{
	if (is_registered)
		disable_timeout(timer, false);
	if (has_fired)
	{
		/* a cancellation that came too late to cancel anything */
		QueryCancelPending = false;
	}
	PG_RETURN_BOOL(has_fired);
}
