/*
 * payguard.h
 *		The shared types, and each file's functions.
 *
 * Dependencies run one way: payguard.c → the domain nouns → machine, store, event → errors,
 * compat.
 */
#ifndef PAYGUARD_H
#define PAYGUARD_H

#include "fmgr.h"
#include "nodes/nodes.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "decide.h"
#include "errors.h"
#include "machine.h"
#include "store/durable.h"
#include "store/each.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"

#define PAYGUARD_SCHEMA "payguard"
#define INTERNAL_CHANNEL "internal"
#define MAX_ID_LENGTH 255	 /* bytes of an order id, key, channel, txn id or actor */
#define MAX_NOTE_LENGTH 4000 /* bytes of a reason or a note */
#define MAX_ELEMENTS 100000	 /* of an array, and of what a call finds for itself */

/* What an event, an alert or a task is about: the ids that are known. */
typedef struct About
{
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	int64 task_id;
} About;

#define ABOUT_NOTHING ((About){0})

/* Something payable. */
typedef struct Order
{
	RowHeader header;
	text *order_id;
	text *customer_id;
	int64 amount;
	text *currency;
	OrderStatus status;
	OrderStatus closing_as; /* what it becomes when its attempt ends without money */
	int64 version;
	pg_uuid_t *payment_id; /* the one that paid */
	int64 refunded_amount;
	TimestampTz created_at;
	TimestampTz updated_at;
	TimestampTz expires_at;
} Order;

enum
{
	ORDER_F_ORDER_ID,
	ORDER_F_CUSTOMER_ID,
	ORDER_F_AMOUNT,
	ORDER_F_CURRENCY,
	ORDER_F_STATUS,
	ORDER_F_CLOSING_AS,
	ORDER_F_VERSION,
	ORDER_F_PAYMENT_ID,
	ORDER_F_REFUNDED_AMOUNT,
	ORDER_F_CREATED_AT,
	ORDER_F_UPDATED_AT,
	ORDER_F_EXPIRES_AT,
	N_ORDER_FIELDS
};

enum
{
	ORDER_BY_ID
};

/* The columns of payguard.order_status_result. */
#define N_STATUS_COLUMNS 12

/* One movement of money from the customer, attempted or real. */
typedef struct Payment
{
	RowHeader header;
	pg_uuid_t *payment_id;
	text *order_id;
	text *idempotency_key; /* NULL where the channel began it */
	text *channel;
	int64 amount; /* as asked */
	text *currency;
	int64 received_amount; /* as the channel reported */
	text *received_currency;
	bool amount_verified; /* the channel named the amount */
	PaymentStatus status;
	text *channel_txn_id;
	TimestampTz channel_time;
	text *failure_code;
	text *failure_message;
	int64 order_version; /* the order's, when this payment was made or started */
	text *request_kind;	 /* pay, start, request, revoke, record */
	Jsonb *details;
	TimestampTz created_at;
	TimestampTz expires_at;
	TimestampTz completed_at;
} Payment;

enum
{
	PAYMENT_F_PAYMENT_ID,
	PAYMENT_F_ORDER_ID,
	PAYMENT_F_IDEMPOTENCY_KEY,
	PAYMENT_F_CHANNEL,
	PAYMENT_F_AMOUNT,
	PAYMENT_F_CURRENCY,
	PAYMENT_F_RECEIVED_AMOUNT,
	PAYMENT_F_RECEIVED_CURRENCY,
	PAYMENT_F_AMOUNT_VERIFIED,
	PAYMENT_F_STATUS,
	PAYMENT_F_CHANNEL_TXN_ID,
	PAYMENT_F_CHANNEL_TIME,
	PAYMENT_F_FAILURE_CODE,
	PAYMENT_F_FAILURE_MESSAGE,
	PAYMENT_F_ORDER_VERSION,
	PAYMENT_F_REQUEST_KIND,
	PAYMENT_F_DETAILS,
	PAYMENT_F_CREATED_AT,
	PAYMENT_F_EXPIRES_AT,
	PAYMENT_F_COMPLETED_AT,
	N_PAYMENT_FIELDS
};

