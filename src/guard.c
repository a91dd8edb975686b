/*
 * guard.c
 *		The guard on an application's own table: every change of a row, by whomever,
 * follows the table's graph of states.
 *
 *	CREATE TRIGGER payguard_guard AFTER INSERT OR UPDATE OR DELETE ON orders
 *	FOR EACH ROW EXECUTE FUNCTION payguard.guard('{"status_column": "status", ...}');
 *	ALTER TABLE orders ENABLE ALWAYS TRIGGER payguard_guard;
 *
 * AFTER ROW, so that it sees the row as it is, whatever other triggers did to it. It
 * raises or lets pass; it never makes a row vanish. It takes no lock. In replica role (a
 * subscriber that applies changes) only what the row itself shows is checked: an INSERT
 * may bring any state, since the first copy does, and the order need not be there yet.
 *
 * Settings are parsed once per session and trigger, into a memory context each. The
 * relcache callback only marks them as old.
 */
#include "postgres.h"

#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "guard.h"
#include "payguard.h"

typedef struct CacheEntry
{
	Oid trigger;
	Oid relation;
	Guard *guard; /* NULL: not parsed yet */
	MemoryContext context;
	bool old; /* to be parsed again; the mark of an invalidation */
} CacheEntry;

static HTAB *cache = NULL;
static CacheEntry *latest = NULL; /* the next row is most often one of the same table */

static void check_call(FunctionCallInfo fcinfo, bool truncate);
static const Guard *find_guard(const TriggerData *trigger);
static void make_cache(void);
static void forget_relation(Datum argument, Oid relation);
static void forget_all(Datum argument, int cache_id, uint32 hash);
static void check_insert(const Guard *guard, Relation relation, TupleTableSlot *row);
static void check_update(const Guard *guard, Relation relation, TupleTableSlot *was,
						 TupleTableSlot *is);
static void check_delete(const Guard *guard, Relation relation, TupleTableSlot *row);
static void check_version(const Guard *guard, Relation relation, TupleTableSlot *was,
						  TupleTableSlot *is);
static void check_columns(const GuardColumns *columns, const char *why, Relation relation,
						  TupleTableSlot *was, TupleTableSlot *is);
static void check_paid(const Guard *guard, Relation relation, TupleTableSlot *row);
static bool same_value(TupleTableSlot *was, TupleTableSlot *is, AttrNumber column);
static int64 version_of(const Guard *guard, TupleTableSlot *row, bool *isnull);
static const char *status_of(const Guard *guard, TupleTableSlot *row);
static const char *moves_from(const Guard *guard, int from);
static const char *names_of(const Guard *guard, size_t flag);
static void violation(Relation relation, AttrNumber column, const char *constraint,
					  const char *detail, const char *hint) pg_attribute_noreturn();
static bool parse_states(Guard *guard, Jsonb *settings, const char **problem);
static bool parse_columns(Guard *guard, Jsonb *settings, TupleDesc desc,
						  const char **problem);
static bool add_columns(Guard *guard, GuardColumns *columns, List *names, TupleDesc desc,
						const char **problem);
static AttrNumber find_column(TupleDesc desc, const char *name, const char **problem);
static bool mark_states(Guard *guard, Jsonb *settings, const char *key, size_t flag,
						const char **problem);
static bool find_state(const Guard *guard, const char *name, int length, int *place);
static bool read_graph(Guard *guard, JsonbContainer *graph, const char **problem);
static bool add_state(Guard *guard, const char *name, int length);
static void read_moves(Guard *guard, JsonbContainer *graph);
static bool find_labels(Guard *guard, const char **problem);

PG_FUNCTION_INFO_V1(payguard_guard);

/*
 * guard() is the row trigger. Errors: 23514 with CONSTRAINT payguard_transition,
 * payguard_initial, payguard_immutable, payguard_delete or payguard_unpaid; 40001 with
 * payguard_version.
 */
