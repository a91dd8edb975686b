/*
 * refusal.h
 *		The business errors, one line each.
 *
 * A line has the error's name in C, its SQLSTATE, its constraint name, its table and its column. A client may switch on
 * the SQLSTATE or the constraint name: they never change. Table and column say what the error is about; "" where there is
 * none. doc/reference.md, "Errors", tells whether a retry can succeed.
 */
#ifndef PAYGUARD_BASE_REFUSAL_H
#define PAYGUARD_BASE_REFUSAL_H

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/compat.h"

#define PAYGUARD_ERRORS(X)                                                               \
	X(ORDER_ALREADY_PAID, "PY101", "order_already_paid", "orders", "status")             \
	X(ORDER_CLOSED, "PY102", "order_closed", "orders", "status")                         \
	X(PAYMENT_IN_PROGRESS, "PY103", "payment_in_progress", "orders", "status")           \
	X(SUSPECTED_DUPLICATE, "PY104", "suspected_duplicate", "orders", "")                 \
	X(ILLEGAL_TRANSITION, "PY105", "illegal_transition", "payments", "status")           \
	X(VERSION_CONFLICT, "PY201", "version_conflict", "orders", "version")                \
	X(KEY_REUSED, "PY301", "idempotency_key_reused", "payments", "idempotency_key")      \
	X(KEY_REVOKED, "PY302", "idempotency_key_revoked", "payments", "idempotency_key")    \
	X(PAYMENT_FAILED, "PY303", "payment_failed", "payments", "status")                   \
	X(ORDER_ID_REUSED, "PY304", "order_id_reused", "orders", "order_id")                 \
	X(TRANSACTION_KNOWN, "PY305", "transaction_known", "payments", "channel_txn_id")     \
	X(ORDER_NOT_FOUND, "PY401", "order_not_found", "orders", "order_id")                 \
	X(PAYMENT_NOT_FOUND, "PY402", "payment_not_found", "payments", "payment_id")         \
	X(REFUND_NOT_FOUND, "PY403", "refund_not_found", "refunds", "refund_id")             \
	X(TASK_NOT_FOUND, "PY404", "task_not_found", "tasks", "task_id")                     \
	X(CHANNEL_NOT_FOUND, "PY405", "channel_not_found", "channels", "name")               \
	X(CHANNEL_NOT_INTERNAL, "PY406", "channel_not_internal", "channels", "internal")     \
	X(AMOUNT_MISMATCH, "PY501", "amount_mismatch", "orders", "amount")                   \
	X(CURRENCY_MISMATCH, "PY502", "currency_mismatch", "orders", "currency")             \
	X(AMOUNT_EXCEEDS_AUTHORIZATION, "PY503", "amount_exceeds_authorization", "payments", \
	  "authorized_amount")                                                               \
	X(REFUND_EXCEEDS_PAYMENT, "PY504", "refund_exceeds_payment", "refund_balances", "")  \
	X(APPROVAL_REQUIRED, "PY601", "approval_required", "approvals", "")                  \
	X(SELF_APPROVAL, "PY602", "self_approval", "approvals", "")                          \
	X(LEASE_LOST, "PY701", "lease_lost", "tasks", "lease_token")                         \
	X(DIRECT_WRITE, "PY901", "direct_write_forbidden", "", "")                           \
	X(UNSAFE_DDL, "PY902", "unsafe_ddl", "", "")                                         \
	X(RESET_NOT_ALLOWED, "PY903", "reset_not_allowed", "", "")

typedef enum ErrorId
{
	NO_ERROR_ID, /* the request may go on */
#define X(id, code, name, table, column) ERR_##id,
	PAYGUARD_ERRORS(X)
#undef X
		N_ERRORS
} ErrorId;

/* Why a request was refused; raised by some callers, returned as an outcome by others. */
typedef struct Refusal
{
	ErrorId id;
	const char *message;
	const char *detail;
	const char *hint;
} Refusal;

extern const char *payguard_error_name(ErrorId id);
extern bool payguard_refuse(Refusal *refusal, ErrorId id, const char *message,
							const char *detail, const char *hint);
extern void payguard_count_refusal(ErrorId id);
extern void payguard_raise(const Refusal *refusal) pg_attribute_noreturn();

#endif
