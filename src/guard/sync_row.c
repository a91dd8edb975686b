/*
 * sync_row.c
 *		The rows of one order in a guarded table, brought in step with it.
 *
 * What is done to the table is done as its owner, in a security-restricted operation, since its triggers, defaults and
 * policies are the owner's code: with the search_path of the table's schema, whoever called.
 *
 * Locking: a row is locked if nobody holds it, and moved in a subtransaction. Its triggers wait for a lock for a
 * shorter time than PostgreSQL takes to look for a deadlock, so this never takes part in one. No order is locked.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/itemptr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "rules/machine.h"
#include "base/text.h"
#include "store/each.h"
#include "store/open.h"
#include "store/plan.h"
#include "records/actor.h"
#include "guard/owner.h"
#include "guard/row_order.h"
#include "guard/settings.h"
#include "guard/sync_row.h"

#define MAX_STEPS 2

/* One row, as it was found. */
typedef struct FoundRow
{
	Datum table; /* its tableoid */
	ItemPointerData place;
	int state;			/* -1: none of the guard's */
	const char *status; /* for messages, quoted */
} FoundRow;

/* Looking for the rows of an order. */
typedef struct Search
{
	const Followed *followed;
	const text *order_id;
	Datum value;   /* the order's id in the type of its column */
	bool is_value; /* it can have that type */
	FoundRow *rows;
	int n;
} Search;

/* Moving one row. */
typedef struct Move
{
	const Search *search;
	FoundRow *row;
	int way[MAX_STEPS]; /* the states that it gets, one after the other */
	int steps;
	bool is_locked; /* by us */
	bool is_other;	/* it has changed since it was found */
} Move;

/* What is restored when the owner has acted. */
typedef struct Acting
{
	Identity identity;
	int level; /* of the settings */
} Acting;

static SyncResult sync_found(const Search *search, FoundRow *row, OrderStatus status,
							 int64 *changed, SyncProblem *problem);
static ErrorData *attempt(const Followed *followed, void (*action)(void *),
						  void *argument);
static Acting act_as_owner(const Followed *followed);
static void stop_acting(Acting acting);
static void find_rows(void *argument);
static void take_row(const Search *search, HeapTuple tuple, TupleDesc desc,
					 FoundRow *row);
static int find_way(const Guard *guard, int from, OrderStatus status, int *way);
static bool leads_to(const Guard *guard, int from, int to);
static void move_row(void *argument);
static bool lock_row(const Move *move);
static void step_to(Move *move, int state);
static int execute(const char *sql, const Search *search, const FoundRow *row);
static SyncResult judge_error(ErrorData *error, SyncProblem *problem);
static text *message_of(const ErrorData *error);

/*
 * payguard_sync_rows_of moves the rows of an order, which has this status, to the state that follow names for it. changed:
 * grows by the number of rows that were moved. What a row fails with is told by *problem; the other rows are moved.
 */
SyncResult
payguard_sync_rows_of(const Followed *followed, const text *order_id, OrderStatus status,
					  int64 *changed, SyncProblem *problem)
{
	Search search = {.followed = followed, .order_id = order_id};
	ErrorData *error = attempt(followed, find_rows, &search);
	SyncResult result = SYNC_IN_STEP;

	if (error && !search.is_value && payguard_is_about_one(error))
		return SYNC_IN_STEP; /* no row can have this id */
	if (error)
		return judge_error(error, problem);
	for (int i = 0; i < search.n; i++)
	{
		SyncResult one = sync_found(&search, &search.rows[i], status, changed, problem);

		CHECK_FOR_INTERRUPTS();
		if (one == SYNC_FAILED)
			problem->status = search.rows[i].status;
		result = Max(result, one);
	}
	return result;
}

/*
 * sync_found moves one row that was found, if it is to be moved.
 */
static SyncResult
sync_found(const Search *search, FoundRow *row, OrderStatus status, int64 *changed,
		   SyncProblem *problem)
{
	Move move = {.search = search, .row = row};
	ErrorData *error;
	SyncResult result;

	move.steps = find_way(search->followed->guard, row->state, status, move.way);
	if (move.steps == 0)
		return SYNC_IN_STEP;
	if (move.steps < 0)
	{
		problem->message =
			payguard_text("The transitions have no way to the state that follow names.");
		return SYNC_FAILED;
	}
	error = attempt(search->followed, move_row, &move);
	if (error)
	{
		result = judge_error(error, problem);
		problem->held_up = problem->held_up || (result == SYNC_WAITS && move.is_locked);
		return result;
	}
	if (move.is_other)
		return SYNC_WAITS;
	(*changed)++;
	return SYNC_IN_STEP;
}

/*
 * attempt does what may run code of the table's owner. What that code asks of payguard, the owner has asked.
 */
