/*
 * pay_judge.h
 *		What is judged of a call that pays.
 */
#ifndef PAYGUARD_REQUESTS_PAY_JUDGE_H
#define PAYGUARD_REQUESTS_PAY_JUDGE_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "base/refusal.h"
#include "records/order.h"
#include "records/payment.h"

/* An order of the batch, shared by the calls that name it. */
typedef struct OrderEntry
{
	text *order_id;
	Order order;
	bool found;
	bool may_pay; /* some call may pay it: it has to be locked */
	bool locked;
	bool watched; /* a policy looks for duplicates of it: its customer is locked, too */
	struct PayCall *payer; /* the one call whose payment is going in; NULL: none */
} OrderEntry;

typedef enum Verdict
{
	VERDICT_OPEN,	/* not yet judged, or it may pay */
	VERDICT_DONE,	/* paid by this call */
	VERDICT_REPLAY, /* paid by an earlier call with this key */
	VERDICT_REFUSE
} Verdict;

typedef struct PayCall
{
	/* the request */
	text *order_id;
	text *key;
	int64 amount;
	text *currency;
	int64 expected_version;
	text *channel;
	const char *kind;		/* payments.request_kind: pay, start, request, revoke */
	TimestampTz expires_at; /* of an attempt, at its channel */
	Jsonb *details;
	text *capture; /* of an attempt: automatic, manual; NULL: the channel decides */
	bool brief;	   /* a refusal is returned: nobody sees its detail */
	MemoryContext memory; /* of one element of the batch; NULL: of a single call */

	/* the batch: who must be settled before, by order and by key */
	struct PayCall *before_order;
	struct PayCall *before_key;
	struct PayCall
		*before_customer; /* of watched orders: what it does makes duplicates */

	/* the answer */
	OrderEntry *entry;
	Order order; /* as it was when this call was settled */
	bool key_known;
	Payment payment; /* the one with this key, where there is one */
	Verdict verdict;
	bool paying;  /* its payment goes in, unless the key is taken */
	bool passed;  /* it only waits for its key, which another call takes */
	bool settled; /* the verdict is final */
	Refusal refusal;
	text *
		duplicate; /* the order that this one seems to repeat, to be flagged; NULL: none */
} PayCall;

extern void payguard_pay_find_key(PayCall *call);
extern void payguard_pay_judge(PayCall *call);
extern bool payguard_pay_judge_key_reuse(const PayCall *call, Refusal *refusal);
extern bool payguard_pay_is_attempt(const PayCall *call);
extern void payguard_pay_make_durable(const PayCall *call);

#endif
