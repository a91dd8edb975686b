/*
 * tables.c
 *		Which column of a table is which field of its struct.
 */
#include "postgres.h"

#include "payguard.h"

#define COLUMN(struct, field, type)                                                      \
	{                                                                                    \
#field, type, offsetof(struct, field), NULL, NULL                                \
	}
#define NUMBERED(struct, field, sequence)                                                \
	{                                                                                    \
#field, FIELD_ID, offsetof(struct, field), NULL, sequence                        \
	}
#define STATUS(struct, field, machine)                                                   \
	{                                                                                    \
#field, FIELD_STATUS, offsetof(struct, field), &machine, NULL                    \
	}
#define TABLE_PARTS(name, struct, fields, keys)                                          \
	name, sizeof(struct), fields, lengthof(fields), keys, lengthof(keys)
#define TABLE(name, struct, fields, keys)                                                \
	{                                                                                    \
		TABLE_PARTS(name, struct, fields, keys), -1, NULL                                \
	}
#define ARCHIVED_TABLE(name, struct, fields, keys, archive)                              \
	{                                                                                    \
		TABLE_PARTS(name, struct, fields, keys), -1, &archive                            \
	}

static const Field order_fields[N_ORDER_FIELDS] = {
	[ORDER_F_ORDER_ID] = COLUMN(Order, order_id, FIELD_TEXT),
	[ORDER_F_CUSTOMER_ID] = COLUMN(Order, customer_id, FIELD_TEXT),
	[ORDER_F_AMOUNT] = COLUMN(Order, amount, FIELD_AMOUNT),
	[ORDER_F_CURRENCY] = COLUMN(Order, currency, FIELD_TEXT),
	[ORDER_F_STATUS] = STATUS(Order, status, payguard_order_machine),
	[ORDER_F_CLOSING_AS] = STATUS(Order, closing_as, payguard_order_machine),
	[ORDER_F_VERSION] = COLUMN(Order, version, FIELD_ID),
	[ORDER_F_PAYMENT_ID] = COLUMN(Order, payment_id, FIELD_UUID),
	[ORDER_F_REFUNDED_AMOUNT] = COLUMN(Order, refunded_amount, FIELD_AMOUNT),
	[ORDER_F_CREATED_AT] = COLUMN(Order, created_at, FIELD_TIME),
	[ORDER_F_UPDATED_AT] = COLUMN(Order, updated_at, FIELD_TIME),
	[ORDER_F_EXPIRES_AT] = COLUMN(Order, expires_at, FIELD_TIME),
};

static const Key order_keys[] = {
	[ORDER_BY_ID] = {{ORDER_F_ORDER_ID, -1}, "pkey", false, true},
};

static const Field payment_fields[N_PAYMENT_FIELDS] = {
	[PAYMENT_F_PAYMENT_ID] = COLUMN(Payment, payment_id, FIELD_UUID),
	[PAYMENT_F_ORDER_ID] = COLUMN(Payment, order_id, FIELD_TEXT),
	[PAYMENT_F_IDEMPOTENCY_KEY] = COLUMN(Payment, idempotency_key, FIELD_TEXT),
	[PAYMENT_F_CHANNEL] = COLUMN(Payment, channel, FIELD_TEXT),
	[PAYMENT_F_AMOUNT] = COLUMN(Payment, amount, FIELD_AMOUNT),
	[PAYMENT_F_CURRENCY] = COLUMN(Payment, currency, FIELD_TEXT),
	[PAYMENT_F_RECEIVED_AMOUNT] = COLUMN(Payment, received_amount, FIELD_AMOUNT),
	[PAYMENT_F_RECEIVED_CURRENCY] = COLUMN(Payment, received_currency, FIELD_TEXT),
	[PAYMENT_F_AMOUNT_VERIFIED] = COLUMN(Payment, amount_verified, FIELD_BOOL),
	[PAYMENT_F_STATUS] = STATUS(Payment, status, payguard_payment_machine),
	[PAYMENT_F_CHANNEL_TXN_ID] = COLUMN(Payment, channel_txn_id, FIELD_TEXT),
	[PAYMENT_F_CHANNEL_TIME] = COLUMN(Payment, channel_time, FIELD_TIME),
	[PAYMENT_F_FAILURE_CODE] = COLUMN(Payment, failure_code, FIELD_TEXT),
	[PAYMENT_F_FAILURE_MESSAGE] = COLUMN(Payment, failure_message, FIELD_TEXT),
	[PAYMENT_F_ORDER_VERSION] = COLUMN(Payment, order_version, FIELD_ID),
	[PAYMENT_F_REQUEST_KIND] = COLUMN(Payment, request_kind, FIELD_TEXT),
	[PAYMENT_F_DETAILS] = COLUMN(Payment, details, FIELD_JSONB),
	[PAYMENT_F_CREATED_AT] = COLUMN(Payment, created_at, FIELD_TIME),
	[PAYMENT_F_EXPIRES_AT] = COLUMN(Payment, expires_at, FIELD_TIME),
	[PAYMENT_F_COMPLETED_AT] = COLUMN(Payment, completed_at, FIELD_TIME),
};