Datum
payguard_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const Guard *guard;

	check_call(fcinfo, false);
	guard = find_guard(trigger);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		check_update(guard, trigger->tg_relation, trigger->tg_trigslot,
					 trigger->tg_newslot);
	else if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		check_insert(guard, trigger->tg_relation, trigger->tg_trigslot);
	else
		check_delete(guard, trigger->tg_relation, trigger->tg_trigslot);
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(payguard_guard_truncate);

/*
 * guard_truncate() is the trigger of
 *
 *	CREATE TRIGGER payguard_guard_truncate BEFORE TRUNCATE ON orders
 *	FOR EACH STATEMENT EXECUTE FUNCTION payguard.guard_truncate();
 *	ALTER TABLE orders ENABLE ALWAYS TRIGGER payguard_guard_truncate;
 *
 * Error: 23514 with CONSTRAINT payguard_truncate.
 */
Datum
payguard_guard_truncate(PG_FUNCTION_ARGS)
{
	Relation relation;

	check_call(fcinfo, true);
	relation = ((TriggerData *) fcinfo->context)->tg_relation;
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("truncating relation \"%s\" violates check constraint \"%s\"",
					RelationGetRelationName(relation), "payguard_truncate"),
			 errdetail(
				 "The table is guarded: rows are deleted one by one, in the states that "
				 "the guard names."),
			 errhint("The table's owner can take the guard off: "
					 "SELECT payguard.unguard_table(...)."),
			 errtableconstraint(relation, "payguard_truncate")));
}

static void
check_call(FunctionCallInfo fcinfo, bool truncate)
{
	const char *name = truncate ? "guard_truncate()" : "guard()";
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s was not called as a trigger", name)));
	if (truncate ? !TRIGGER_FIRED_BEFORE(trigger->tg_event)
				 : !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s must be fired %s the change", name,
							   truncate ? "before" : "after")));
	if (truncate ? !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event)
				 : !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s must be fired for %s", name,
							   truncate ? "TRUNCATE" : "each row")));
	if (trigger->tg_trigger->tgnargs != (truncate ? 0 : 1))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s has another number of arguments", name)));
}

/*
 * find_guard returns the settings of the trigger that is firing.
 */
static const Guard *
find_guard(const TriggerData *trigger)
{
	Oid oid = trigger->tg_trigger->tgoid;
	CacheEntry *entry;
	MemoryContext caller;
	const char *problem;
	bool found;

	if (likely(latest && latest->trigger == oid && latest->guard && !latest->old))
		return latest->guard;
	if (cache == NULL)
		make_cache();
	entry = latest = hash_search(cache, &oid, HASH_ENTER, &found);
	if (found && entry->guard != NULL && !entry->old)
		return entry->guard;
	if (!found)
		entry->context = NULL;
	entry->guard = NULL;
	entry->relation = RelationGetRelid(trigger->tg_relation);
	if (entry->context)
		MemoryContextReset(entry->context);
	else
		entry->context = AllocSetContextCreate(CacheMemoryContext, "payguard guard",
											   ALLOCSET_SMALL_SIZES);
	/* an invalidation while we parse marks it again */
	entry->old = false;
	caller = MemoryContextSwitchTo(entry->context);
	entry->guard = payguard_guard_parse(trigger->tg_trigger->tgargs[0],
										RelationGetDescr(trigger->tg_relation), &problem);
	MemoryContextSwitchTo(caller);
	if (entry->guard == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("the guard on relation \"%s\" is broken",
						RelationGetRelationName(trigger->tg_relation)),
				 errdetail("%s", problem),
				 errhint("Take it off and put it on again: payguard.unguard_table(), "
						 "payguard.guard_table().")));
	return entry->guard;
}

