/*
 * resolve_alert.c
 *		acknowledge_alert() and resolve_alert(): a person looks into an alert, or has dealt with it.
 *
 * Locking: the alert's row, and no order.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "base/argument.h"
#include "base/value.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/actor.h"
#include "records/alert.h"
#include "records/approval.h"
#include "records/call.h"

static void lock_alert(Datum alert_id, bool isnull, Alert *alert);

PG_FUNCTION_INFO_V1(payguard_acknowledge_alert);

/*
 * acknowledge_alert(alert_id, note) → alerts: a person looks into it. One that has been
 * acknowledged or resolved before is returned as it is. Errors: 22004; 22023 where there is none.
 */
Datum
payguard_acknowledge_alert(PG_FUNCTION_ARGS)
{
	text *note = payguard_arg_note(ARG(1), "note");
	Alert alert;

	payguard_request_begin("acknowledge_alert()");
	lock_alert(ARG(0), &alert);
	if (alert.acknowledged_at == NO_TIME && alert.resolved_at == NO_TIME)
	{
		alert.acknowledged_at = GetCurrentTimestamp();
		alert.acknowledged_by = payguard_actor();
		alert.acknowledged_note = note;
		payguard_store_update(&payguard_alerts,
							  FIELD(ALERT_F_ACKNOWLEDGED_AT) |
								  FIELD(ALERT_F_ACKNOWLEDGED_BY) |
								  FIELD(ALERT_F_ACKNOWLEDGED_NOTE),
							  &alert);
	}
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_alerts, &alert);
}

PG_FUNCTION_INFO_V1(payguard_resolve_alert);

/*
 * resolve_alert(alert_id, note) → alerts: a person has dealt with it. One that was resolved
 * before is returned as it is. Errors: 22004; 22023 where there is none.
 */
Datum
payguard_resolve_alert(PG_FUNCTION_ARGS)
{
	text *note = payguard_arg_note(ARG(1), "note");
	Alert alert;

	payguard_request_begin("resolve_alert()");
	lock_alert(ARG(0), &alert);
	if (alert.resolved_at == NO_TIME)
	{
		payguard_approval_end(NULL, NULL, alert.alert_id);
		payguard_alert_end(&alert, payguard_actor(), note);
	}
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_alerts, &alert);
}

static void
lock_alert(Datum alert_id, bool isnull, Alert *alert)
{
	Alert like;

	if (isnull)
		payguard_arg_missing("alert_id");
	like = (Alert){.alert_id = DatumGetInt64(alert_id)};
	if (!payguard_store_lock(&payguard_alerts, ALERT_BY_ID, &like, alert))
		payguard_arg_bad("alert_id", "There is no such alert.",
						 "Look it up in payguard.alerts.");
}