enum
{
	PAYMENT_BY_ID,
	PAYMENT_BY_KEY,
	PAYMENT_BY_CHANNEL_TXN,
	PAYMENT_THAT_COUNTS /* the order's live or successful one */
};

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

/* One change, append-only. */
typedef struct Event
{
	RowHeader header;
	int64 event_id;
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	text *kind;
	text *from_status;
	text *to_status;
	int64 version;
	text *actor;
	TimestampTz at;
	Jsonb *details;
} Event;

enum
{
	EVENT_F_EVENT_ID,
	EVENT_F_XID,
	EVENT_F_ORDER_ID,
	EVENT_F_PAYMENT_ID,
	EVENT_F_REFUND_ID,
	EVENT_F_KIND,
	EVENT_F_FROM_STATUS,
	EVENT_F_TO_STATUS,
	EVENT_F_VERSION,
	EVENT_F_ACTOR,
	EVENT_F_AT,
	EVENT_F_DETAILS,
	N_EVENT_FIELDS
};

enum
{
	EVENT_BY_ID
};

/* Where money moves. */
typedef struct Channel
{
	RowHeader header;
	text *name;
	bool internal;
	text *driver;
	Interval *first_query_after;
	Interval *max_query_interval;
	Interval *alert_after;
	Interval *not_found_is_final_after;
	text *late_success;
	bool idempotent_charge;
	TimestampTz created_at;
	TimestampTz updated_at;
} Channel;

enum
{
	CHANNEL_F_NAME,
	CHANNEL_F_INTERNAL,
	CHANNEL_F_DRIVER,
	CHANNEL_F_FIRST_QUERY_AFTER,
	CHANNEL_F_MAX_QUERY_INTERVAL,
	CHANNEL_F_ALERT_AFTER,
	CHANNEL_F_NOT_FOUND_IS_FINAL_AFTER,
	CHANNEL_F_LATE_SUCCESS,
	CHANNEL_F_IDEMPOTENT_CHARGE,
	CHANNEL_F_CREATED_AT,
	CHANNEL_F_UPDATED_AT,
	N_CHANNEL_FIELDS
};

enum
{
	CHANNEL_BY_NAME
};

/* One movement of money back to the customer. */
typedef struct Refund
{
	RowHeader header;
	pg_uuid_t *refund_id;
	pg_uuid_t *payment_id;
	text *order_id;
	text *idempotency_key; /* NULL where nobody asked for it */
	text *channel;
	int64 amount; /* as asked */
	text *currency;
	int64 returned_amount; /* as the channel reported */
	bool amount_verified;
	RefundStatus status;
	text *origin;		 /* request, surplus, channel */
	text *reversal_kind; /* of origin channel: refund, chargeback, bank_return */
	text *reason;
	text *channel_refund_id;
	text *failure_code;
	text *failure_message;
	text *requested_by;
	Jsonb *details;
	TimestampTz created_at;
	TimestampTz completed_at;
} Refund;

enum
{
	REFUND_F_REFUND_ID,
	REFUND_F_PAYMENT_ID,
	REFUND_F_ORDER_ID,
	REFUND_F_IDEMPOTENCY_KEY,
	REFUND_F_CHANNEL,
	REFUND_F_AMOUNT,
	REFUND_F_CURRENCY,
	REFUND_F_RETURNED_AMOUNT,
	REFUND_F_AMOUNT_VERIFIED,
	REFUND_F_STATUS,
	REFUND_F_ORIGIN,
	REFUND_F_REVERSAL_KIND,
	REFUND_F_REASON,
	REFUND_F_CHANNEL_REFUND_ID,
	REFUND_F_FAILURE_CODE,
	REFUND_F_FAILURE_MESSAGE,
	REFUND_F_REQUESTED_BY,
	REFUND_F_DETAILS,
	REFUND_F_CREATED_AT,
	REFUND_F_COMPLETED_AT,
	N_REFUND_FIELDS
};