static void
make_cache(void)
{
	HASHCTL control = {
		.keysize = sizeof(Oid),
		.entrysize = sizeof(CacheEntry),
		.hcxt = AllocSetContextCreate(CacheMemoryContext, "payguard guards",
									  ALLOCSET_SMALL_SIZES),
	};

	cache = hash_create("payguard guards", 16, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(forget_relation, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMOID, forget_all, (Datum) 0);
}

static void
forget_relation(Datum argument, Oid relation)
{
	HASH_SEQ_STATUS scan;
	CacheEntry *entry;

	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (!OidIsValid(relation) || entry->relation == relation)
			entry->old = true;
}

static void
forget_all(Datum argument, int cache_id, uint32 hash)
{
	forget_relation(argument, InvalidOid);
}

static void
check_insert(const Guard *guard, Relation relation, TupleTableSlot *row)
{
	bool isnull;
	Datum value = slot_getattr(row, guard->status, &isnull);
	int state = payguard_guard_state(guard, value, isnull);
	bool replica = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;

	if (state < 0 || (!replica && !guard->states[state].initial))
		violation(relation, guard->status, "payguard_initial",
				  psprintf("A new row has the status %s; it may have: %s.",
						   status_of(guard, row),
						   names_of(guard, offsetof(GuardState, initial))),
				  "Insert the row in its first state, and update it from there.");
	if (!replica && guard->states[state].paid)
		check_paid(guard, relation, row);
}

static void
check_update(const Guard *guard, Relation relation, TupleTableSlot *was,
			 TupleTableSlot *is)
{
	bool was_null;
	bool is_null;
	Datum was_value = slot_getattr(was, guard->status, &was_null);
	Datum is_value = slot_getattr(is, guard->status, &is_null);
	int from = payguard_guard_state(guard, was_value, was_null);
	int to = payguard_guard_state(guard, is_value, is_null);

	/* a row of a time before the guard may be in no state of the graph, and stay there */
	if (from != to ? (from < 0 || to < 0 || !guard->moves[MOVE(guard, from, to)])
				   : (from < 0 && !same_value(was, is, guard->status)))
		violation(relation, guard->status, "payguard_transition",
				  psprintf("The status goes from %s to %s; %s.", status_of(guard, was),
						   status_of(guard, is), moves_from(guard, from)),
				  "Read the row again: another writer may have changed it.");
	if (AttributeNumberIsValid(guard->version))
		check_version(guard, relation, was, is);
	check_columns(&guard->frozen, "it never changes", relation, was, is);
	if (to < 0)
		return;
	if ((guard->states[from].paid || guard->states[from].success) &&
		(guard->states[to].paid || guard->states[to].success))
		check_columns(&guard->held, "it does not change while the row counts as paid",
					  relation, was, is);
	if (guard->states[to].paid && !guard->states[from].paid &&
		SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		check_paid(guard, relation, is);
}

static void
check_delete(const Guard *guard, Relation relation, TupleTableSlot *row)
{
	bool isnull;
	Datum value = slot_getattr(row, guard->status, &isnull);
	int state = payguard_guard_state(guard, value, isnull);

	if (state < 0 || !guard->states[state].deletable)
	{
		const char *names = names_of(guard, offsetof(GuardState, deletable));

		ereport(
			ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("delete on relation \"%s\" violates check constraint \"%s\"",
					RelationGetRelationName(relation), "payguard_delete"),
			 errdetail("The row has the status %s; rows may be deleted in: %s.",
					   status_of(guard, row), names),
			 errhint("Move the row to a state in which it may be deleted, or keep it. "
					 "A change of a partition key is a delete too."),
			 errtablecol(relation, guard->status),
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME, "payguard_delete")));
	}
}

static int64
version_of(const Guard *guard, TupleTableSlot *row, bool *isnull)
{
	Datum value = slot_getattr(row, guard->version, isnull);

	if (*isnull)
		return 0; /* for an ORM that leaves the first version NULL */
	switch (guard->version_type)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

/*
 * check_version raises 40001 unless the version grows by 1. A new row may begin with any.
 */
static void
check_version(const Guard *guard, Relation relation, TupleTableSlot *was,
			  TupleTableSlot *is)
{
	bool was_null;
	bool is_null;
	int64 old = version_of(guard, was, &was_null);
	int64 new = version_of(guard, is, &is_null);

	if (!is_null && old < PG_INT64_MAX && new == old + 1)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
		 errmsg("could not serialize access: the version of a row of relation \"%s\" is "
				"stale or was not raised",
				RelationGetRelationName(relation)),
		 errdetail(
			 "Column \"%s\" goes from " INT64_FORMAT " to %s; every update raises "
			 "it by 1.",
			 NameStr(
				 TupleDescAttr(RelationGetDescr(relation), guard->version - 1)->attname),
			 old, is_null ? "null" : psprintf(INT64_FORMAT, new)),
		 errhint("Read the row again and repeat the change on what it is now."),
		 errtablecol(relation, guard->version),
		 err_generic_string(PG_DIAG_CONSTRAINT_NAME, "payguard_version")));
}