static const Key payment_keys[] = {
	[PAYMENT_BY_ID] = {{PAYMENT_F_PAYMENT_ID, -1}, "pkey", false, true},
	[PAYMENT_BY_KEY] = {{PAYMENT_F_IDEMPOTENCY_KEY, -1}, "idempotency_key", false, true},
	[PAYMENT_BY_CHANNEL_TXN] = {{PAYMENT_F_CHANNEL, PAYMENT_F_CHANNEL_TXN_ID, -1},
								"channel_txn",
								true,
								true},
	[PAYMENT_THAT_COUNTS] = {{PAYMENT_F_ORDER_ID, -1}, "that_count", true, false},
};

static const Field event_fields[N_EVENT_FIELDS] = {
	[EVENT_F_EVENT_ID] = NUMBERED(Event, event_id, "events_event_id_seq"),
	[EVENT_F_XID] = {"xid", FIELD_XID, 0, NULL, NULL},
	[EVENT_F_ORDER_ID] = COLUMN(Event, order_id, FIELD_TEXT),
	[EVENT_F_PAYMENT_ID] = COLUMN(Event, payment_id, FIELD_UUID),
	[EVENT_F_REFUND_ID] = COLUMN(Event, refund_id, FIELD_UUID),
	[EVENT_F_KIND] = COLUMN(Event, kind, FIELD_TEXT),
	[EVENT_F_FROM_STATUS] = COLUMN(Event, from_status, FIELD_TEXT),
	[EVENT_F_TO_STATUS] = COLUMN(Event, to_status, FIELD_TEXT),
	[EVENT_F_VERSION] = COLUMN(Event, version, FIELD_ID),
	[EVENT_F_ACTOR] = COLUMN(Event, actor, FIELD_TEXT),
	[EVENT_F_AT] = COLUMN(Event, at, FIELD_TIME),
	[EVENT_F_DETAILS] = COLUMN(Event, details, FIELD_JSONB),
};

static const Key event_keys[] = {
	[EVENT_BY_ID] = {{EVENT_F_EVENT_ID, -1}, "pkey", false, false},
};