enum
{
	REFUND_BY_ID,
	REFUND_BY_KEY,
	REFUND_BY_CHANNEL_REFUND
};

/* The refunds of one payment added up, in the minor unit of what was received. */
typedef struct RefundBalance
{
	RowHeader header;
	pg_uuid_t *payment_id;
	int64 received;
	int64 refunding;
	int64 refunded;
	int64 excess;
} RefundBalance;

enum
{
	BALANCE_F_PAYMENT_ID,
	BALANCE_F_RECEIVED,
	BALANCE_F_REFUNDING,
	BALANCE_F_REFUNDED,
	BALANCE_F_EXCESS,
	N_BALANCE_FIELDS
};

enum
{
	BALANCE_BY_PAYMENT
};

/* One thing that a worker must do outside. */
typedef struct Task
{
	RowHeader header;
	int64 task_id;
	text *kind;
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	text *channel;
	TimestampTz run_at;
	int64 tries; /* how often it was claimed */
	bool sent;	 /* a worker may have told the channel of it */
	bool again;	 /* an earlier task may have told the channel of the same */
	text *last_error;
	TimestampTz dead_at; /* out of tries: waits for a person */
	TimestampTz created_at;
} Task;

enum
{
	TASK_F_TASK_ID,
	TASK_F_KIND,
	TASK_F_ORDER_ID,
	TASK_F_PAYMENT_ID,
	TASK_F_REFUND_ID,
	TASK_F_CHANNEL,
	TASK_F_RUN_AT,
	TASK_F_TRIES,
	TASK_F_SENT,
	TASK_F_AGAIN,
	TASK_F_LAST_ERROR,
	TASK_F_DEAD_AT,
	TASK_F_CREATED_AT,
	N_TASK_FIELDS
};

enum
{
	TASK_BY_ID,
	TASK_OF_PAYMENT,
	TASK_OF_REFUND
};

/* A worker's hold on a task, and so on the order: one task of an order runs at a time. */
typedef struct Lease
{
	RowHeader header;
	text *order_id;
	int64 task_id;
	pg_uuid_t *lease_token;
	TimestampTz leased_until;
	text *worker;
	TimestampTz run_at; /* of the task when it was claimed */
} Lease;

enum
{
	LEASE_F_ORDER_ID,
	LEASE_F_TASK_ID,
	LEASE_F_LEASE_TOKEN,
	LEASE_F_LEASED_UNTIL,
	LEASE_F_WORKER,
	LEASE_F_RUN_AT,
	N_LEASE_FIELDS
};

enum
{
	LEASE_OF_ORDER
};

/* A task that was claimed and is gone: what a late or repeated answer is about. */
typedef struct FinishedTask
{
	RowHeader header;
	int64 task_id;
	text *kind;
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	pg_uuid_t
		*lease_token; /* of the answer that finished it; NULL: it became pointless */
	text *outcome;
	TimestampTz finished_at;
} FinishedTask;

enum
{
	FINISHED_F_TASK_ID,
	FINISHED_F_KIND,
	FINISHED_F_ORDER_ID,
	FINISHED_F_PAYMENT_ID,
	FINISHED_F_REFUND_ID,
	FINISHED_F_LEASE_TOKEN,
	FINISHED_F_OUTCOME,
	FINISHED_F_FINISHED_AT,
	N_FINISHED_FIELDS
};

enum
{
	FINISHED_BY_ID
};

/* One message from a channel. */
typedef struct Notification
{
	RowHeader header;
	text *channel;
	text *event_id;
	bytea *body;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	text *channel_status;
	text *channel_txn_id;
	int64 amount;
	text *currency;
	TimestampTz channel_time;
	text *code;
	text *message;
	text *reversal_kind; /* it was a record_reversal() */
	text *reversal_id;
	text *result;
	text *order_id;
	TimestampTz received_at;
} Notification;