/*
 * check_columns raises 23514 where one of the columns has changed. Their values are not
 * shown: who may write a column need not be one who may read it.
 */
static void
check_columns(const GuardColumns *columns, const char *why, Relation relation,
			  TupleTableSlot *was, TupleTableSlot *is)
{
	for (int i = 0; i < columns->n; i++)
	{
		AttrNumber column = columns->columns[i];

		if (!same_value(was, is, column))
			violation(
				relation, column, "payguard_immutable",
				psprintf(
					"Column \"%s\" is changed, but %s.",
					NameStr(
						TupleDescAttr(RelationGetDescr(relation), column - 1)->attname),
					why),
				"Leave the column as it is.");
	}
}

/*
 * check_paid raises 23514 unless payguard says that the row's order is paid.
 */
static void
check_paid(const Guard *guard, Relation relation, TupleTableSlot *row)
{
	if (!payguard_guard_order_is_paid(guard, row, false))
		violation(
			relation, guard->order_id, "payguard_unpaid",
			psprintf("The status %s says that the order is paid, and payguard knows no "
					 "paid order of this id.",
					 status_of(guard, row)),
			"Pay it first, in this transaction or before: payguard.pay_order(), or the "
			"channel's report.");
}

/*
 * payguard_guard_order_is_paid asks payguard.orders for the order that a row names, with
 * a snapshot that sees what this transaction did. or_refunded: an order that was paid and has
 * been refunded since will do: a row that is in a paid state already may stay there.
 */
bool
payguard_guard_order_is_paid(const Guard *guard, TupleTableSlot *row, bool or_refunded)
{
	bool isnull;
	Datum value = slot_getattr(row, guard->order_id, &isnull);
	Identity identity;
	text *order_id;
	Order order;
	bool found;

	if (isnull)
		return false;
	order_id = payguard_text(
		payguard_guard_value(row->tts_tupleDescriptor, guard->order_id, value, false));
	identity = payguard_as_owner();
	payguard_store_begin(STORE_WRITE);
	found =
		payguard_order_find(order_id, &order) &&
		(order.status == ORDER_PAID || (or_refunded && order.status == ORDER_REFUNDED));
	payguard_store_end(STORE_WRITE);
	payguard_as_before(identity);
	return found;
}

/*
 * same_value compares bytes, so that no collation or operator of the user's makes two
 * values the same; for numeric the value, whose 1.0 is 1.00.
 */
static bool
same_value(TupleTableSlot *was, TupleTableSlot *is, AttrNumber column)
{
	Form_pg_attribute attribute = TupleDescAttr(is->tts_tupleDescriptor, column - 1);
	bool was_null;
	bool is_null;
	Datum a = slot_getattr(was, column, &was_null);
	Datum b = slot_getattr(is, column, &is_null);

	if (was_null || is_null)
		return was_null && is_null;
	if (datum_image_eq(a, b, attribute->attbyval, attribute->attlen))
		return true;
	return getBaseType(attribute->atttypid) == NUMERICOID &&
		   DatumGetBool(DirectFunctionCall2(numeric_eq, a, b));
}

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

static const char *
status_of(const Guard *guard, TupleTableSlot *row)
{
	bool isnull;
	Datum value = slot_getattr(row, guard->status, &isnull);

	if (isnull)
		return "null";
	return psprintf("\"%s\"", payguard_guard_value(row->tts_tupleDescriptor,
												   guard->status, value, false));
}