static const Field channel_fields[N_CHANNEL_FIELDS] = {
	[CHANNEL_F_NAME] = COLUMN(Channel, name, FIELD_TEXT),
	[CHANNEL_F_INTERNAL] = COLUMN(Channel, internal, FIELD_BOOL),
	[CHANNEL_F_DRIVER] = COLUMN(Channel, driver, FIELD_TEXT),
	[CHANNEL_F_FIRST_QUERY_AFTER] = COLUMN(Channel, first_query_after, FIELD_INTERVAL),
	[CHANNEL_F_MAX_QUERY_INTERVAL] = COLUMN(Channel, max_query_interval, FIELD_INTERVAL),
	[CHANNEL_F_ALERT_AFTER] = COLUMN(Channel, alert_after, FIELD_INTERVAL),
	[CHANNEL_F_NOT_FOUND_IS_FINAL_AFTER] =
		COLUMN(Channel, not_found_is_final_after, FIELD_INTERVAL),
	[CHANNEL_F_LATE_SUCCESS] = COLUMN(Channel, late_success, FIELD_TEXT),
	[CHANNEL_F_IDEMPOTENT_CHARGE] = COLUMN(Channel, idempotent_charge, FIELD_BOOL),
	[CHANNEL_F_CREATED_AT] = COLUMN(Channel, created_at, FIELD_TIME),
	[CHANNEL_F_UPDATED_AT] = COLUMN(Channel, updated_at, FIELD_TIME),
};

static const Key channel_keys[] = {
	[CHANNEL_BY_NAME] = {{CHANNEL_F_NAME, -1}, "pkey", false, false},
};

static const Field refund_fields[N_REFUND_FIELDS] = {
	[REFUND_F_REFUND_ID] = COLUMN(Refund, refund_id, FIELD_UUID),
	[REFUND_F_PAYMENT_ID] = COLUMN(Refund, payment_id, FIELD_UUID),
	[REFUND_F_ORDER_ID] = COLUMN(Refund, order_id, FIELD_TEXT),
	[REFUND_F_IDEMPOTENCY_KEY] = COLUMN(Refund, idempotency_key, FIELD_TEXT),
	[REFUND_F_CHANNEL] = COLUMN(Refund, channel, FIELD_TEXT),
	[REFUND_F_AMOUNT] = COLUMN(Refund, amount, FIELD_AMOUNT),
	[REFUND_F_CURRENCY] = COLUMN(Refund, currency, FIELD_TEXT),
	[REFUND_F_RETURNED_AMOUNT] = COLUMN(Refund, returned_amount, FIELD_AMOUNT),
	[REFUND_F_AMOUNT_VERIFIED] = COLUMN(Refund, amount_verified, FIELD_BOOL),
	[REFUND_F_STATUS] = STATUS(Refund, status, payguard_refund_machine),
	[REFUND_F_ORIGIN] = COLUMN(Refund, origin, FIELD_TEXT),
	[REFUND_F_REVERSAL_KIND] = COLUMN(Refund, reversal_kind, FIELD_TEXT),
	[REFUND_F_REASON] = COLUMN(Refund, reason, FIELD_TEXT),
	[REFUND_F_CHANNEL_REFUND_ID] = COLUMN(Refund, channel_refund_id, FIELD_TEXT),
	[REFUND_F_FAILURE_CODE] = COLUMN(Refund, failure_code, FIELD_TEXT),
	[REFUND_F_FAILURE_MESSAGE] = COLUMN(Refund, failure_message, FIELD_TEXT),
	[REFUND_F_REQUESTED_BY] = COLUMN(Refund, requested_by, FIELD_TEXT),
	[REFUND_F_DETAILS] = COLUMN(Refund, details, FIELD_JSONB),
	[REFUND_F_CREATED_AT] = COLUMN(Refund, created_at, FIELD_TIME),
	[REFUND_F_COMPLETED_AT] = COLUMN(Refund, completed_at, FIELD_TIME),
};

static const Key refund_keys[] = {
	[REFUND_BY_ID] = {{REFUND_F_REFUND_ID, -1}, "pkey", false, true},
	[REFUND_BY_KEY] = {{REFUND_F_IDEMPOTENCY_KEY, -1}, "idempotency_key", true, true},
	[REFUND_BY_CHANNEL_REFUND] = {{REFUND_F_CHANNEL, REFUND_F_CHANNEL_REFUND_ID, -1},
								  "channel_refund",
								  true,
								  true},
};

