/*
 * settings.c
 *		A guard's settings: read from the arguments of its trigger, and what they say of a row.
 */
#include "postgres.h"

#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "rules/machine.h"
#include "base/json.h"
#include "base/text.h"
#include "guard/settings.h"

static bool find_state(const Guard *guard, const char *name, int length, int *place);
static bool parse_columns(Guard *guard, Jsonb *settings, TupleDesc desc,
						  const char **problem);
static bool parse_amount(Guard *guard, Jsonb *settings, TupleDesc desc,
						 const char **problem);
static bool parse_column(Guard *guard, Jsonb *settings, const char *key, TupleDesc desc,
						 AttrNumber *column, const char **problem);
static bool add_columns(Guard *guard, GuardColumns *columns, List *names, TupleDesc desc,
						const char **problem);
static AttrNumber find_column(TupleDesc desc, const char *name, const char **problem);
static bool parse_states(Guard *guard, Jsonb *settings, const char **problem);
static bool read_graph(Guard *guard, JsonbContainer *graph, const char **problem);
static bool add_state(Guard *guard, const char *name, int length);
static void read_moves(Guard *guard, JsonbContainer *graph);
static bool find_labels(Guard *guard, const char **problem);
static bool mark_states(Guard *guard, Jsonb *settings, const char *key, size_t flag,
						const char **problem);
static bool parse_follow(Guard *guard, Jsonb *settings, const char **problem);
static int order_status(const char *name, int length);

/*
 * payguard_guard_state returns the index of a status in the guard's states; -1: it is
 * none.
 */
int
payguard_guard_state(const Guard *guard, Datum value, bool isnull)
{
	text *status;
	int place;

	if (isnull)
		return -1;
	if (guard->is_enum)
	{
		for (int i = 0; i < guard->nstates; i++)
			if (guard->states[i].label == DatumGetObjectId(value))
				return i;
		return -1;
	}
	status = DatumGetTextPP(value);
	return find_state(guard, VARDATA_ANY(status), VARSIZE_ANY_EXHDR(status), &place)
			   ? place
			   : -1;
}

/*
 * find_state looks a name up among the states. Where it is none of them, *place is where it
 * would stand.
 */
static bool
find_state(const Guard *guard, const char *name, int length, int *place)
{
	int low = 0;
	int high = guard->nstates;

	while (low < high)
	{
		int middle = low + (high - low) / 2;
		const GuardState *state = &guard->states[middle];
		int order = length != state->length ? length - state->length
											: memcmp(name, state->name, length);

		if (order == 0)
		{
			*place = middle;
			return true;
		}
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	*place = low;
	return false;
}

/*
 * payguard_guard_value writes a value as its type does. Types' output functions are C,
 * and no cast of the user's runs.
 */
const char *
payguard_guard_value(TupleDesc desc, AttrNumber column, Datum value, bool isnull)
{
	Oid output;
	bool varlena;

	if (isnull)
		return "null";
	getTypeOutputInfo(TupleDescAttr(desc, column - 1)->atttypid, &output, &varlena);
	return OidOutputFunctionCall(output, value);
}

/*
 * payguard_guard_status_of writes a row's status for messages, quoted.
 */
const char *
payguard_guard_status_of(const Guard *guard, TupleTableSlot *row)
{
	bool isnull;
	Datum value = slot_getattr(row, guard->status, &isnull);

	if (isnull)
		return "null";
	return psprintf("\"%s\"", payguard_guard_value(row->tts_tupleDescriptor,
												   guard->status, value, false));
}

/*
 * payguard_guard_parse reads a guard's settings for a table, into the current memory
 * context. NULL: they do not fit, and *problem is a sentence that says why.
 */
Guard *
payguard_guard_parse(const char *settings, TupleDesc desc, const char **problem)
{
	Jsonb *json =
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(settings)));
	Guard *guard = palloc0(sizeof(Guard));

	*problem = "The settings are no JSON object.";
	if (!JB_ROOT_IS_OBJECT(json))
		return NULL;
	if (!parse_columns(guard, json, desc, problem) ||
		!parse_states(guard, json, problem) || !parse_follow(guard, json, problem))
		return NULL;
	return guard;
}