static ErrorData *
attempt(const Followed *followed, void (*action)(void *), void *argument)
{
	Oid before = payguard_actor_act_for(followed->owner);
	ErrorData *error = NULL;

	PG_TRY();
	{
		error = payguard_store_attempt(action, argument);
	}
	PG_FINALLY();
	{
		(void) payguard_actor_act_for(before);
	}
	PG_END_TRY();
	return error;
}

/*
 * payguard_sync_patience has locks waited for only shortly, until the settings of the level that it returns are given up.
 */
int
payguard_sync_patience(void)
{
	int level = NewGUCNestLevel();
	int most = Max(DeadlockTimeout / 10, 1);

	if (LockTimeout == 0 || LockTimeout > most)
		(void) set_config_option("lock_timeout", psprintf("%d", most), PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/*
 * act_as_owner becomes the table's owner; an error ends that as well. Row security that would hide rows is an error.
 */
static Acting
act_as_owner(const Followed *followed)
{
	Acting acting = {.level = payguard_sync_patience()};
	const char *schema = get_namespace_name(get_rel_namespace(followed->relation));

	(void) set_config_option(
		"search_path", psprintf("pg_catalog, %s, pg_temp", quote_identifier(schema)),
		PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("row_security", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&acting.identity.user, &acting.identity.context);
	SetUserIdAndSecContext(followed->owner,
						   acting.identity.context | SECURITY_RESTRICTED_OPERATION);
	return acting;
}

static void
stop_acting(Acting acting)
{
	payguard_as_before(acting.identity);
	AtEOXact_GUC(false, acting.level);
}

/*
 * find_rows looks for the rows of an order, without a lock.
 */
static void
find_rows(void *argument)
{
	Search *search = argument;
	const Followed *followed = search->followed;
	MemoryContext caller = CurrentMemoryContext;
	Acting acting = act_as_owner(followed);
	Oid input;
	Oid parameter;
	int n;

	getTypeInputInfo(followed->order_type, &input, &parameter);
	search->value = OidInputFunctionCall(
		input, unconstify(char *, payguard_str(search->order_id)), parameter, -1);
	search->is_value = true;
	n = execute(psprintf("SELECT t.tableoid, t.ctid, t.%s, t.%s FROM %s t"
						 " WHERE t.%s %s $1",
						 followed->status, followed->order, followed->table,
						 followed->order, followed->is_equal),
				search, NULL);
	MemoryContextSwitchTo(caller);
	search->rows = palloc(sizeof(FoundRow) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;
		Datum order = SPI_getbinval(tuple, desc, 4, &isnull);

		/* what an operator takes for the same id need not be the same text */
		if (!isnull && strcmp(payguard_guard_value(desc, 4, order, false),
							  payguard_str(search->order_id)) == 0)
			take_row(search, tuple, desc, &search->rows[search->n++]);
	}
	stop_acting(acting);
}

static void
take_row(const Search *search, HeapTuple tuple, TupleDesc desc, FoundRow *row)
{
	bool isnull;
	Datum status;

	row->table = SPI_getbinval(tuple, desc, 1, &isnull);
	ItemPointerCopy((ItemPointer) DatumGetPointer(SPI_getbinval(tuple, desc, 2, &isnull)),
					&row->place);
	status = SPI_getbinval(tuple, desc, 3, &isnull);
	row->state = payguard_guard_state(search->followed->guard, status, isnull);
	row->status = payguard_guard_value(desc, 3, status, isnull);
}

/*
 * find_way says which states a row gets whose order has a status, one after the other, and returns how many; 0: it is in
 * step, -1: it cannot be moved. Of an order that is refunded sync_rows() may not have seen that it was paid. A row that has
 * gone on from its state, and cannot go back, is in step.
 */
static int
find_way(const Guard *guard, int from, OrderStatus status, int *way)
{
	int to = guard->follow[status];
	int paid = guard->follow[ORDER_PAID];

	Assert(to >= 0);
	if (from == to)
		return 0;
	if (from < 0)
		return -1;
	way[0] = way[1] = to;
	if (guard->moves[MOVE(guard, from, to)])
		return 1;
	if (status == ORDER_REFUNDED && paid >= 0 && paid != from &&
		guard->moves[MOVE(guard, from, paid)] && guard->moves[MOVE(guard, paid, to)])
	{
		way[0] = paid;
		return 2;
	}
	/* closed is no way to go on for a row whose order is paid */
	if (status == ORDER_PAID && guard->states[from].closed)
		return -1;
	return leads_to(guard, to, from) ? 0 : -1;
}

/*
 * leads_to tells whether a state can be reached from another.
 */
static bool
leads_to(const Guard *guard, int from, int to)
{
	bool *known = palloc0(guard->nstates * sizeof(bool));
	int *next = palloc(guard->nstates * sizeof(int));
	int n = 0;

	next[n++] = from;
	known[from] = true;
	for (int i = 0; i < n; i++)
		for (int state = 0; state < guard->nstates; state++)
			if (!known[state] && guard->moves[MOVE(guard, next[i], state)])
			{
				known[state] = true;
				next[n++] = state;
			}
	return known[to];
}

/*
 * move_row moves one row, if it is still as it was found.
 */
static void
move_row(void *argument)
{
	Move *move = argument;
	const text *order_id = move->search->order_id;
	const text *before;
	Acting acting = act_as_owner(move->search->followed);

	if (!lock_row(move))
	{
		move->is_other = true;
		stop_acting(acting);
		return;
	}
	move->is_locked = true;
	before = payguard_row_order_refunded(move->steps > 1 ? order_id : NULL);
	PG_TRY();
	{
		for (int i = 0; i < move->steps; i++)
			step_to(move, move->way[i]);
	}
	PG_FINALLY();
	{
		(void) payguard_row_order_refunded(before);
	}
	PG_END_TRY();
	stop_acting(acting);
}

/*
 * lock_row locks a row; false: it has changed since it was found. Raises 55P03 where somebody holds it.
 */
static bool
lock_row(const Move *move)
{
	const Followed *followed = move->search->followed;
	FoundRow now;

	if (execute(psprintf("SELECT t.tableoid, t.ctid, t.%s FROM %s t WHERE t.%s %s $1"
						 " AND t.ctid " OP_EQ " $2 AND t.tableoid " OP_EQ " $3"
						 " FOR NO KEY UPDATE OF t NOWAIT",
						 followed->status, followed->table, followed->order,
						 followed->is_equal),
				move->search, move->row) != 1)
		return false;
	take_row(move->search, SPI_tuptable->vals[0], SPI_tuptable->tupdesc, &now);
	return now.state == move->row->state;
}

/*
 * step_to gives a row that is locked its next state, and raises its version.
 */
static void
step_to(Move *move, int state)
{
	const Followed *followed = move->search->followed;
	const char *version = followed->version;
	FoundRow now;

	if (execute(psprintf("UPDATE %s t SET %s = %s%s WHERE t.%s %s $1 AND t.ctid " OP_EQ
						 " $2 AND t.tableoid " OP_EQ
						 " $3 RETURNING t.tableoid, t.ctid, t.%s",
						 followed->table, followed->status,
						 quote_literal_cstr(followed->guard->states[state].name),
						 version ? psprintf(", %s = COALESCE(t.%s, 0) " OP_PLUS " 1",
											version, version)
								 : "",
						 followed->order, followed->is_equal, followed->status),
				move->search, move->row) == 1)
	{
		take_row(move->search, SPI_tuptable->vals[0], SPI_tuptable->tupdesc, &now);
		if (now.state == state)
		{
			move->row->place = now.place;
			return;
		}
	}
	ereport(ERROR, (errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
					errmsg("a trigger of the table has kept the row from its state")));
}

/*
 * execute runs a statement whose $1 is the order's id, and $2 and $3 are where the row is, and returns the number of its
 * results.
 */
static int
execute(const char *sql, const Search *search, const FoundRow *row)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid types[3] = {search->followed->order_type, TIDOID, OIDOID};
	Datum values[3] = {search->value, (Datum) 0, (Datum) 0};
	int result;

	if (row)
	{
		values[1] = PointerGetDatum(&row->place);
		values[2] = row->table;
	}
	result = SPI_execute_with_args(sql, row ? 3 : 1, types, values, NULL, row == NULL, 0);
	if (result < 0)
		elog(ERROR, "payguard: \"%s\": %s", sql, SPI_result_code_string(result));
	MemoryContextSwitchTo(caller);
	return (int) SPI_processed;
}

/*
 * judge_error tells whether somebody else is at a row or it cannot be moved. What is not about the row is raised: a
 * cancelled call, a full disk, and, in REPEATABLE READ and SERIALIZABLE, a row that has changed since the snapshot.
 */
static SyncResult
judge_error(ErrorData *error, SyncProblem *problem)
{
	bool of_version =
		error->constraint_name && strcmp(error->constraint_name, "payguard_version") == 0;

	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED)
		return SYNC_WAITS;
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK
			? IsolationUsesXactSnapshot() && !of_version
			: !payguard_is_about_one(error))
		ReThrowError(error);
	problem->message = message_of(error);
	return SYNC_FAILED;
}

static text *
message_of(const ErrorData *error)
{
	const char *code = unpack_sql_state(error->sqlerrcode);

	return payguard_clean_text(
		error->detail ? psprintf("%s: %s (%s)", code, error->message, error->detail)
					  : psprintf("%s: %s", code, error->message));
}