static const Field balance_fields[N_BALANCE_FIELDS] = {
	[BALANCE_F_PAYMENT_ID] = COLUMN(RefundBalance, payment_id, FIELD_UUID),
	[BALANCE_F_RECEIVED] = COLUMN(RefundBalance, received, FIELD_AMOUNT),
	[BALANCE_F_REFUNDING] = COLUMN(RefundBalance, refunding, FIELD_AMOUNT),
	[BALANCE_F_REFUNDED] = COLUMN(RefundBalance, refunded, FIELD_AMOUNT),
	[BALANCE_F_EXCESS] = COLUMN(RefundBalance, excess, FIELD_AMOUNT),
};

static const Key balance_keys[] = {
	[BALANCE_BY_PAYMENT] = {{BALANCE_F_PAYMENT_ID, -1}, "pkey", false, false},
};

static const Field task_fields[N_TASK_FIELDS] = {
	[TASK_F_TASK_ID] = NUMBERED(Task, task_id, "tasks_task_id_seq"),
	[TASK_F_KIND] = COLUMN(Task, kind, FIELD_TEXT),
	[TASK_F_ORDER_ID] = COLUMN(Task, order_id, FIELD_TEXT),
	[TASK_F_PAYMENT_ID] = COLUMN(Task, payment_id, FIELD_UUID),
	[TASK_F_REFUND_ID] = COLUMN(Task, refund_id, FIELD_UUID),
	[TASK_F_CHANNEL] = COLUMN(Task, channel, FIELD_TEXT),
	[TASK_F_RUN_AT] = COLUMN(Task, run_at, FIELD_TIME),
	[TASK_F_TRIES] = COLUMN(Task, tries, FIELD_AMOUNT),
	[TASK_F_SENT] = COLUMN(Task, sent, FIELD_BOOL),
	[TASK_F_AGAIN] = COLUMN(Task, again, FIELD_BOOL),
	[TASK_F_LAST_ERROR] = COLUMN(Task, last_error, FIELD_TEXT),
	[TASK_F_DEAD_AT] = COLUMN(Task, dead_at, FIELD_TIME),
	[TASK_F_CREATED_AT] = COLUMN(Task, created_at, FIELD_TIME),
};

static const Key task_keys[] = {
	[TASK_BY_ID] = {{TASK_F_TASK_ID, -1}, "pkey", false, false},
	[TASK_OF_PAYMENT] = {{TASK_F_PAYMENT_ID, TASK_F_KIND, -1}, "of_payment", true, false},
	[TASK_OF_REFUND] = {{TASK_F_REFUND_ID, TASK_F_KIND, -1}, "of_refund", true, false},
};

static const Field lease_fields[N_LEASE_FIELDS] = {
	[LEASE_F_ORDER_ID] = COLUMN(Lease, order_id, FIELD_TEXT),
	[LEASE_F_TASK_ID] = COLUMN(Lease, task_id, FIELD_ID),
	[LEASE_F_LEASE_TOKEN] = COLUMN(Lease, lease_token, FIELD_UUID),
	[LEASE_F_LEASED_UNTIL] = COLUMN(Lease, leased_until, FIELD_TIME),
	[LEASE_F_WORKER] = COLUMN(Lease, worker, FIELD_TEXT),
	[LEASE_F_RUN_AT] = COLUMN(Lease, run_at, FIELD_TIME),
};

static const Key lease_keys[] = {
	[LEASE_OF_ORDER] = {{LEASE_F_ORDER_ID, -1}, "pkey", false, false},
};

static const Field finished_fields[N_FINISHED_FIELDS] = {
	[FINISHED_F_TASK_ID] = COLUMN(FinishedTask, task_id, FIELD_ID),
	[FINISHED_F_KIND] = COLUMN(FinishedTask, kind, FIELD_TEXT),
	[FINISHED_F_ORDER_ID] = COLUMN(FinishedTask, order_id, FIELD_TEXT),
	[FINISHED_F_PAYMENT_ID] = COLUMN(FinishedTask, payment_id, FIELD_UUID),
	[FINISHED_F_REFUND_ID] = COLUMN(FinishedTask, refund_id, FIELD_UUID),
	[FINISHED_F_LEASE_TOKEN] = COLUMN(FinishedTask, lease_token, FIELD_UUID),
	[FINISHED_F_OUTCOME] = COLUMN(FinishedTask, outcome, FIELD_TEXT),
	[FINISHED_F_FINISHED_AT] = COLUMN(FinishedTask, finished_at, FIELD_TIME),
};