enum
{
	NOTIFICATION_F_CHANNEL,
	NOTIFICATION_F_EVENT_ID,
	NOTIFICATION_F_BODY,
	NOTIFICATION_F_PAYMENT_ID,
	NOTIFICATION_F_REFUND_ID,
	NOTIFICATION_F_CHANNEL_STATUS,
	NOTIFICATION_F_CHANNEL_TXN_ID,
	NOTIFICATION_F_AMOUNT,
	NOTIFICATION_F_CURRENCY,
	NOTIFICATION_F_CHANNEL_TIME,
	NOTIFICATION_F_CODE,
	NOTIFICATION_F_MESSAGE,
	NOTIFICATION_F_REVERSAL_KIND,
	NOTIFICATION_F_REVERSAL_ID,
	NOTIFICATION_F_RESULT,
	NOTIFICATION_F_ORDER_ID,
	NOTIFICATION_F_RECEIVED_AT,
	N_NOTIFICATION_FIELDS
};

enum
{
	NOTIFICATION_BY_EVENT
};

/* One thing that a person must look at. */
typedef struct Alert
{
	RowHeader header;
	int64 alert_id;
	text *kind;
	text *severity;
	text *cause; /* the id of the payment, refund, task or message that it is about */
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	int64 task_id;
	Jsonb *details;
	TimestampTz opened_at;
	TimestampTz acknowledged_at;
	text *acknowledged_by;
	text *acknowledged_note;
	TimestampTz resolved_at;
	text *resolved_by;
	text *note;
	TimestampTz notified_at; /* maintain() has sent its NOTIFY */
} Alert;

enum
{
	ALERT_F_ALERT_ID,
	ALERT_F_KIND,
	ALERT_F_SEVERITY,
	ALERT_F_CAUSE,
	ALERT_F_ORDER_ID,
	ALERT_F_PAYMENT_ID,
	ALERT_F_REFUND_ID,
	ALERT_F_TASK_ID,
	ALERT_F_DETAILS,
	ALERT_F_OPENED_AT,
	ALERT_F_ACKNOWLEDGED_AT,
	ALERT_F_ACKNOWLEDGED_BY,
	ALERT_F_ACKNOWLEDGED_NOTE,
	ALERT_F_RESOLVED_AT,
	ALERT_F_RESOLVED_BY,
	ALERT_F_NOTE,
	ALERT_F_NOTIFIED_AT,
	N_ALERT_FIELDS
};

enum
{
	ALERT_BY_ID,
	ALERT_OPEN
};

/* When an order expires. */
typedef struct Deadline
{
	RowHeader header;
	text *order_id;
	TimestampTz expires_at;
} Deadline;

enum
{
	DEADLINE_F_ORDER_ID,
	DEADLINE_F_EXPIRES_AT,
	N_DEADLINE_FIELDS
};

enum
{
	DEADLINE_BY_ORDER
};

/* What orders and refunds of a currency need from an amount on. */
typedef struct Policy
{
	RowHeader header;
	text *currency;
	int64 min_amount;
	bool approve_payment;
	bool approve_refund;
	bool require_version;
	Interval *duplicate_window; /* NULL: it does not look for duplicates */
	text *on_duplicate;
	TimestampTz updated_at;
} Policy;

enum
{
	POLICY_F_CURRENCY,
	POLICY_F_MIN_AMOUNT,
	POLICY_F_APPROVE_PAYMENT,
	POLICY_F_APPROVE_REFUND,
	POLICY_F_REQUIRE_VERSION,
	POLICY_F_DUPLICATE_WINDOW,
	POLICY_F_ON_DUPLICATE,
	POLICY_F_UPDATED_AT,
	N_POLICY_FIELDS
};

enum
{
	POLICY_OF_AMOUNT
};

/* What to do about a suspected duplicate, in the order in which it is looked for. */
typedef enum OnDuplicate
{
	DUPLICATE_REFUSE,
	DUPLICATE_HOLD,
	DUPLICATE_FLAG,
	N_ON_DUPLICATE
} OnDuplicate;

