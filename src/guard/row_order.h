/*
 * row_order.h
 *		What payguard says of the order that a row of a guarded table names.
 */
#ifndef PAYGUARD_GUARD_ROW_ORDER_H
#define PAYGUARD_GUARD_ROW_ORDER_H

#include "executor/tuptable.h"

#include "guard/settings.h"

/* Whether the order lets its row be in a state. */
typedef enum RowOrder
{
	ROW_ORDER_FITS,			  /* it does */
	ROW_ORDER_UNPAID,		  /* it is not paid, or there is none */
	ROW_ORDER_OPEN,			  /* it is not closed, or there is none */
	ROW_ORDER_OTHER_CURRENCY, /* it is paid in another currency than the row's */
	ROW_ORDER_OTHER_AMOUNT	  /* it is over another amount than the row */
} RowOrder;

extern RowOrder payguard_row_order_is_paid(const Guard *guard, TupleTableSlot *row,
										   bool stays);
extern RowOrder payguard_row_order_is_closed(const Guard *guard, TupleTableSlot *row,
											 bool stays);
extern const text *payguard_row_order_refunded(const text *order_id);

#endif
