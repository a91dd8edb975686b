/*
 * alert.c
 *		Alerts: what a person must look at. One open alert per kind and cause, a cause being one
 *		payment, refund, task or message, so that alerting takes no hot lock.
 */
#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/text.h"
#include "base/value.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/alert.h"

static const Field alert_fields[] = {ALERT_COLUMNS(COLUMN_FIELD)};

static const Key alert_keys[] = {
	[ALERT_BY_ID] = {.fields = {ALERT_F_ALERT_ID, -1}, .index = "pkey"},
	[ALERT_OPEN] = {.fields = {ALERT_F_KIND, ALERT_F_CAUSE, -1},
					.index = "open",
					.partial = true},
};
const Table payguard_alerts = TABLE("alerts", Alert, alert_fields, alert_keys);

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