static const Key finished_keys[] = {
	[FINISHED_BY_ID] = {{FINISHED_F_TASK_ID, -1}, "pkey", false, false},
};

static const Field notification_fields[N_NOTIFICATION_FIELDS] = {
	[NOTIFICATION_F_CHANNEL] = COLUMN(Notification, channel, FIELD_TEXT),
	[NOTIFICATION_F_EVENT_ID] = COLUMN(Notification, event_id, FIELD_TEXT),
	[NOTIFICATION_F_BODY] = COLUMN(Notification, body, FIELD_BYTEA),
	[NOTIFICATION_F_PAYMENT_ID] = COLUMN(Notification, payment_id, FIELD_UUID),
	[NOTIFICATION_F_REFUND_ID] = COLUMN(Notification, refund_id, FIELD_UUID),
	[NOTIFICATION_F_CHANNEL_STATUS] = COLUMN(Notification, channel_status, FIELD_TEXT),
	[NOTIFICATION_F_CHANNEL_TXN_ID] = COLUMN(Notification, channel_txn_id, FIELD_TEXT),
	[NOTIFICATION_F_AMOUNT] = COLUMN(Notification, amount, FIELD_AMOUNT),
	[NOTIFICATION_F_CURRENCY] = COLUMN(Notification, currency, FIELD_TEXT),
	[NOTIFICATION_F_CHANNEL_TIME] = COLUMN(Notification, channel_time, FIELD_TIME),
	[NOTIFICATION_F_CODE] = COLUMN(Notification, code, FIELD_TEXT),
	[NOTIFICATION_F_MESSAGE] = COLUMN(Notification, message, FIELD_TEXT),
	[NOTIFICATION_F_REVERSAL_KIND] = COLUMN(Notification, reversal_kind, FIELD_TEXT),
	[NOTIFICATION_F_REVERSAL_ID] = COLUMN(Notification, reversal_id, FIELD_TEXT),
	[NOTIFICATION_F_RESULT] = COLUMN(Notification, result, FIELD_TEXT),
	[NOTIFICATION_F_ORDER_ID] = COLUMN(Notification, order_id, FIELD_TEXT),
	[NOTIFICATION_F_RECEIVED_AT] = COLUMN(Notification, received_at, FIELD_TIME),
};

static const Key notification_keys[] = {
	[NOTIFICATION_BY_EVENT] = {{NOTIFICATION_F_CHANNEL, NOTIFICATION_F_EVENT_ID, -1},
							   "pkey",
							   false,
							   true},
};

static const Field alert_fields[N_ALERT_FIELDS] = {
	[ALERT_F_ALERT_ID] = NUMBERED(Alert, alert_id, "alerts_alert_id_seq"),
	[ALERT_F_KIND] = COLUMN(Alert, kind, FIELD_TEXT),
	[ALERT_F_SEVERITY] = COLUMN(Alert, severity, FIELD_TEXT),
	[ALERT_F_CAUSE] = COLUMN(Alert, cause, FIELD_TEXT),
	[ALERT_F_ORDER_ID] = COLUMN(Alert, order_id, FIELD_TEXT),
	[ALERT_F_PAYMENT_ID] = COLUMN(Alert, payment_id, FIELD_UUID),
	[ALERT_F_REFUND_ID] = COLUMN(Alert, refund_id, FIELD_UUID),
	[ALERT_F_TASK_ID] = COLUMN(Alert, task_id, FIELD_ID),
	[ALERT_F_DETAILS] = COLUMN(Alert, details, FIELD_JSONB),
	[ALERT_F_OPENED_AT] = COLUMN(Alert, opened_at, FIELD_TIME),
	[ALERT_F_ACKNOWLEDGED_AT] = COLUMN(Alert, acknowledged_at, FIELD_TIME),
	[ALERT_F_ACKNOWLEDGED_BY] = COLUMN(Alert, acknowledged_by, FIELD_TEXT),
	[ALERT_F_ACKNOWLEDGED_NOTE] = COLUMN(Alert, acknowledged_note, FIELD_TEXT),
	[ALERT_F_RESOLVED_AT] = COLUMN(Alert, resolved_at, FIELD_TIME),
	[ALERT_F_RESOLVED_BY] = COLUMN(Alert, resolved_by, FIELD_TEXT),
	[ALERT_F_NOTE] = COLUMN(Alert, note, FIELD_TEXT),
	[ALERT_F_NOTIFIED_AT] = COLUMN(Alert, notified_at, FIELD_TIME),
};