static bool
parse_columns(Guard *guard, Jsonb *settings, TupleDesc desc, const char **problem)
{
	*problem = "The settings name no status column.";
	if (!parse_column(guard, settings, "status_column", desc, &guard->status, problem) ||
		!AttributeNumberIsValid(guard->status))
		return false;
	guard->status_type = getBaseType(TupleDescAttr(desc, guard->status - 1)->atttypid);
	guard->is_enum = get_typtype(guard->status_type) == TYPTYPE_ENUM;
	if (!guard->is_enum && guard->status_type != TEXTOID &&
		guard->status_type != VARCHAROID)
	{
		*problem = psprintf("Column \"%s\" is not of type text, varchar or an enum.",
							NameStr(TupleDescAttr(desc, guard->status - 1)->attname));
		return false;
	}
	if (!parse_column(guard, settings, "version_column", desc, &guard->version, problem))
		return false;
	if (AttributeNumberIsValid(guard->version))
	{
		guard->version_type =
			getBaseType(TupleDescAttr(desc, guard->version - 1)->atttypid);
		if (guard->version_type != INT2OID && guard->version_type != INT4OID &&
			guard->version_type != INT8OID)
		{
			*problem =
				psprintf("Column \"%s\" is not of type smallint, integer or bigint.",
						 NameStr(TupleDescAttr(desc, guard->version - 1)->attname));
			return false;
		}
	}
	if (!parse_column(guard, settings, "order_id_column", desc, &guard->order_id,
					  problem) ||
		!parse_amount(guard, settings, desc, problem))
		return false;
	if (!add_columns(guard, &guard->frozen,
					 payguard_guard_strings(settings, "immutable_columns"), desc,
					 problem) ||
		!add_columns(guard, &guard->once, payguard_guard_strings(settings, "once"), desc,
					 problem))
		return false;
	guard->order.columns = palloc0(sizeof(AttrNumber));
	if (AttributeNumberIsValid(guard->order_id))
		guard->order.columns[guard->order.n++] = guard->order_id;
	guard->held.columns = palloc0((guard->once.n + 3) * sizeof(AttrNumber));
	for (int i = 0; i < guard->once.n; i++)
		guard->held.columns[guard->held.n++] = guard->once.columns[i];
	if (AttributeNumberIsValid(guard->order_id))
		guard->held.columns[guard->held.n++] = guard->order_id;
	if (AttributeNumberIsValid(guard->amount))
	{
		guard->held.columns[guard->held.n++] = guard->amount;
		guard->held.columns[guard->held.n++] = guard->currency;
	}
	return true;
}

/*
 * parse_amount reads the columns that say how much a row's order is over: both, or none.
 */
static bool
parse_amount(Guard *guard, Jsonb *settings, TupleDesc desc, const char **problem)
{
	Oid type;

	if (!parse_column(guard, settings, "amount_column", desc, &guard->amount, problem) ||
		!parse_column(guard, settings, "currency_column", desc, &guard->currency,
					  problem))
		return false;
	*problem = "The settings name an amount's column without a currency's, or without an "
			   "order's.";
	if (AttributeNumberIsValid(guard->amount) !=
			AttributeNumberIsValid(guard->currency) ||
		(AttributeNumberIsValid(guard->amount) &&
		 !AttributeNumberIsValid(guard->order_id)))
		return false;
	if (!AttributeNumberIsValid(guard->amount))
		return true;
	guard->amount_type = getBaseType(TupleDescAttr(desc, guard->amount - 1)->atttypid);
	if (guard->amount_type != NUMERICOID && guard->amount_type != INT2OID &&
		guard->amount_type != INT4OID && guard->amount_type != INT8OID)
	{
		*problem = psprintf("Column \"%s\" is not of type numeric (major units) or "
							"smallint, integer or bigint (minor units).",
							NameStr(TupleDescAttr(desc, guard->amount - 1)->attname));
		return false;
	}
	type = getBaseType(TupleDescAttr(desc, guard->currency - 1)->atttypid);
	if (type != TEXTOID && type != VARCHAROID && type != BPCHAROID)
	{
		*problem = psprintf("Column \"%s\" is not of type text, varchar or char.",
							NameStr(TupleDescAttr(desc, guard->currency - 1)->attname));
		return false;
	}
	return true;
}

/*
 * parse_column finds the column that a setting names; without that setting there is none.
 */
static bool
parse_column(Guard *guard, Jsonb *settings, const char *key, TupleDesc desc,
			 AttrNumber *column, const char **problem)
{
	text *name = payguard_json_text(settings, key);
	GuardColumns found;

	if (name == NULL)
		return true;
	if (!add_columns(guard, &found, list_make1((char *) payguard_str(name)), desc,
					 problem))
		return false;
	*column = found.columns[0];
	return true;
}

/*
 * add_columns finds columns by their names, and adds them to all of the guard. One that is named
 * twice counts once.
 */
