/*
 * reset.c
 *		reset(): an empty payguard, for tests of an application.
 *
 * Sequences go on, so that no id comes twice. Guards on the application's tables stay.
 *
 * Locking: SHARE ROW EXCLUSIVE on all tables, so that nobody writes meanwhile, and no half of a write is left.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "nodes/nodes.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"

#include "base/refusal.h"
#include "store/plan.h"
#include "records/call.h"

static void refuse(void) pg_attribute_noreturn();

/* Allowed for this database, by somebody who may: whether a session has set it does not matter. */
static const Statement find_permission = {
	"SELECT FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c"
	" WHERE s.setrole " OP_EQ " 0 AND s.setdatabase " OP_EQ
	" (SELECT d.oid FROM pg_catalog.pg_database d"
	"  WHERE d.datname " OP_EQ " pg_catalog.current_database())"
	" AND pg_catalog.lower(c) " OP_EQ
	" ANY ('{payguard.allow_reset=on,payguard.allow_reset=true,"
	"payguard.allow_reset=yes,payguard.allow_reset=1}'::pg_catalog.text[])",
	{InvalidOid},
	NULL,
	CMD_UNKNOWN};

#define EMPTY(table, rest)                                                               \
	{                                                                                    \
		"DELETE FROM ONLY payguard." table rest, {InvalidOid}, table, CMD_DELETE         \
	}
/* What a fresh CREATE EXTENSION has made stays: the channel "internal". */
static const Statement emptying[] = {
	EMPTY("settlement_lines", ""),
	EMPTY("refunds", ""),
	EMPTY("archived_refunds", ""),
	EMPTY("refund_balances", ""),
	EMPTY("archived_refund_balances", ""),
	EMPTY("leases", ""),
	EMPTY("tasks", ""),
	EMPTY("finished_tasks", ""),
	EMPTY("payments", ""),
	EMPTY("archived_payments", ""),
	EMPTY("deadlines", ""),
	EMPTY("approvals", ""),
	EMPTY("archived_approvals", ""),
	EMPTY("notifications", ""),
	EMPTY("archived_notifications", ""),
	EMPTY("alerts", ""),
	EMPTY("events", ""),
	EMPTY("archived_events", ""),
	EMPTY("orders", ""),
	EMPTY("archived_orders", ""),
	EMPTY("customers", ""),
	EMPTY("policies", ""),
	EMPTY("channels", " WHERE name " OP_NE " 'internal'"),
	EMPTY("consumers", ""),
	EMPTY("archive_position", ""),
	EMPTY("totals", ""),
	EMPTY("counter_samples", ""),
	EMPTY("maintenance", ""),
};

PG_FUNCTION_INFO_V1(payguard_reset);

/*
 * reset() → void
 *
 * Empties all tables. Errors: PY903 where this is not allowed for the database; 23503 where a foreign key of another
 * table references a row.
 */
Datum
payguard_reset(PG_FUNCTION_ARGS)
{
	Oid schema = get_namespace_oid("payguard", false);

	payguard_request_begin("reset()");
	if (payguard_store_execute(&find_permission, NULL, NULL) == 0)
		refuse();
	for (int i = 0; i < (int) lengthof(emptying); i++)
		LockRelationOid(get_relname_relid(emptying[i].changes, schema),
						ShareRowExclusiveLock);
	for (int i = 0; i < (int) lengthof(emptying); i++)
		payguard_store_execute(&emptying[i], NULL, NULL);
	payguard_call_end();
	PG_RETURN_VOID();
}

static void
refuse(void)
{
	Refusal refusal;

	payguard_refuse(
		&refusal, ERR_RESET_NOT_ALLOWED, "payguard may not be emptied in this database",
		"All orders, payments and their records would be gone. Nothing has been written.",
		"In a database for tests, a superuser can allow it: ALTER DATABASE ... SET "
		"payguard.allow_reset = on.");
	payguard_raise(&refusal);
}