static const char *
moves_from(const Guard *guard, int from)
{
	StringInfoData names;

	if (from < 0)
		return "that is no state of the guard, and a row stays in it";
	initStringInfo(&names);
	for (int to = 0; to < guard->nstates; to++)
		if (guard->moves[MOVE(guard, from, to)])
			appendStringInfo(&names, ", \"%s\"", guard->states[to].name);
	if (names.len == 0)
		return "from there it may not change";
	return psprintf("from there it may go to: %s", names.data + 2);
}

/*
 * names_of lists the states that have a flag, a bool's offset in GuardState.
 */
static const char *
names_of(const Guard *guard, size_t flag)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < guard->nstates; i++)
		if (*((bool *) ((char *) &guard->states[i] + flag)))
			appendStringInfo(&names, ", \"%s\"", guard->states[i].name);
	return names.len == 0 ? "none" : names.data + 2;
}

static void
violation(Relation relation, AttrNumber column, const char *constraint,
		  const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
					/* core's words: some clients find the constraint's name by them */
					errmsg("new row for relation \"%s\" violates check constraint \"%s\"",
						   RelationGetRelationName(relation), constraint),
					errdetail_internal("%s", detail), errhint("%s", hint),
					errtablecol(relation, column),
					err_generic_string(PG_DIAG_CONSTRAINT_NAME, constraint)));
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
	JsonbValue buffer;
	JsonbValue *value;

	*problem = "The settings are no JSON object.";
	if (!JB_ROOT_IS_OBJECT(json))
		return NULL;
	if (!parse_columns(guard, json, desc, problem) || !parse_states(guard, json, problem))
		return NULL;
	value = getKeyJsonValueFromContainer(&json->root, "valid", 5, &buffer);
	guard->valid = value && value->type == jbvBool && value->val.boolean;
	return guard;
}

static bool
parse_columns(Guard *guard, Jsonb *settings, TupleDesc desc, const char **problem)
{
	text *name = payguard_json_text(settings, "status_column");
	GuardColumns unused;

	*problem = "The settings name no status column.";
	if (!name || !add_columns(guard, &unused, list_make1((char *) payguard_str(name)),
							  desc, problem))
		return false;
	guard->status = unused.columns[0];
	guard->status_type = getBaseType(TupleDescAttr(desc, guard->status - 1)->atttypid);
	guard->is_enum = get_typtype(guard->status_type) == TYPTYPE_ENUM;
	if (!guard->is_enum && guard->status_type != TEXTOID &&
		guard->status_type != VARCHAROID)
	{
		*problem = psprintf("Column \"%s\" is not of type text, varchar or an enum.",
							payguard_str(name));
		return false;
	}
	if ((name = payguard_json_text(settings, "version_column")) != NULL)
	{
		if (!add_columns(guard, &unused, list_make1((char *) payguard_str(name)), desc,
						 problem))
			return false;
		guard->version = unused.columns[0];
		guard->version_type =
			getBaseType(TupleDescAttr(desc, guard->version - 1)->atttypid);
		if (guard->version_type != INT2OID && guard->version_type != INT4OID &&
			guard->version_type != INT8OID)
		{
			*problem =
				psprintf("Column \"%s\" is not of type smallint, integer or bigint.",
						 payguard_str(name));
			return false;
		}
	}
	if ((name = payguard_json_text(settings, "order_id_column")) != NULL)
	{
		if (!add_columns(guard, &unused, list_make1((char *) payguard_str(name)), desc,
						 problem))
			return false;
		guard->order_id = unused.columns[0];
	}
	if (!add_columns(guard, &guard->frozen,
					 payguard_guard_strings(settings, "immutable_columns"), desc,
					 problem) ||
		!add_columns(guard, &guard->once, payguard_guard_strings(settings, "once"), desc,
					 problem))
		return false;
	guard->held.columns = palloc0((guard->once.n + 1) * sizeof(AttrNumber));
	for (int i = 0; i < guard->once.n; i++)
		guard->held.columns[guard->held.n++] = guard->once.columns[i];
	if (AttributeNumberIsValid(guard->order_id))
		guard->held.columns[guard->held.n++] = guard->order_id;
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
