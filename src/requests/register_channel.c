/*
 * register_channel.c
 *		Channels: where money moves, and how far each can be trusted.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/argument.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/event.h"

static void read_newer(FunctionCallInfo fcinfo, Channel *asked);
static void check_reopen_on(const ArrayType *reopen_on);
static bool insert_channel(const Channel *asked, Channel *channel);
static void update_channel(const Channel *asked, Channel *channel);
static Interval *parse_interval(const char *value);
static void check_one_of(const text *value, const char *name, const char *const *known,
						 const char *hint);
static text *find_driver(const text *name);
static bool is_function_name(const text *name);

static const char *const late_successes[] = {"accept", "accept_expired", "refund", NULL};
static const char *const surpluses[] = {"refund", "review", NULL};
static const char *const reversals[] = {"bank_return", "chargeback", "failed", NULL};

PG_FUNCTION_INFO_V1(payguard_register_channel);

/*
 * register_channel(name, internal, driver, first_query_after, max_query_interval, alert_after,
 *					not_found_is_final_after, late_success, idempotent_charge, surplus,
 *					reopen_on, processing_alert_after) → channels
 *
 * NULL is the documented default at the first registration, and leaves a setting as it is
 * later. Errors: 22004, 22023 (the built-in channel's settings are fixed; `internal` stays
 * what it was). The scripts before 1.2.0 have nothing behind
 * idempotent_charge.
 */
Datum
payguard_register_channel(PG_FUNCTION_ARGS)
{
	Channel asked = {
		.name = payguard_arg_id(ARG(0), "name"),
		.internal = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1),
		.driver = payguard_arg_id_or_null(ARG(2), "driver"),
		.first_query_after = payguard_arg_interval_or_null(ARG(3), "first_query_after"),
		.max_query_interval = payguard_arg_interval_or_null(ARG(4), "max_query_interval"),
		.alert_after = payguard_arg_interval_or_null(ARG(5), "alert_after"),
		.not_found_is_final_after =
			payguard_arg_interval_or_null(ARG(6), "not_found_is_final_after"),
		.late_success = payguard_arg_id_or_null(ARG(7), "late_success"),
		.idempotent_charge = PG_ARGISNULL(8) || PG_GETARG_BOOL(8),
	};
	Channel channel;

	if (PG_NARGS() > 9)
		read_newer(fcinfo, &asked);
	check_one_of(asked.late_success, "late_success", late_successes,
				 "Use accept, accept_expired or refund.");
	check_one_of(asked.surplus, "surplus", surpluses, "Use refund or review.");
	asked.driver = find_driver(asked.driver);
	if (payguard_text_is(asked.name, INTERNAL_CHANNEL))
		payguard_arg_bad("name", "The channel \"internal\" is built in.",
						 "Register a channel with another name.");

	payguard_request_begin("register_channel()");
	if (payguard_channel_find(asked.name, &channel) || !insert_channel(&asked, &channel))
	{
		if (!payguard_store_lock(&payguard_channels, CHANNEL_BY_NAME, &asked, &channel))
			payguard_store_suppressed(&payguard_channels);
		if (!PG_ARGISNULL(1) && asked.internal != channel.internal)
			payguard_arg_bad("internal",
							 "The channel was registered with another value. This "
							 "setting cannot be changed.",
							 "Register a channel with another name.");
		if (PG_ARGISNULL(8))
			asked.idempotent_charge = channel.idempotent_charge;
		update_channel(&asked, &channel);
	}
	payguard_event_write("channel.registered", ABOUT_NOTHING, NULL, NULL, NO_ID,
						 payguard_json("channel", 't', channel.name, NULL));
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_channels, &channel);
}

/*
 * read_newer reads the settings that there are since 1.2.0.
 */
static void
read_newer(FunctionCallInfo fcinfo, Channel *asked)
{
	asked->surplus = payguard_arg_id_or_null(ARG(9), "surplus");
	asked->processing_alert_after =
		payguard_arg_interval_or_null(ARG(11), "processing_alert_after");
	if (PG_ARGISNULL(10))
		return;
	asked->reopen_on = PG_GETARG_ARRAYTYPE_P_COPY(10);
	payguard_arg_check_length(asked->reopen_on, "reopen_on");
	check_reopen_on(asked->reopen_on);
}

static void
check_reopen_on(const ArrayType *reopen_on)
{
	Datum *kinds;
	bool *nulls;
	int n;

	deconstruct_array(unconstify(ArrayType *, reopen_on), TEXTOID, -1, false,
					  TYPALIGN_INT, &kinds, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		check_one_of(payguard_arg_id(kinds[i], nulls[i], "reopen_on"), "reopen_on",
					 reversals, "Use bank_return, chargeback or failed.");
	}
}

/*
 * insert_channel registers a channel for the first time; false: somebody else just did.
 */