/* What all policies together ask for an amount. */
typedef struct Asked
{
	bool approve_payment;
	bool approve_refund;
	bool require_version;
	TimestampTz
		since[N_ON_DUPLICATE]; /* duplicates count from then on; NO_TIME: they do not */
} Asked;

/* Where payments of one customer wait for each other. */
typedef struct Customer
{
	RowHeader header;
	text *customer_id;
	text *order_id;
	TimestampTz paid_at;
} Customer;

enum
{
	CUSTOMER_F_CUSTOMER_ID,
	CUSTOMER_F_ORDER_ID,
	CUSTOMER_F_PAID_AT,
	N_CUSTOMER_FIELDS
};

enum
{
	CUSTOMER_BY_ID
};

/* A second opinion that was asked for. */
typedef struct Approval
{
	RowHeader header;
	int64 approval_id;
	text *subject; /* order, refund, finding */
	text *order_id;
	pg_uuid_t *refund_id;
	int64 alert_id;
	int64 amount;
	text *currency;
	text *status; /* open, approved, rejected, void */
	text *requested_by;
	TimestampTz requested_at;
	text *decided_by;
	TimestampTz decided_at;
	text *note;
} Approval;

enum
{
	APPROVAL_F_APPROVAL_ID,
	APPROVAL_F_SUBJECT,
	APPROVAL_F_ORDER_ID,
	APPROVAL_F_REFUND_ID,
	APPROVAL_F_ALERT_ID,
	APPROVAL_F_AMOUNT,
	APPROVAL_F_CURRENCY,
	APPROVAL_F_STATUS,
	APPROVAL_F_REQUESTED_BY,
	APPROVAL_F_REQUESTED_AT,
	APPROVAL_F_DECIDED_BY,
	APPROVAL_F_DECIDED_AT,
	APPROVAL_F_NOTE,
	N_APPROVAL_FIELDS
};

enum
{
	APPROVAL_BY_ID,
	APPROVAL_OF_ORDER,
	APPROVAL_OF_REFUND,
	APPROVAL_OF_FINDING
};

/* What a channel says of a payment or a refund. */
typedef struct Report
{
	ChannelStatus status;
	text *txn_id;
	int64 amount;
	text *currency;
	text *code;
	text *message;
	TimestampTz channel_time;
	text *note;			 /* the operator's, where one gives his word for the channel */
	text *reversal_kind; /* money that the channel gave back on its own ... */
	text *reversal_of;	 /* ... of this transaction; txn_id is the reversal's */
	bool corrects;		 /* an operator believes it more than what was reported before */
	bool give_back;		 /* an operator wants the money to go back: it pays no order */
} Report;

/* What became of a piece of evidence. */
typedef struct Applied
{
	bool changed;			 /* something was written; otherwise it was a replay */
	const char *contradicts; /* why it could not be applied: it is stored and alerted */
	pg_uuid_t *
		now_known; /* the payment whose transaction, or its money, is known from now on */
} Applied;

/* What the caller of payguard_evidence_answer() has looked up before, for many answers. */
typedef struct Known
{
	const Channel *channel; /* of the payment */
	bool
		only_task; /* the payment has no open task but the answered one, which the caller ends */
	bool new_txn; /* no payment has the report's transaction */
} Known;

/* One answer of a worker. */
typedef struct Answer
{
	int64 task_id;
	pg_uuid_t *token;
	Report report;
	text *order_id; /* NULL: the task is not known */
	PaymentResult result;
} Answer;

/* table.c */
extern const Table payguard_orders;
extern const Table payguard_payments;
extern const Table payguard_events;
extern const Table payguard_channels;
extern const Table payguard_refunds;
extern const Table payguard_refund_balances;
extern const Table payguard_tasks;
extern const Table payguard_leases;
extern const Table payguard_finished_tasks;
extern const Table payguard_notifications;
extern const Table payguard_alerts;
extern const Table payguard_deadlines;
extern const Table payguard_policies;
extern const Table payguard_customers;
extern const Table payguard_approvals;
extern const Table payguard_archived_orders;
extern const Table payguard_archived_payments;

