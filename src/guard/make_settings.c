/*
 * make_settings.c
 *		A guard's settings made of guard_table()'s arguments.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#include "base/argument.h"
#include "base/json.h"
#include "base/text.h"
#include "guard/make_settings.h"
#include "guard/once.h"
#include "guard/settings.h"
#include "guard/trigger.h"

static void append_order_settings(StringInfo settings, FunctionCallInfo fcinfo, Oid table,
								  const text *order_id, const List *paid);
static void check_order_settings(const text *order_id, const List *paid,
								 const text *amount, const text *currency,
								 const List *closed, bool follows);
static char *consumer_of(Oid table);
static void append_text(StringInfo settings, const char *key, text *value);
static void append_strings(StringInfo settings, const char *key, List *strings);
static List *strings_argument(FunctionCallInfo fcinfo, int n, const char *name);
static List *first_states(const Guard *guard);

/*
 * payguard_guard_make_settings makes the guard's argument of guard_table()'s arguments.
 */
Jsonb *
payguard_guard_make_settings(FunctionCallInfo fcinfo, Relation relation)
{
	StringInfoData settings;
	List *initial = strings_argument(fcinfo, 4, "initial");
	List *frozen = strings_argument(fcinfo, 5, "immutable_columns");
	List *once = strings_argument(fcinfo, 6, "once");
	List *paid = strings_argument(fcinfo, 9, "paid_states");
	List *success = strings_argument(fcinfo, 10, "success_states");
	text *version = payguard_arg_id_or_null(ARG(3), "version_column");
	text *order_id = payguard_arg_id_or_null(ARG(8), "order_id_column");
	/* paid_states have two uses: without an order they say what once counts */
	bool only_once = order_id == NULL && once && !success;
	Jsonb *transitions = payguard_arg_json_or_null(ARG(2), "transitions");
	ListCell *cell;

	if (transitions == NULL)
		payguard_arg_missing("transitions");
	initStringInfo(&settings);
	appendStringInfo(&settings, "{\"transitions\": %s",
					 JsonbToCString(NULL, &transitions->root, VARSIZE(transitions)));
	append_text(&settings, "status_column", payguard_arg_id(ARG(1), "status_column"));
	append_text(&settings, "version_column", version);
	append_text(&settings, "order_id_column", order_id);
	foreach (cell, payguard_once_partition_columns(relation))
		if (!payguard_list_has(frozen, lfirst(cell)))
			frozen = lappend(frozen, lfirst(cell));
	append_strings(&settings, "immutable_columns", frozen);
	append_strings(&settings, "once", once);
	append_strings(&settings, "allow_delete",
				   strings_argument(fcinfo, 7, "allow_delete"));
	append_strings(&settings, "paid_states", only_once ? NIL : paid);
	append_strings(&settings, "success_states", success ? success : once ? paid : NIL);
	appendStringInfo(&settings, ", \"valid\": %s",
					 !PG_ARGISNULL(11) && PG_GETARG_BOOL(11) ? "false" : "true");
	append_order_settings(&settings, fcinfo, RelationGetRelid(relation), order_id,
						  only_once ? NIL : paid);
	if (once && !success && !paid)
		payguard_arg_bad("success_states", "It is missing.",
						 "Name the states in which a row counts for once: give "
						 "success_states, or paid_states.");
	if (initial == NIL)
		initial = first_states(
			payguard_guard_parse_for(psprintf("%s}", settings.data), relation));
	append_strings(&settings, "initial", initial);
	appendStringInfoChar(&settings, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(settings.data)));
}

/*
 * append_order_settings adds what concerns payguard's orders beyond order_id_column and paid_states.
 */
static void
append_order_settings(StringInfo settings, FunctionCallInfo fcinfo, Oid table,
					  const text *order_id, const List *paid)
{
	text *amount = NULL;
	text *currency = NULL;
	List *closed = NIL;
	Jsonb *follow = NULL;

	/* the scripts before 1.2.0 have no more */
	if (PG_NARGS() > 12)
	{
		amount = payguard_arg_id_or_null(ARG(12), "amount_column");
		currency = payguard_arg_id_or_null(ARG(13), "currency_column");
		closed = strings_argument(fcinfo, 14, "closed_states");
		follow = payguard_arg_json_or_null(ARG(15), "follow");
	}
	check_order_settings(order_id, paid, amount, currency, closed, follow != NULL);
	append_text(settings, "amount_column", amount);
	append_text(settings, "currency_column", currency);
	append_strings(settings, "closed_states", closed);
	if (follow == NULL)
		return;
	appendStringInfo(settings, ", \"follow\": %s",
					 JsonbToCString(NULL, &follow->root, VARSIZE(follow)));
	append_text(settings, "consumer", payguard_text(consumer_of(table)));
}

