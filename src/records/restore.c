/*
 * restore.c
 *		Rows brought back from the archive, an order with all that belongs to it.
 *
 * The archived order is deleted first, so that of two restores one waits for the other. No live order is
 * looked at: whoever locks one has looked.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "store/plan.h"
#include "records/restore.h"

/* $1 the order; the first one tells whether it was there */
#define RESTORE(table, condition, on_conflict)                                           \
	{                                                                                    \
		"WITH back AS (DELETE FROM ONLY payguard.archived_" table " t WHERE " condition  \
		" RETURNING t.*) INSERT INTO payguard." table " SELECT * FROM back" on_conflict, \
			{TEXTOID, InvalidOid}, "archived_" table, CMD_DELETE                         \
	}
#define ARCHIVED_PAYMENTS                                                                \
	"t.payment_id " OP_EQ                                                                \
	" ANY (ARRAY(SELECT p.payment_id FROM payguard.archived_payments p"                  \
	" WHERE p.order_id " OP_EQ " $1))"
static const Statement restoring[] = {
	RESTORE("orders", "t.order_id " OP_EQ " $1", ""),
	RESTORE("refunds", ARCHIVED_PAYMENTS, ""),
	RESTORE("refund_balances", ARCHIVED_PAYMENTS, ""),
	RESTORE("payments", "t.order_id " OP_EQ " $1", ""),
	/* a reader is in the middle of its window, perhaps: what it was not given does not come up there */
	RESTORE("events", "t.order_id " OP_EQ " $1 AND t.kind " OP_NE " 'order.archived'",
			""),
	/* the same message, where it has come again: no evidence is refused for that */
	RESTORE("notifications", "t.order_id " OP_EQ " $1", " ON CONFLICT DO NOTHING"),
	RESTORE("approvals", "t.order_id " OP_EQ " $1", ""),
};

/*
 * payguard_restore moves an order's rows back from the archive, and tells whether they were there: somebody
 * else may have been faster. It looks at no order.
 */
bool
payguard_restore(const text *order_id)
{
	Datum id = PointerGetDatum(order_id);

	if (payguard_store_execute(&restoring[0], &id, NULL) == 0)
		return false;
	payguard_archive_move(restoring + 1, lengthof(restoring) - 1, &id);
	return true;
}

/*
 * payguard_archive_move executes statements that move one order's rows, in their order.
 */
void
payguard_archive_move(const Statement *statements, int n, Datum *values)
{
	for (int i = 0; i < n; i++)
		payguard_store_execute(&statements[i], values, NULL);
}
