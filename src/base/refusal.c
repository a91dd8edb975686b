/*
 * refusal.c
 *		Turns a refusal into a PostgreSQL error.
 *
 * A refusal is a value, not an exception: try_pay_order() and pay_orders() return it as an
 * outcome, and so need no subtransaction to survive it.
 */
#include "postgres.h"

#include "base/count.h"
#include "base/refusal.h"
#include "base/text.h"

typedef struct ErrorDesc
{
	const char *code;
	const char *name;
	const char *table;
	const char *column;
} ErrorDesc;

static const ErrorDesc descs[N_ERRORS] = {
#define X(id, code, name, table, column) [ERR_##id] = {code, name, table, column},
	PAYGUARD_ERRORS(X)
#undef X
};

/*
 * payguard_error_name returns the constraint name of an error: what `outcome` says where the
 * refusal is returned.
 */
const char *
payguard_error_name(ErrorId id)
{
	Assert(id > NO_ERROR_ID && id < N_ERRORS);
	return descs[id].name;
}

/*
 * payguard_refuse fills in a refusal and returns false, so that a check can end with
 * "return payguard_refuse(...)". message: lower case without a full stop; detail and hint:
 * sentences, hint may be NULL.
 */
bool
payguard_refuse(Refusal *refusal, ErrorId id, const char *message, const char *detail,
				const char *hint)
{
	Assert(id > NO_ERROR_ID && id < N_ERRORS);
	refusal->id = id;
	refusal->message = message;
	refusal->detail = detail;
	refusal->hint = hint;
	return false;
}

/*
 * payguard_count_refusal counts a refusal that is raised, or returned as an outcome.
 */
void
payguard_count_refusal(ErrorId id)
{
	StaticAssertStmt(N_ERRORS <= MAX_COUNTERS, "each kind of refusal has its counter");
	Assert(id > NO_ERROR_ID && id < N_ERRORS);
	payguard_count(id);
}

/*
 * payguard_raise raises a refusal with all the fields that a client can read: SQLSTATE,
 * MESSAGE, DETAIL, HINT, SCHEMA, TABLE, COLUMN, CONSTRAINT.
 */
void
payguard_raise(const Refusal *refusal)
{
	const ErrorDesc *desc;
	const char *c;

	if (refusal->id <= NO_ERROR_ID || refusal->id >= N_ERRORS)
		elog(ERROR, "payguard: %d is no error", (int) refusal->id);
	desc = &descs[refusal->id];
	c = desc->code;
	payguard_count_refusal(refusal->id);
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(c[0], c[1], c[2], c[3], c[4])),
			 errmsg_internal("%s", refusal->message),
			 refusal->detail ? errdetail_internal("%s", refusal->detail) : 0,
			 refusal->hint ? errhint("%s", refusal->hint) : 0,
			 err_generic_string(PG_DIAG_SCHEMA_NAME, PAYGUARD_SCHEMA),
			 desc->table[0] ? err_generic_string(PG_DIAG_TABLE_NAME, desc->table) : 0,
			 desc->column[0] ? err_generic_string(PG_DIAG_COLUMN_NAME, desc->column) : 0,
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME, desc->name)));
}