static void
check_order_settings(const text *order_id, const List *paid, const text *amount,
					 const text *currency, const List *closed, bool follows)
{
	ListCell *cell;

	if (order_id && paid == NIL && closed == NIL && !follows)
		payguard_arg_bad("paid_states", "It is missing.",
						 "Give both, or neither of them.");
	if (order_id == NULL && paid)
		payguard_arg_bad("order_id_column", "It is missing.",
						 "Give both, or neither of them.");
	if (order_id == NULL && (closed || follows))
		payguard_arg_bad("order_id_column", "It is missing.",
						 "Name the column that has the id of payguard's order: "
						 "closed_states and follow need it.");
	if ((amount == NULL) != (currency == NULL))
		payguard_arg_bad(amount ? "currency_column" : "amount_column", "It is missing.",
						 "Give both, or neither of them.");
	if (amount && paid == NIL)
		payguard_arg_bad(
			"paid_states", "It is missing.",
			"Name the states in which a row has to have the amount of its paid order.");
	foreach (cell, closed)
		if (payguard_list_has(paid, lfirst(cell)))
			payguard_arg_bad(
				"closed_states",
				psprintf("paid_states has \"%s\", too.", (char *) lfirst(cell)),
				"A row is in one of them or in the other.");
}

/*
 * consumer_of names the reader of events whose position belongs to a table's guard: by the table's number, so that the
 * position stays where the guard is taken off and put on again. In a restored database an older guard may have that
 * name.
 */
static char *
consumer_of(Oid table)
{
	for (int i = 0;; i++)
	{
		char *name = i == 0 ? psprintf("%s%u", GUARD_CONSUMER, table)
							: psprintf("%s%u.%d", GUARD_CONSUMER, table, i);
		bool taken = false;
		ListCell *cell;

		CHECK_FOR_INTERRUPTS();
		foreach (cell, payguard_guard_triggers())
		{
			Jsonb *settings = DatumGetJsonbP(DirectFunctionCall1(
				jsonb_in, CStringGetDatum(((GuardTrigger *) lfirst(cell))->settings)));
			text *other = payguard_json_text(settings, "consumer");

			taken = taken || (other && payguard_text_is(other, name));
		}
		if (!taken)
			return name;
	}
}

static void
append_text(StringInfo settings, const char *key, text *value)
{
	if (value == NULL)
		return;
	appendStringInfo(settings, ", \"%s\": ", key);
	escape_json(settings, payguard_str(value));
}

static void
append_strings(StringInfo settings, const char *key, List *strings)
{
	ListCell *cell;
	const char *comma = "";

	if (strings == NIL)
		return;
	appendStringInfo(settings, ", \"%s\": [", key);
	foreach (cell, strings)
	{
		appendStringInfoString(settings, comma);
		escape_json(settings, lfirst(cell));
		comma = ", ";
	}
	appendStringInfoChar(settings, ']');
}

static List *
strings_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	Datum *elements;
	bool *nulls;
	int count;
	List *strings = NIL;

	if (PG_ARGISNULL(n))
		return NIL;
	payguard_arg_check_length(PG_GETARG_ARRAYTYPE_P(n), name);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		strings =
			lappend(strings, unconstify(char *, payguard_str(payguard_arg_id(
													elements[i], nulls[i],
													psprintf("%s[%d]", name, i + 1)))));
	}
	return strings;
}

/*
 * first_states lists the states that no other leads to: where rows begin if nobody says.
 */
static List *
first_states(const Guard *guard)
{
	List *states = NIL;

	for (int to = 0; to < guard->nstates; to++)
	{
		bool first = true;

		for (int from = 0; from < guard->nstates; from++)
			if (from != to && guard->moves[MOVE(guard, from, to)])
				first = false;
		if (first)
			states = lappend(states, unconstify(char *, guard->states[to].name));
	}
	if (states == NIL)
		payguard_arg_bad("initial",
						 "It is missing, and each state has another that leads to it.",
						 "Say in which states a row may be inserted.");
	return states;
}

/*
 * payguard_guard_parse_for reads settings that are to fit a table; error 22023.
 */
const Guard *
payguard_guard_parse_for(const char *settings, Relation relation)
{
	const char *problem;
	const Guard *guard =
		payguard_guard_parse(settings, RelationGetDescr(relation), &problem);

	if (guard == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the guard does not fit relation \"%s\"",
					RelationGetRelationName(relation)),
			 errdetail("%s Nothing has been changed.", problem),
			 errhint("%s", strncmp(problem, "follow ", 7) == 0
							   ? "follow is a JSON object: statuses of orders (unpaid, "
								 "paying, paid, refunded, cancelled, expired), each with "
								 "the state that its row gets."
							   : "transitions is a JSON object: each state, and the "
								 "array of states that it may go to.")));
	return guard;
}