static bool
add_columns(Guard *guard, GuardColumns *columns, List *names, TupleDesc desc,
			const char **problem)
{
	GuardColumns *all = &guard->columns;
	Bitmapset *known = NULL;
	ListCell *cell;

	columns->n = 0;
	columns->columns = palloc((desc->natts + 1) * sizeof(AttrNumber));
	foreach (cell, names)
	{
		AttrNumber column = find_column(desc, lfirst(cell), problem);

		CHECK_FOR_INTERRUPTS();
		if (!AttributeNumberIsValid(column))
			return false;
		if (bms_is_member(column, known))
			continue;
		known = bms_add_member(known, column);
		columns->columns[columns->n++] = column;
		all->columns = all->columns == NULL
						   ? palloc(sizeof(AttrNumber))
						   : repalloc(all->columns, (all->n + 1) * sizeof(AttrNumber));
		all->columns[all->n++] = column;
	}
	return true;
}

static AttrNumber
find_column(TupleDesc desc, const char *name, const char **problem)
{
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped &&
			strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) == 0)
			return i + 1;
	*problem = psprintf("There is no column \"%s\".", name);
	return InvalidAttrNumber;
}

static bool
parse_states(Guard *guard, Jsonb *settings, const char **problem)
{
	JsonbValue buffer;
	JsonbValue *graph =
		getKeyJsonValueFromContainer(&settings->root, "transitions", 11, &buffer);

	*problem = "The transitions are no JSON object of arrays of states.";
	if (!graph || graph->type != jbvBinary ||
		!JsonContainerIsObject(graph->val.binary.data))
		return false;
	if (!read_graph(guard, graph->val.binary.data, problem) || guard->nstates == 0)
		return false;
	guard->moves = palloc0((Size) guard->nstates * guard->nstates * sizeof(bool));
	read_moves(guard, graph->val.binary.data);
	if ((guard->is_enum && !find_labels(guard, problem)) ||
		!mark_states(guard, settings, "initial", offsetof(GuardState, initial),
					 problem) ||
		!mark_states(guard, settings, "allow_delete", offsetof(GuardState, deletable),
					 problem) ||
		!mark_states(guard, settings, "paid_states", offsetof(GuardState, paid),
					 problem) ||
		!mark_states(guard, settings, "closed_states", offsetof(GuardState, closed),
					 problem) ||
		!mark_states(guard, settings, "success_states", offsetof(GuardState, success),
					 problem))
		return false;
	/* without an order they were the default of success_states, in guards of 1.1.0 */
	for (int i = 0; i < guard->nstates; i++)
		if (!AttributeNumberIsValid(guard->order_id))
			guard->states[i].paid = false;
	return true;
}

/*
 * read_graph lists the states of a graph, an object of arrays of strings; false: it is
 * malformed, or has too many.
 */
static bool
read_graph(Guard *guard, JsonbContainer *graph, const char **problem)
{
	JsonbIterator *iterator = JsonbIteratorInit(graph);
	JsonbIteratorToken token;
	JsonbValue value;
	int depth = 0;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT)
			depth++;
		else if (token == WJB_END_ARRAY || token == WJB_END_OBJECT)
			depth--;
		/* a key at the first level, whose value is an array of strings */
		if ((token == WJB_BEGIN_ARRAY && depth != 2) ||
			(token == WJB_BEGIN_OBJECT && depth != 1) || token == WJB_VALUE ||
			(token == WJB_ELEM && value.type != jbvString))
			return false;
		if ((token == WJB_KEY || token == WJB_ELEM) &&
			!add_state(guard, value.val.string.val, value.val.string.len))
		{
			*problem =
				psprintf("The transitions have more than %d states.", MAX_GUARD_STATES);
			return false;
		}
	}
	return true;
}

/*
 * add_state adds a state that is not there yet; false: there would be too many.
 */
static bool
add_state(Guard *guard, const char *name, int length)
{
	GuardState *state;
	int place;

	if (find_state(guard, name, length, &place))
		return true;
	if (guard->nstates == MAX_GUARD_STATES)
		return false;
	/* grows by half: most guards have few states */
	if (guard->nstates == 0)
		guard->states = palloc((guard->room = 8) * sizeof(GuardState));
	else if (guard->nstates == guard->room)
		guard->states = repalloc(guard->states,
								 (guard->room += guard->room / 2) * sizeof(GuardState));
	state = &guard->states[place];
	memmove(state + 1, state, (guard->nstates - place) * sizeof(GuardState));
	*state = (GuardState){.name = pnstrdup(name, length), .length = length};
	guard->nstates++;
	return true;
}

/*
 * read_moves notes which state may go to which. The graph has been read before.
 */