/* argument.c */
#define ARG(n) PG_GETARG_DATUM(n), PG_ARGISNULL(n)
extern text *payguard_arg_id(Datum value, bool isnull, const char *name);
extern text *payguard_arg_id_or_null(Datum value, bool isnull, const char *name);
extern bool payguard_arg_is_id(const char *value);
extern text *payguard_arg_note(Datum value, bool isnull, const char *name);
extern text *payguard_arg_note_or_null(Datum value, bool isnull, const char *name);
extern Jsonb *payguard_arg_json_or_null(Datum value, bool isnull, const char *name);
extern int64 payguard_arg_amount(Datum value, bool isnull, const char *name);
extern int64 payguard_arg_amount_or_null(Datum value, bool isnull, const char *name);
extern text *payguard_arg_currency(Datum value, bool isnull, const char *name);
extern text *payguard_arg_currency_or_null(Datum value, bool isnull, const char *name);
extern int64 payguard_arg_version(Datum value, bool isnull, const char *name);
extern int64 payguard_arg_version_or_null(Datum value, bool isnull, const char *name);
extern TimestampTz payguard_arg_time_or_null(Datum value, bool isnull, const char *name);
extern TimestampTz payguard_arg_deadline_or_null(Datum value, bool isnull,
												 const char *name);
extern pg_uuid_t *payguard_arg_uuid(Datum value, bool isnull, const char *name);
extern ChannelStatus payguard_arg_channel_status(Datum value, bool isnull,
												 const char *name);
extern Interval *payguard_arg_interval_or_null(Datum value, bool isnull,
											   const char *name);
extern void payguard_blank_controls(char *s, int length);
extern Interval *payguard_arg_lease(Datum value, bool isnull, const char *name);
extern void payguard_arg_check_length(const ArrayType *array, const char *name);
extern Datum *payguard_arg_rows(ArrayType *array, const char *name, int *n);
extern void payguard_arg_row(Datum row, int n, Datum *values, bool *nulls);
extern int payguard_arg_max(Datum value, bool isnull, const char *name);
extern int payguard_arg_max_rows(Datum value, bool isnull, const char *name);
extern void payguard_arg_bad(const char *name, const char *problem, const char *hint)
	pg_attribute_noreturn();
extern void payguard_arg_missing(const char *name) pg_attribute_noreturn();

/* element.c */
extern MemoryContext payguard_element_memory(void);
extern MemoryContext payguard_element_begin(MemoryContext memory);
extern void payguard_element_end(MemoryContext memory, MemoryContext caller);

/* call.c */
extern void payguard_request_begin(const char *function);
extern void payguard_evidence_begin(const char *function);
extern void payguard_call_end(void);
extern bool payguard_call_is_evidence(void);

/* consumer.c */
extern int payguard_consumer_read(const text *consumer, int max, Datum **ids);
extern void payguard_consumer_move(const text *consumer, int64 event_id);

/* counters.c */
extern void payguard_counters_init(void);
extern void payguard_count_replay(void);
extern void payguard_count_refusal(ErrorId id);

/* text.c */
extern text *payguard_text(const char *string);
extern text *payguard_clean_text(const char *string);
extern bool payguard_text_equal(const text *a, const text *b);
extern bool payguard_text_is(const text *a, const char *b);
extern int payguard_text_compare(const text *a, const text *b);
extern const char *payguard_str(const text *value);
extern bool payguard_list_has(const List *list, const char *string);
extern const char *payguard_money(int64 amount, const text *currency);
extern const char *payguard_time_str(TimestampTz time);
extern const char *payguard_uuid_str(const pg_uuid_t *uuid);
extern Jsonb *payguard_json(const char *key, ...);
extern text *payguard_json_text(Jsonb *object, const char *key);
extern int64 payguard_json_int(Jsonb *object, const char *key);

/* id.c */
extern pg_uuid_t *payguard_uuid_v7(uint16 rand_a);
extern pg_uuid_t *payguard_uuid_v4(void);
extern uint16 payguard_slot_of(const text *order_id);