static const Key alert_keys[] = {
	[ALERT_BY_ID] = {{ALERT_F_ALERT_ID, -1}, "pkey", false, false},
	[ALERT_OPEN] = {{ALERT_F_KIND, ALERT_F_CAUSE, -1}, "open", true, false},
};

static const Field deadline_fields[N_DEADLINE_FIELDS] = {
	[DEADLINE_F_ORDER_ID] = COLUMN(Deadline, order_id, FIELD_TEXT),
	[DEADLINE_F_EXPIRES_AT] = COLUMN(Deadline, expires_at, FIELD_TIME),
};

static const Key deadline_keys[] = {
	[DEADLINE_BY_ORDER] = {{DEADLINE_F_ORDER_ID, -1}, "pkey", false, false},
};

static const Field policy_fields[N_POLICY_FIELDS] = {
	[POLICY_F_CURRENCY] = COLUMN(Policy, currency, FIELD_TEXT),
	[POLICY_F_MIN_AMOUNT] = COLUMN(Policy, min_amount, FIELD_AMOUNT),
	[POLICY_F_APPROVE_PAYMENT] = COLUMN(Policy, approve_payment, FIELD_BOOL),
	[POLICY_F_APPROVE_REFUND] = COLUMN(Policy, approve_refund, FIELD_BOOL),
	[POLICY_F_REQUIRE_VERSION] = COLUMN(Policy, require_version, FIELD_BOOL),
	[POLICY_F_DUPLICATE_WINDOW] = COLUMN(Policy, duplicate_window, FIELD_INTERVAL),
	[POLICY_F_ON_DUPLICATE] = COLUMN(Policy, on_duplicate, FIELD_TEXT),
	[POLICY_F_UPDATED_AT] = COLUMN(Policy, updated_at, FIELD_TIME),
};

static const Key policy_keys[] = {
	[POLICY_OF_AMOUNT] = {{POLICY_F_CURRENCY, POLICY_F_MIN_AMOUNT, -1},
						  "pkey",
						  false,
						  false},
};

static const Field customer_fields[N_CUSTOMER_FIELDS] = {
	[CUSTOMER_F_CUSTOMER_ID] = COLUMN(Customer, customer_id, FIELD_TEXT),
	[CUSTOMER_F_ORDER_ID] = COLUMN(Customer, order_id, FIELD_TEXT),
	[CUSTOMER_F_PAID_AT] = COLUMN(Customer, paid_at, FIELD_TIME),
};

static const Key customer_keys[] = {
	[CUSTOMER_BY_ID] = {{CUSTOMER_F_CUSTOMER_ID, -1}, "pkey", false, false},
};

