/*
 * alert.c
 *		Alerts: what a person must look at. One open alert per kind and cause, a cause being one
 *		payment, refund, task or message, so that alerting takes no hot lock.
 */
#include "postgres.h"

#include "payguard.h"

static void lock_alert(Datum alert_id, bool isnull, Alert *alert);

/*
 * payguard_alert_open opens an alert, unless one of that kind is open for that cause.
 */
void
payguard_alert_open(const char *kind, const char *severity, const text *cause,
					About about, Jsonb *details)
{
	Alert alert = {
		.kind = payguard_text(kind),
		.severity = payguard_text(severity),
		.cause = unconstify(text *, cause),
		.order_id = about.order_id,
		.payment_id = about.payment_id,
		.refund_id = about.refund_id,
		.task_id = about.task_id,
		.details = details,
		.opened_at = GetCurrentTimestamp(),
		.acknowledged_at = NO_TIME,
		.resolved_at = NO_TIME,
		.notified_at = NO_TIME,
	};

	Assert(cause != NULL);
	Assert(strcmp(severity, "info") == 0 || strcmp(severity, "warning") == 0 ||
		   strcmp(severity, "critical") == 0);
	payguard_store_insert_new(&payguard_alerts, ALERT_OPEN, &alert);
}

/*
 * payguard_alert_resolve closes the open alert of a kind and cause, where there is one.
 */
void
payguard_alert_resolve(const char *kind, const text *cause, text *note)
{
	Alert like = {.kind = payguard_text(kind), .cause = unconstify(text *, cause)};
	Alert alert;

	if (payguard_store_lock(&payguard_alerts, ALERT_OPEN, &like, &alert))
		payguard_alert_end(&alert, payguard_actor(), note);
}

/*
 * payguard_alert_end notes that an alert, which is locked and open, is resolved, by whom and why.
 */
void
payguard_alert_end(Alert *alert, text *by, text *note)
{
	Assert(alert->resolved_at == NO_TIME);
	alert->resolved_at = GetCurrentTimestamp();
	alert->resolved_by = by;
	alert->note = note;
	payguard_store_update(&payguard_alerts,
						  FIELD(ALERT_F_RESOLVED_AT) | FIELD(ALERT_F_RESOLVED_BY) |
							  FIELD(ALERT_F_NOTE),
						  alert);
}

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