/* event.c */
extern text *payguard_actor(void);
extern void payguard_event_write(const char *kind, About about, const char *from_status,
								 const char *to_status, int64 version, Jsonb *details);

/* order.c */
extern bool payguard_order_find(const text *order_id, Order *order);
extern bool payguard_order_lock(const text *order_id, Order *order);
extern bool payguard_order_lock_found(Order *order);
extern bool payguard_order_lock_free(const text *order_id, Order *order);
extern void payguard_order_change(Order *order, OrderStatus to, FieldSet also,
								  const char *kind, pg_uuid_t *payment_id,
								  Jsonb *details);
extern void payguard_order_touch(Order *order);
extern void payguard_alert_order(const char *kind, const char *severity,
								 const Order *order, Jsonb *details);
extern bool payguard_order_is_past_deadline(const Order *order, TimestampTz now);
extern bool payguard_refuse_not_found(const text *order_id, Refusal *refusal);
extern bool payguard_refuse_version(const Order *order, int64 expected, Refusal *refusal);
extern bool payguard_refuse_unpayable(const Order *order, TimestampTz now,
									  Refusal *refusal);
extern bool payguard_refuse_unpayable_briefly(const Order *order, TimestampTz now,
											  Refusal *refusal);
extern TupleDesc payguard_result_desc(FunctionCallInfo fcinfo);
extern Datum payguard_row_result(FunctionCallInfo fcinfo, const Table *table,
								 const void *row);

/* archive.c */
extern bool payguard_restore(const text *order_id);

/* payment.c */
extern bool payguard_payment_that_counts(const text *order_id, Payment *payment);
extern bool payguard_payment_find(const pg_uuid_t *payment_id, Payment *payment);
extern const char *payguard_payment_outcome(const Payment *payment, const char **message);
extern void payguard_result_of(const Payment *payment, const Order *order, bool replayed,
							   PaymentResult *result);
extern void payguard_result_put(ReturnSetInfo *rsinfo, const PaymentResult *result);
extern Datum payguard_result_datum(const PaymentResult *result, TupleDesc desc);

/* attempt.c */
extern About payguard_payment_about(const Payment *payment);
extern void payguard_alert_payment(const char *kind, const char *severity,
								   const Payment *payment, Jsonb *details);
extern void payguard_payment_change(const Order *order, Payment *payment,
									PaymentStatus to, FieldSet also, Jsonb *details);
extern void payguard_payment_must_exist(const pg_uuid_t *payment_id, Payment *payment);
extern void payguard_payment_lock(const pg_uuid_t *payment_id, Order *order,
								  Payment *payment);
extern bool payguard_payment_reread(const pg_uuid_t *payment_id, Payment *payment);
extern void payguard_payment_must_be_there(const pg_uuid_t *payment_id, Payment *payment);
extern bool payguard_payment_withdraw_charge(const Payment *payment);
extern void payguard_payment_end_tasks(const Payment *payment);
extern void payguard_payment_close(Order *order, Payment *payment);

/* task.c */
extern bool payguard_notify_tasks;
extern void payguard_task_schedule(const char *kind, About about, text *channel,
								   TimestampTz run_at);
extern void payguard_task_repeat(const char *kind, About about, text *channel);
extern bool payguard_task_find(const char *kind, About about, Task *task);
extern bool payguard_task_remove(const char *kind, About about);
extern void payguard_task_finish(const Task *task, pg_uuid_t *lease_token,
								 const char *outcome);
extern About payguard_task_about(const Task *task);
extern void payguard_alert_task(const char *kind, const char *severity, const Task *task,
								Jsonb *details);
extern void payguard_task_query(About about, const Channel *channel);
extern TimestampTz payguard_task_next_query(const Channel *channel, int64 tries,
											TimestampTz now);
extern int64 payguard_task_wait(const Channel *channel, int64 tries, TimestampTz now);