static bool
insert_channel(const Channel *asked, Channel *channel)
{
	*channel = *asked;
	channel->created_at = channel->updated_at = GetCurrentTimestamp();
	if (!channel->first_query_after)
		channel->first_query_after = parse_interval("30 seconds");
	if (!channel->max_query_interval)
		channel->max_query_interval = parse_interval("1 hour");
	if (!channel->alert_after)
		channel->alert_after = parse_interval("15 minutes");
	if (!channel->not_found_is_final_after)
		channel->not_found_is_final_after = parse_interval("1 day");
	if (!channel->late_success)
		channel->late_success = payguard_text("accept");
	if (!channel->surplus)
		channel->surplus = payguard_text("refund");
	if (!channel->reopen_on)
	{
		Datum kind = CStringGetTextDatum("bank_return");

		channel->reopen_on = construct_array(&kind, 1, TEXTOID, -1, false, TYPALIGN_INT);
	}
	if (!channel->processing_alert_after)
		channel->processing_alert_after = parse_interval("10 days");
	return payguard_store_insert_new(&payguard_channels, CHANNEL_BY_NAME, channel);
}

/*
 * update_channel changes the settings that were given; idempotent_charge always is.
 */
static void
update_channel(const Channel *asked, Channel *channel)
{
	if (asked->driver)
		channel->driver = asked->driver;
	if (asked->first_query_after)
		channel->first_query_after = asked->first_query_after;
	if (asked->max_query_interval)
		channel->max_query_interval = asked->max_query_interval;
	if (asked->alert_after)
		channel->alert_after = asked->alert_after;
	if (asked->not_found_is_final_after)
		channel->not_found_is_final_after = asked->not_found_is_final_after;
	if (asked->late_success)
		channel->late_success = asked->late_success;
	if (asked->surplus)
		channel->surplus = asked->surplus;
	if (asked->reopen_on)
		channel->reopen_on = asked->reopen_on;
	if (asked->processing_alert_after)
		channel->processing_alert_after = asked->processing_alert_after;
	channel->idempotent_charge = asked->idempotent_charge;
	channel->updated_at = GetCurrentTimestamp();
	payguard_store_update(
		&payguard_channels,
		FIELD(CHANNEL_F_DRIVER) | FIELD(CHANNEL_F_FIRST_QUERY_AFTER) |
			FIELD(CHANNEL_F_MAX_QUERY_INTERVAL) | FIELD(CHANNEL_F_ALERT_AFTER) |
			FIELD(CHANNEL_F_NOT_FOUND_IS_FINAL_AFTER) | FIELD(CHANNEL_F_LATE_SUCCESS) |
			FIELD(CHANNEL_F_IDEMPOTENT_CHARGE) | FIELD(CHANNEL_F_UPDATED_AT) |
			FIELD(CHANNEL_F_SURPLUS) | FIELD(CHANNEL_F_REOPEN_ON) |
			FIELD(CHANNEL_F_PROCESSING_ALERT_AFTER),
		channel);
}

static Interval *
parse_interval(const char *value)
{
	return DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(value),
												 ObjectIdGetDatum(InvalidOid),
												 Int32GetDatum(-1)));
}

/*
 * check_one_of refuses a setting that is none of the known ones, of which the last is NULL.
 */
static void
check_one_of(const text *value, const char *name, const char *const *known,
			 const char *hint)
{
	if (value == NULL)
		return;
	while (*known != NULL && !payguard_text_is(value, *known))
		known++;
	if (*known == NULL)
		payguard_arg_bad(name, psprintf("\"%s\" is not known.", payguard_str(value)),
						 hint);
}

/*
 * find_driver returns the qualified name of a driver, so that it does not depend on who calls
 * it with which search_path. NULL: none. Refuses one that is not there.
 */
static text *
find_driver(const text *name)
{
	LOCAL_FCINFO(fcinfo, 1);
	Oid driver = InvalidOid;

	if (name == NULL)
		return NULL;
	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = PointerGetDatum(name);
	fcinfo->args[0].isnull = false;
	if (is_function_name(name))
		driver = DatumGetObjectId(to_regproc(fcinfo));
	if (!OidIsValid(driver))
		payguard_arg_bad(
			"driver",
			psprintf("There is not exactly one function \"%s\".", payguard_str(name)),
			"Give the schema-qualified name of the driver function.");
	return payguard_text(quote_qualified_identifier(
		get_namespace_name(get_func_namespace(driver)), get_func_name(driver)));
}

/*
 * is_function_name tells whether to_regproc() takes a text for a name in every version: 15
 * raises an error of its own for bad syntax, and newer ones take a number or "-" for an OID.
 */
static bool
is_function_name(const text *name)
{
	char *copy = text_to_cstring(name);
	List *names;

	if (strspn(copy, "-0123456789") == strlen(copy))
		return false;
	return SplitIdentifierString(copy, '.', &names) && list_length(names) <= 2;
}