static const Field approval_fields[N_APPROVAL_FIELDS] = {
	[APPROVAL_F_APPROVAL_ID] =
		NUMBERED(Approval, approval_id, "approvals_approval_id_seq"),
	[APPROVAL_F_SUBJECT] = COLUMN(Approval, subject, FIELD_TEXT),
	[APPROVAL_F_ORDER_ID] = COLUMN(Approval, order_id, FIELD_TEXT),
	[APPROVAL_F_REFUND_ID] = COLUMN(Approval, refund_id, FIELD_UUID),
	[APPROVAL_F_ALERT_ID] = COLUMN(Approval, alert_id, FIELD_ID),
	[APPROVAL_F_AMOUNT] = COLUMN(Approval, amount, FIELD_AMOUNT),
	[APPROVAL_F_CURRENCY] = COLUMN(Approval, currency, FIELD_TEXT),
	[APPROVAL_F_STATUS] = COLUMN(Approval, status, FIELD_TEXT),
	[APPROVAL_F_REQUESTED_BY] = COLUMN(Approval, requested_by, FIELD_TEXT),
	[APPROVAL_F_REQUESTED_AT] = COLUMN(Approval, requested_at, FIELD_TIME),
	[APPROVAL_F_DECIDED_BY] = COLUMN(Approval, decided_by, FIELD_TEXT),
	[APPROVAL_F_DECIDED_AT] = COLUMN(Approval, decided_at, FIELD_TIME),
	[APPROVAL_F_NOTE] = COLUMN(Approval, note, FIELD_TEXT),
};

static const Key approval_keys[] = {
	[APPROVAL_BY_ID] = {{APPROVAL_F_APPROVAL_ID, -1}, "pkey", false, false},
	[APPROVAL_OF_ORDER] = {{APPROVAL_F_ORDER_ID, -1}, "of_order", true, false},
	[APPROVAL_OF_REFUND] = {{APPROVAL_F_REFUND_ID, -1}, "of_refund", true, false},
	[APPROVAL_OF_FINDING] = {{APPROVAL_F_ALERT_ID, -1}, "of_finding", true, false},
};

/* What archive_orders() has moved. */
const Table payguard_archived_orders =
	TABLE("archived_orders", Order, order_fields, order_keys);
const Table payguard_archived_payments =
	TABLE("archived_payments", Payment, payment_fields, payment_keys);
static const Table archived_events =
	TABLE("archived_events", Event, event_fields, event_keys);
static const Table archived_refunds =
	TABLE("archived_refunds", Refund, refund_fields, refund_keys);
static const Table archived_notifications =
	TABLE("archived_notifications", Notification, notification_fields, notification_keys);

const Table payguard_orders = {TABLE_PARTS("orders", Order, order_fields, order_keys),
							   ORDER_F_VERSION, &payguard_archived_orders};
const Table payguard_payments = ARCHIVED_TABLE("payments", Payment, payment_fields,
											   payment_keys, payguard_archived_payments);
const Table payguard_events =
	ARCHIVED_TABLE("events", Event, event_fields, event_keys, archived_events);
const Table payguard_channels = TABLE("channels", Channel, channel_fields, channel_keys);
const Table payguard_refunds =
	ARCHIVED_TABLE("refunds", Refund, refund_fields, refund_keys, archived_refunds);
const Table payguard_refund_balances =
	TABLE("refund_balances", RefundBalance, balance_fields, balance_keys);
const Table payguard_tasks = TABLE("tasks", Task, task_fields, task_keys);
const Table payguard_leases = TABLE("leases", Lease, lease_fields, lease_keys);
const Table payguard_finished_tasks =
	TABLE("finished_tasks", FinishedTask, finished_fields, finished_keys);
const Table payguard_notifications =
	ARCHIVED_TABLE("notifications", Notification, notification_fields, notification_keys,
				   archived_notifications);
const Table payguard_alerts = TABLE("alerts", Alert, alert_fields, alert_keys);
const Table payguard_deadlines =
	TABLE("deadlines", Deadline, deadline_fields, deadline_keys);
const Table payguard_policies = TABLE("policies", Policy, policy_fields, policy_keys);
const Table payguard_customers =
	TABLE("customers", Customer, customer_fields, customer_keys);
const Table payguard_approvals =
	TABLE("approvals", Approval, approval_fields, approval_keys);