/* alert.c */
extern void payguard_alert_open(const char *kind, const char *severity, const text *cause,
								About about, Jsonb *details);
extern void payguard_alert_resolve(const char *kind, const text *cause, text *note);
extern void payguard_alert_end(Alert *alert, text *by, text *note);

/* policy.c */
extern bool payguard_policy_asks(const text *currency, int64 amount, Asked *asked);
extern bool payguard_policy_looks_for_duplicates(const Order *order);
extern bool payguard_policy_judge(const Order *order, int64 expected_version, bool locked,
								  text **duplicate, Refusal *refusal);
extern bool payguard_policy_holds(const Order *order, bool locked);
extern void payguard_policy_lock_customer(text *customer_id, const text *order_id);
extern void payguard_policy_note_customer(const Order *order);

/* approval.c */
extern bool payguard_approval_of_order(const text *order_id, bool lock,
									   Approval *approval);
extern bool payguard_approval_of_refund(const pg_uuid_t *refund_id, Approval *approval);
extern bool payguard_approval_of_finding(int64 alert_id, Approval *approval);
extern void payguard_approval_ask(const Approval *asked);
extern void payguard_approval_renew(const Order *order);
extern void payguard_approval_end(const text *order_id, const pg_uuid_t *refund_id,
								  int64 alert_id);
extern bool payguard_approval_decide(Approval *approval, bool approve, text *note);

/* evidence.c */
extern pg_uuid_t *payguard_evidence_same_charge(const Payment *payment);
extern void payguard_evidence_apply(Order *order, Payment *payment, const Report *report,
									Applied *applied);
extern void payguard_evidence_answer(Order *order, Payment *payment,
									 const Report *reported, const Known *known,
									 Applied *applied);
extern void payguard_record_apply(Order *order, const Channel *channel,
								  const Report *report, Payment *payment,
								  Applied *applied);

/* batch.c */
extern void payguard_batch_answer(Answer *answers, int n, bool *answered);

/* notification.c */
extern void payguard_notification_keep(const text *channel, const text *order_id,
									   const pg_uuid_t *payment_id,
									   const pg_uuid_t *refund_id, const Report *report,
									   const char *result);
extern void payguard_notification_match(Order *order, Payment *payment,
										const Applied *applied);

/* refund.c */
extern About payguard_refund_about(const Refund *refund);
extern void payguard_alert_refund(const char *kind, const char *severity,
								  const Refund *refund, Jsonb *details);
extern void payguard_approval_ask_refund(const Refund *refund, bool alert);
extern void payguard_refund_surplus(Order *order, const Payment *payment,
									RefundStatus status);
extern void payguard_refund_correct_received(Order *order, const Payment *payment);
extern bool payguard_refund_waive_unbegun(const Payment *payment, const text *note);
extern void payguard_refund_reverse(Order *order, const Payment *payment,
									const Report *report, Refund *refund,
									Applied *applied);
extern bool payguard_refund_reread(const pg_uuid_t *refund_id, Refund *refund);
extern void payguard_refund_must_be_there(const pg_uuid_t *refund_id, Refund *refund);
extern void payguard_refund_report(Order *order, const Report *report, Refund *refund,
								   Applied *applied);
extern void payguard_refund_rest(Order *order, const Payment *payment, text *key,
								 text *reason);
extern bool payguard_refund_find_reversed(text *channel, text *txn_id, Payment *payment);

/* channel.c */
extern void payguard_channel_of(const Payment *payment, Channel *channel);
extern bool payguard_channel_find(const text *name, Channel *channel);
extern TimestampTz payguard_time_plus(TimestampTz time, const Interval *interval);

/* assert.c */
#ifdef USE_ASSERT_CHECKING
extern bool payguard_order_is_locked(const text *order_id);
extern bool payguard_is_sorted(const void *rows, int n, size_t size,
							   int (*compare)(const void *, const void *));
#endif

/* protect.c */
extern bool payguard_allow_unsafe_ddl;

/* event.c */
extern char *payguard_actor_setting;

#endif
