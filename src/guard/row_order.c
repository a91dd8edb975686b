/*
 * row_order.c
 *		What payguard says of the order that a row of a guarded table names: paid, over the row's amount, closed.
 *
 * Nothing is locked. The order is read as payguard's owner, with a snapshot that sees what this transaction did.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/numeric.h"

#include "rules/machine.h"
#include "base/currency.h"
#include "base/text.h"
#include "store/open.h"
#include "store/plan.h"
#include "records/event.h"
#include "records/order.h"
#include "guard/owner.h"
#include "guard/row_order.h"
#include "guard/settings.h"

/*
 * The events that tell that an order was closed, or given back; those in the archive, too.
 */
static const RowQuery events_of_end = {
	"order_id " OP_EQ " $1 AND version IS NOT NULL AND to_status " OP_EQ
	" ANY (ARRAY['cancelled', 'expired', 'refunded']) LIMIT 1",
	{TEXTOID, InvalidOid}};

/* The refunded order whose row sync_rows() is moving through the state of a paid one. */
static const text *refunded = NULL;
static int refunded_depth =
	0; /* of the triggers on that row; what these change is not on the way */

static int trigger_depth(void);
static text *order_of(const Guard *guard, TupleTableSlot *row);
static RowOrder compare_amount(const Guard *guard, TupleTableSlot *row,
							   const Order *order);
static bool has_ended(const text *order_id);

/*
 * payguard_row_order_is_paid tells whether a row's order lets it be in a paid state. stays: it is there already, and
 * stays where the order was paid and has been refunded since, or its money was taken back.
 */
RowOrder
payguard_row_order_is_paid(const Guard *guard, TupleTableSlot *row, bool stays)
{
	text *order_id = order_of(guard, row);
	Identity identity;
	Order order;
	RowOrder result = ROW_ORDER_UNPAID;

	if (order_id == NULL)
		return ROW_ORDER_UNPAID;
	stays = stays || (refunded && trigger_depth() == refunded_depth &&
					  payguard_text_equal(refunded, order_id));
	identity = payguard_as_owner();
	payguard_store_begin(STORE_WRITE);
	if (payguard_order_find(order_id, &order) &&
		(order.status == ORDER_PAID ||
		 (stays && (order.status == ORDER_REFUNDED || order.returned_payment_id))))
		/* what was paid before the money was taken back may have been another amount */
		result = stays && order.returned_payment_id ? ROW_ORDER_FITS
													: compare_amount(guard, row, &order);
	payguard_store_end(STORE_WRITE);
	payguard_as_before(identity);
	return result;
}

/*
 * payguard_row_order_is_closed tells whether a row's order lets it be in a closed state. stays: it is there already, and
 * stays where the order was closed and money came all the same.
 */
RowOrder
payguard_row_order_is_closed(const Guard *guard, TupleTableSlot *row, bool stays)
{
	text *order_id = order_of(guard, row);
	Identity identity;
	Order order;
	RowOrder result = ROW_ORDER_OPEN;

	if (order_id == NULL)
		return ROW_ORDER_OPEN;
	identity = payguard_as_owner();
	payguard_store_begin(STORE_WRITE);
	if (payguard_order_find(order_id, &order) &&
		(order.status == ORDER_CANCELLED || order.status == ORDER_EXPIRED ||
		 order.status == ORDER_REFUNDED || (stays && has_ended(order_id))))
		result = ROW_ORDER_FITS;
	payguard_store_end(STORE_WRITE);
	payguard_as_before(identity);
	return result;
}

/*
 * payguard_row_order_refunded lets a row of this order get into a paid state though the order is refunded by now, until it
 * is called again; NULL: of no order. Returns which one it was before.
 */
const text *
payguard_row_order_refunded(const text *order_id)
{
	const text *before = refunded;

	refunded = order_id;
	refunded_depth = trigger_depth() + 1;
	return before;
}

static int
trigger_depth(void)
{
	return DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH));
}

/*
 * order_of returns the id of a row's order; NULL: it names none.
 */
static text *
order_of(const Guard *guard, TupleTableSlot *row)
{
	bool isnull;
	Datum value = slot_getattr(row, guard->order_id, &isnull);

	if (isnull)
		return NULL;
	return payguard_text(
		payguard_guard_value(row->tts_tupleDescriptor, guard->order_id, value, false));
}

/*
 * compare_amount compares amount and currency of a row and its order, where the guard names columns for them.
 */
static RowOrder
compare_amount(const Guard *guard, TupleTableSlot *row, const Order *order)
{
	bool isnull;
	Datum value;
	bool same;

	if (!AttributeNumberIsValid(guard->amount))
		return ROW_ORDER_FITS;
	value = slot_getattr(row, guard->currency, &isnull);
	if (isnull || pg_strcasecmp(payguard_guard_value(row->tts_tupleDescriptor,
													 guard->currency, value, false),
								payguard_str(order->currency)) != 0)
		return ROW_ORDER_OTHER_CURRENCY;
	value = slot_getattr(row, guard->amount, &isnull);
	if (isnull)
		return ROW_ORDER_OTHER_AMOUNT;
	switch (guard->amount_type)
	{
		case NUMERICOID:
			same = payguard_currency_is_worth(DatumGetNumeric(value), order->amount,
											  payguard_str(order->currency));
			break;
		case INT2OID:
			same = DatumGetInt16(value) == order->amount;
			break;
		case INT4OID:
			same = DatumGetInt32(value) == order->amount;
			break;
		default:
			same = DatumGetInt64(value) == order->amount;
	}
	return same ? ROW_ORDER_FITS : ROW_ORDER_OTHER_AMOUNT;
}

/*
 * has_ended tells whether an order was closed, or given back, at some time.
 */
static bool
has_ended(const text *order_id)
{
	Datum value = PointerGetDatum(order_id);
	void *rows;

	return payguard_store_list(&payguard_events, &events_of_end, &value, &rows) > 0 ||
		   payguard_store_list(payguard_events.archive, &events_of_end, &value, &rows) >
			   0;
}
