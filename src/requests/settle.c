/*
 * settle.c
 *		settle_payment() and settle_refund(): an operator gives his word for the channel.
 *
 * His word is applied as any report is. It may contradict what is known, and is kept and alerted then.
 *
 * Locking: the order's row lock.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"

#include "base/argument.h"
#include "base/text.h"
#include "base/value.h"
#include "records/alert.h"
#include "records/call.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "records/result.h"
#include "evidence/apply.h"
#include "evidence/message.h"
#include "evidence/returned.h"

PG_FUNCTION_INFO_V1(payguard_settle_payment);

/*
 * settle_payment(payment_id, channel_status, note, channel_txn_id, amount, currency)
 *	→ payment_result
 *
 * An operator's word, by the rules of report_payment(). Errors: 22004, 22023; PY402.
 */
Datum
payguard_settle_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	Report report = {
		.status = payguard_arg_channel_status(ARG(1), "channel_status"),
		.note = payguard_arg_note(ARG(2), "note"),
		.txn_id = payguard_arg_id_or_null(ARG(3), "channel_txn_id"),
		.amount = payguard_arg_amount_or_null(ARG(4), "amount"),
		.currency = payguard_arg_currency_or_null(ARG(5), "currency"),
		.channel_time = NO_TIME,
		.capture_before = NO_TIME,
		.fresh = true,
		.queried = true,
	};
	Order order;
	Payment payment;
	Applied applied;

	payguard_request_begin("settle_payment()");
	payguard_payment_must_exist(payment_id, &payment);
	payguard_payment_lock(payment_id, &order, &payment);
	payguard_evidence_apply(&order, &payment, &report, &applied);
	payguard_notification_match(&order, &payment, &applied);
	payguard_call_end();
	return payguard_result_of_evidence(fcinfo, &order, &payment, &applied);
}

PG_FUNCTION_INFO_V1(payguard_settle_refund);

/*
 * settle_refund(refund_id, channel_status, note, channel_refund_id) → refund_result
 *
 * The scripts before 1.2.0 have no channel_refund_id.
 * An operator's word, by the rules of report_refund(). Errors: 22004, 22023; PY403.
 */
Datum
payguard_settle_refund(PG_FUNCTION_ARGS)
{
	pg_uuid_t *refund_id = payguard_arg_uuid(ARG(0), "refund_id");
	Report report = {
		.status = payguard_arg_channel_status(ARG(1), "channel_status"),
		.note = payguard_arg_note(ARG(2), "note"),
		.txn_id =
			PG_NARGS() > 3 ? payguard_arg_id_or_null(ARG(3), "channel_refund_id") : NULL,
		.amount = NO_AMOUNT,
		.channel_time = NO_TIME,
	};
	Order order;
	Payment payment;
	Refund refund;
	Applied applied;

	payguard_request_begin("settle_refund()");
	payguard_refund_must_exist(refund_id, &refund);
	payguard_refund_lock(refund_id, &order, &payment, &refund);
	/* what he says settles what was open to question, unless it contradicts anew */
	payguard_alert_resolve("refund_mismatch", payguard_text(payguard_uuid_str(refund_id)),
						   report.note);
	payguard_refund_report(&order, &report, &refund, &applied);
	payguard_call_end();
	return payguard_refund_result(
		fcinfo, &refund, !applied.changed && !applied.contradicts, applied.contradicts);
}