static void
read_moves(Guard *guard, JsonbContainer *graph)
{
	JsonbIterator *iterator = JsonbIteratorInit(graph);
	JsonbIteratorToken token;
	JsonbValue value;
	int from = 0;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		int state;

		CHECK_FOR_INTERRUPTS();
		if (token != WJB_KEY && token != WJB_ELEM)
			continue;
		if (!find_state(guard, value.val.string.val, value.val.string.len, &state))
			elog(ERROR, "payguard: a state of the graph is missing");
		if (token == WJB_KEY)
			from = state;
		else
			guard->moves[MOVE(guard, from, state)] = true;
	}
}

/*
 * find_labels finds the states among the values of the status column's type.
 */
static bool
find_labels(Guard *guard, const char **problem)
{
	for (int i = 0; i < guard->nstates; i++)
	{
		GuardState *state = &guard->states[i];

		state->label = GetSysCacheOid2(
			ENUMTYPOIDNAME, Anum_pg_enum_oid, ObjectIdGetDatum(guard->status_type),
			CStringGetDatum(state->length < NAMEDATALEN ? state->name : ""));
		if (!OidIsValid(state->label))
		{
			*problem = psprintf(
				"The state \"%s\" is no value of the status column's type.", state->name);
			return false;
		}
	}
	return true;
}

static bool
mark_states(Guard *guard, Jsonb *settings, const char *key, size_t flag,
			const char **problem)
{
	ListCell *cell;

	foreach (cell, payguard_guard_strings(settings, key))
	{
		int state;

		CHECK_FOR_INTERRUPTS();
		if (!find_state(guard, lfirst(cell), strlen(lfirst(cell)), &state))
		{
			*problem = psprintf("%s names \"%s\", which is no state of the transitions.",
								key, (char *) lfirst(cell));
			return false;
		}
		*((bool *) ((char *) &guard->states[state] + flag)) = true;
	}
	return true;
}

/*
 * parse_follow reads which state a row gets whose order has a status.
 */
static bool
parse_follow(Guard *guard, Jsonb *settings, const char **problem)
{
	JsonbValue buffer;
	JsonbValue *follow =
		getKeyJsonValueFromContainer(&settings->root, "follow", 6, &buffer);
	text *consumer = payguard_json_text(settings, "consumer");
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;
	int status = ORDER_NONE;

	for (int i = 0; i < N_ORDER_STATUS; i++)
		guard->follow[i] = -1;
	if (follow == NULL)
		return true;
	*problem = "follow is no JSON object of order statuses and states.";
	if (follow->type != jbvBinary || !JsonContainerIsObject(follow->val.binary.data) ||
		JsonContainerSize(follow->val.binary.data) == 0)
		return false;
	iterator = JsonbIteratorInit(follow->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			status = order_status(value.val.string.val, value.val.string.len);
		if (token == WJB_KEY && status == ORDER_NONE)
		{
			*problem = psprintf("follow names \"%s\", which is no status of an order.",
								pnstrdup(value.val.string.val, value.val.string.len));
			return false;
		}
		if (token != WJB_VALUE)
			continue;
		if (value.type != jbvString)
			return false;
		if (!find_state(guard, value.val.string.val, value.val.string.len,
						&guard->follow[status]))
		{
			*problem =
				psprintf("follow names \"%s\", which is no state of the transitions.",
						 pnstrdup(value.val.string.val, value.val.string.len));
			return false;
		}
	}
	*problem =
		"The settings have follow without an order's column, or without a consumer.";
	if (!AttributeNumberIsValid(guard->order_id) || consumer == NULL)
		return false;
	guard->follows = true;
	guard->consumer = payguard_str(consumer);
	return true;
}

/*
 * order_status returns the status of orders that has a name; ORDER_NONE: there is none.
 */
static int
order_status(const char *name, int length)
{
	for (int status = ORDER_NONE + 1; status < N_ORDER_STATUS; status++)
	{
		const char *known = payguard_machine_name(&payguard_order_machine, status);

		if (strlen(known) == (size_t) length && memcmp(known, name, length) == 0)
			return status;
	}
	return ORDER_NONE;
}

/*
 * payguard_guard_strings returns the strings of an array of the settings; NIL: there is
 * none.
 */
List *
payguard_guard_strings(Jsonb *settings, const char *key)
{
	JsonbValue buffer;
	JsonbValue *array =
		getKeyJsonValueFromContainer(&settings->root, key, strlen(key), &buffer);
	List *strings = NIL;

	if (!array || array->type != jbvBinary ||
		!JsonContainerIsArray(array->val.binary.data))
		return NIL;
	for (uint32 i = 0; i < JsonContainerSize(array->val.binary.data); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array->val.binary.data, i);

		if (element->type == jbvString)
			strings = lappend(strings,
							  pnstrdup(element->val.string.val, element->val.string.len));
	}
	return strings;
}
