/*
 * result.h
 *		What calls answer.
 */
#ifndef PAYGUARD_RECORDS_RESULT_H
#define PAYGUARD_RECORDS_RESULT_H

#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"

/* What a call about a payment answers: payguard.payment_result. */
typedef struct PaymentResult
{
	const char *outcome;
	text *order_id;
	pg_uuid_t *payment_id;
	OrderStatus order_status;
	PaymentStatus payment_status;
	int64 version;
	int64 amount;
	text *currency; /* NULL: there is no amount either */
	TimestampTz completed_at;
	bool replayed;
	const char *message;
} PaymentResult;

#define N_RESULT_COLUMNS 11

extern Datum payguard_result_of_evidence(FunctionCallInfo fcinfo, const Order *order,
										 const Payment *payment, const Applied *applied);
extern Datum payguard_result_recorded(FunctionCallInfo fcinfo, text *order_id,
									  pg_uuid_t *payment_id, const char *message);
extern const char *payguard_payment_outcome(const Payment *payment, const char **message);
extern void payguard_result_of(const Payment *payment, const Order *order, bool replayed,
							   PaymentResult *result);
extern Datum payguard_result_datum(const PaymentResult *result, TupleDesc desc);
extern void payguard_result_put(ReturnSetInfo *rsinfo, const PaymentResult *result);
extern Datum payguard_refund_result(FunctionCallInfo fcinfo, const Refund *refund,
									bool replayed, const char *recorded);

#endif
