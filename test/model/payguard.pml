/*
 * payguard.pml
 *		One order: the shop and its customer, payguard, and two channels, in every order in which
 *		things can happen.
 *
 * What payguard does with a report is in decide.pml, generated from the code. What it does when
 * it is asked for something (start, close, cancel, expire) is written here, in the part
 * "payguard"; each change of a state is checked against the machines in decide.pml.
 *
 * One process is one attempt: everything that can happen to it, one transaction or one action
 * of the channel at a time. The process behind the last attempt is money that comes without an
 * attempt. Messages are not counted: what a channel has once said can arrive at any time, in
 * any order, any number of times, or never.
 *
 * At any moment the outside world may fall quiet: no more requests, customers who do nothing,
 * messages lost for ever. What is left is a worker who does the tasks, a channel that answers
 * him, and its statement. Then the order must get settled, in finitely many steps.
 */
#include "decide.pml"

#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#define RECORDED ATTEMPTS /* money without an attempt comes behind the last one */
#define SLOTS (ATTEMPTS + 1)

/* with LEAN, the channels charge once, and what they were asked to, and settle at once */
#ifndef LEAN
#define LEAN false
#endif
/* with RETURNS, they take money back that they took */
#ifndef RETURNS
#define RETURNS false
#endif
/* with GOES_ON, they settle slowly, and go on with what they said to have failed */
#ifndef GOES_ON
#define GOES_ON false
#endif
/* with CAPTURES, they reserve money, which is taken when the shop says so; amounts are 1 and 2 then */
#ifndef CAPTURES
#define CAPTURES false
#endif
/* and of what they have reserved a part may lapse */
#ifndef PART_LAPSES
#define PART_LAPSES CAPTURES
#endif

/* bugs to be found; those of the decisions are in generate.py */
#ifndef BUG_CHANNEL_NEVER_ANSWERS /* not payguard's: then no order need ever be settled */
#define BUG_CHANNEL_NEVER_ANSWERS false
#endif
#ifndef BUG_CLOSING_IS_FREE
#define BUG_CLOSING_IS_FREE false
#endif
#ifndef BUG_KEY_RELEASED
#define BUG_KEY_RELEASED false
#endif
#ifndef BUG_NO_QUERY
#define BUG_NO_QUERY false
#endif
#ifndef BUG_EARLIER_CHARGE_FORGOTTEN
#define BUG_EARLIER_CHARGE_FORGOTTEN false
#endif
#ifndef BUG_WITHDRAWN_AFTER_CLAIM
#define BUG_WITHDRAWN_AFTER_CLAIM false
#endif
#ifndef BUG_CHARGED_WHILE_PROCESSING
#define BUG_CHARGED_WHILE_PROCESSING false
#endif
#ifndef BUG_RETURNED_STAYS_PAID
#define BUG_RETURNED_STAYS_PAID false
#endif
#ifndef BUG_REVERSAL_NOT_KEPT
#define BUG_REVERSAL_NOT_KEPT false
#endif
#ifndef BUG_CAPTURED_BLINDLY
#define BUG_CAPTURED_BLINDLY false
#endif
#ifndef BUG_CAPTURED_UNCHECKED
#define BUG_CAPTURED_UNCHECKED false
#endif
#ifndef BUG_RAISED_UNCHECKED
#define BUG_RAISED_UNCHECKED false
#endif
#ifndef BUG_CAPTURE_GIVEN_UP_AFTER_CLAIM
#define BUG_CAPTURE_GIVEN_UP_AFTER_CLAIM false
#endif
#ifndef BUG_CAPTURE_NOT_WITHDRAWN
#define BUG_CAPTURE_NOT_WITHDRAWN false
#endif
#ifndef BUG_LOST_CAPTURE_NOT_ASKED
#define BUG_LOST_CAPTURE_NOT_ASKED false
#endif
#ifndef BUG_PART_IS_LESS
#define BUG_PART_IS_LESS false
#endif
#ifndef BUG_REPEATED_BEYOND
#define BUG_REPEATED_BEYOND false
#endif
#ifndef BUG_PART_NOT_REVIVED
#define BUG_PART_NOT_REVIVED false
#endif
#ifndef BUG_REQUEUED_CHARGE_SENT_AGAIN
#define BUG_REQUEUED_CHARGE_SENT_AGAIN false
#endif
#ifndef BUG_REQUEUED_CAPTURE_SENT_AGAIN
#define BUG_REQUEUED_CAPTURE_SENT_AGAIN false
#endif
#ifndef BUG_CANCELLED_AT_ONCE
#define BUG_CANCELLED_AT_ONCE false
#endif

/* --- what payguard has in its tables ----------------------------------------------------- */

byte order = ORDER_UNPAID;
byte closing_as = ORDER_NONE;
byte payment[SLOTS];
byte txn[SLOTS];		 /* channel_txn_id; 0: not known */
bool refund[SLOTS];		 /* the payment's money goes back */
bool second[SLOTS];		 /* a surplus payment for the other transaction, with its refund */
byte charge[SLOTS];		 /* a charge task that no worker has claimed: CHARGE_ */
bool close_due[SLOTS];	 /* a close task */
bool query_due[SLOTS];	 /* a query task of an attempt that is not open */
bool revived[SLOTS];	 /* it had failed, and the channel goes on */
bool excess[SLOTS];		 /* what is more than the order asks goes back */
bool kept_back[SLOTS];	 /* a reversal is kept until its money is known */
byte late_success[2];	 /* a channel's setting */
bit channel_of[SLOTS];
byte wants = 2;			 /* what the order asks for, with CAPTURES */
byte asked_for[SLOTS];	 /* and asked for when the attempt was started */
byte capture_amount[SLOTS]; /* what a capture asks for; 0: nobody has asked for one */
byte authorized[SLOTS];	 /* what it knows to be reserved; 0: nothing yet */
byte capture[SLOTS];	 /* its task: CAPTURE_ */
bool requeued[SLOTS];	 /* somebody has had it tried again while a worker has it */

#define CHARGE_NONE 0
#define CHARGE_DUE 1
#define CHARGE_AGAIN 2 /* it was sent, and the channel says that it does not know it */

#define CAPTURE_NONE 0
#define CAPTURE_DUE 1	  /* no worker has it */
#define CAPTURE_CLAIMED 2 /* one has it, and his request has not arrived */
#define CAPTURE_ARRIVED 3 /* the channel has dealt with the request, and he has no answer yet */

/* --- what is true at the channel --------------------------------------------------------- */

#define TRADE_NONE 0	   /* the channel has never heard of it */
#define TRADE_OPEN 1	   /* the customer has yet to pay, or the channel to decide */
#define TRADE_PROCESSING 2 /* the customer has done it all, and the channel settles */
#define TRADE_AUTHORIZED 3 /* it has reserved the money */
#define TRADE_FAILED 4	   /* it said failed; some channels go on, or take the money all the same */
#define TRADE_CLOSED 5	   /* it cannot be charged any more */
#define TRADE_TAKEN 6	   /* the money was taken */
#define TRADE_RETURNED 7   /* and the customer's bank has taken it back */

byte trade[SLOTS];
bool twice[SLOTS]; /* and once more, as transaction 2 */

byte amount[SLOTS]; /* what was taken beside what was asked for: MONEY_; with CAPTURES how much */
bool early[SLOTS];	/* it was taken, and not told, before the order expired */
bool said_failed[SLOTS];
bool said_processing[SLOTS];
byte said_authorized[SLOTS]; /* the most that it has said to have reserved */
byte reserved[SLOTS];	/* how much it has reserved */
byte captured[SLOTS];	/* how many of our captures it has made */
byte lost[SLOTS];		/* a request for a capture may arrive though its lease is over: its amount */
bool lost_asked[SLOTS]; /* the channel was asked since, and has the money reserved still */

#define TAKEN(a) (trade[a] >= TRADE_TAKEN)
/* how a channel says that money was taken back: as a failure of the payment, or as a reversal */
#define SAYS_FAILED(a) (channel_of[a] == 1)
/* whether a capture with the same id is made once, however often it arrives */
#define IDEMPOTENT(a) (channel_of[a] == 0)
/* what was taken beside what the order asks for */
#define MONEY(a) \
	(!CAPTURES -> amount[a] : \
	 (amount[a] < wants -> MONEY_LESS : (amount[a] > wants -> MONEY_MORE : MONEY_FITS)))

/* --- what happened, for the checks only -------------------------------------------------- */

bool sent[SLOTS];	/* somebody may have sent the charge to the channel */
bool ended[SLOTS];	/* the channel said: failed, closed, or for a long time not found */
bool told_1[SLOTS]; /* the channel reported the money of transaction 1 */
bool told_2[SLOTS];
bool told_back[SLOTS]; /* the channel reported that it was taken back */
bool closing_asked; /* the order was cancelled or expired */

bool quiet;			/* the outside world has fallen quiet */
bool asked[SLOTS];	/* since then the channel has been queried, and nothing has changed */

/* --- the promises ------------------------------------------------------------------------ */

/* after each transaction */
#define COUNTED(a) \
	((payment[a] == PAYMENT_SUCCEEDED) + (payment[a] == PAYMENT_SURPLUS && refund[a]) + \
	 (payment[a] == PAYMENT_RETURNED) + second[a])
#define PAID_ONCE (succeeded + live <= 1)
#define MONEY_IS_ACCOUNTED_FOR(a) (COUNTED(a) == told_1[a] + told_2[a])
#define NOTHING_IS_GUESSED(a) (payment[a] != PAYMENT_FAILED || ended[a] || !sent[a])
#define ONLY_THE_RIGHT_AMOUNT_PAYS(a) \
	(payment[a] != PAYMENT_SUCCEEDED || MONEY(a) == MONEY_FITS || MONEY(a) == MONEY_MORE)
#define EXCESS_GOES_BACK(a) \
	(payment[a] != PAYMENT_SUCCEEDED || MONEY(a) != MONEY_MORE || excess[a])
#define RETURNED_MONEY_PAYS_NOTHING(a) (payment[a] != PAYMENT_SUCCEEDED || !told_back[a])
#define CAPTURED_ONCE(a) (captured[a] <= 1)
#define ORDER_SAYS_WHAT_PAYMENTS_SAY \
	(succeeded == (order == ORDER_PAID || order == ORDER_REFUNDED) && \
	 live == (order == ORDER_PAYING))
#define NOT_ASKED_TO_PAY_AFTER_ITS_END (!closing_asked || order != ORDER_UNPAID)

/* before another attempt starts: each earlier one was answered, or certainly never sent, or is being closed since
   other money paid the order, which was taken back then */
#define ANSWERED_BEFORE_THE_NEXT(a) \
	(!sent[a] || ended[a] || told_1[a] || told_2[a] || payment[a] == PAYMENT_SUPERSEDED)

/* with each report */
#define CANCELLED_FOR_GOOD \
	((f_order_status != ORDER_CANCELLED || order == ORDER_CANCELLED) && \
	 (f_closing_as != ORDER_CANCELLED || order != ORDER_PAID))
#define LATE_MONEY_AS_THE_CHANNEL_SAYS \
	((f_payment_status != PAYMENT_FAILED && !f_revived) || d_payment != PAYMENT_SUCCEEDED || \
	 (f_late_success != LATE_REFUND && \
	  (f_order_status != ORDER_EXPIRED || f_late_success == LATE_ACCEPT_EXPIRED || f_in_time)))
#define A_MESSAGE_TAKES_NOTHING_BACK \
	(fresh || (!d_reverse && \
	  (f_payment_status != PAYMENT_PROCESSING || d_payment != PAYMENT_PENDING) && \
	  (f_payment_status != PAYMENT_CAPTURING || d_payment != PAYMENT_AUTHORIZED) && \
	  (f_payment_status != PAYMENT_FAILED || \
	   (d_payment != PAYMENT_PENDING && d_payment != PAYMENT_PROCESSING && \
		d_payment != PAYMENT_AUTHORIZED))))
#define WHAT_WAS_CAPTURED_PAYS(a) \
	(f_payment_status != PAYMENT_CAPTURING || report != REPORT_SUCCEEDED || \
	 amount[a] != capture_amount[a] || f_closing_as == ORDER_CANCELLED || \
	 d_payment == PAYMENT_SUCCEEDED || (f_revived && f_late_success == LATE_REFUND))
#define RESERVED_MONEY_IS_KEPT(a) \
	(f_payment_status != PAYMENT_FAILED || report != REPORT_AUTHORIZED || !fresh || \
	 f_order_status != ORDER_UNPAID || f_late_success == LATE_REFUND || authorized[a] == 0 || \
	 wants > asked_for[a] || d_payment == PAYMENT_AUTHORIZED)
#define LEGAL_MOVE_OF_PAYMENT(from, to) PAYMENT_MAY(from, to)
#define LEGAL_MOVE_OF_ORDER(from, to) ORDER_MAY(from, to)

/* with each charge that is claimed */
#define CHARGED_ONLY_WHEN_WANTED(a) \
	((payment[a] == PAYMENT_PENDING || payment[a] == PAYMENT_UNKNOWN) && closing_as == ORDER_NONE)
#define SENT_AGAIN_ONLY_WHEN_NOT_KNOWN(a) (!sent[a] || charge[a] == CHARGE_AGAIN)

/* with each capture that is claimed */
#define CAPTURED_ONLY_WHEN_WANTED(a) CAPTURE_WANTED(a)
/* and with each order that is raised, and each capture that is repeated since the channel has just been asked */
#define NEVER_BEYOND_THE_AUTHORIZATION(how_much, known) (how_much <= known)
/* with each that arrives */
#define NEVER_CAPTURED_AFTER_A_VOID(a) (trade[a] != TRADE_CLOSED || !ended[a])

/* when nothing is left to do: a customer may still be about to pay, or a shop to capture */
#define SETTLED_ATTEMPT(a) \
	(!OPEN(a) || (((payment[a] == PAYMENT_PENDING && trade[a] == TRADE_OPEN) || \
				   (payment[a] == PAYMENT_PROCESSING && trade[a] == TRADE_PROCESSING) || \
				   (payment[a] == PAYMENT_AUTHORIZED && trade[a] == TRADE_AUTHORIZED)) && \
				  closing_as == ORDER_NONE))
#define SETTLED_TASKS(a) \
	(charge[a] == CHARGE_NONE && !close_due[a] && !query_due[a] && capture[a] == CAPTURE_NONE)
/* money that came and went before anybody heard of it, and which the channel calls failed, is none */
#define SETTLED_MONEY(a) \
	((!TAKEN(a) || told_1[a] || (trade[a] == TRADE_RETURNED && SAYS_FAILED(a))) && \
	 (!twice[a] || told_2[a]) && \
	 (trade[a] != TRADE_RETURNED || !told_1[a] || \
	  (told_back[a] && payment[a] != PAYMENT_SUCCEEDED)))
#define SETTLED_ORDER \
	(closing_as == ORDER_NONE && \
	 (!closing_asked || order == ORDER_PAID || order == ORDER_CANCELLED || \
	  order == ORDER_EXPIRED))

/* --- payguard ---------------------------------------------------------------------------- */

#define LIVE(a) \
	(payment[a] == PAYMENT_PENDING || payment[a] == PAYMENT_PROCESSING || \
	 payment[a] == PAYMENT_AUTHORIZED || payment[a] == PAYMENT_CAPTURING || \
	 payment[a] == PAYMENT_UNKNOWN || payment[a] == PAYMENT_CLOSING)
/* the customer has done all that he can do */
#define HOLDS_ORDER(a) \
	(payment[a] == PAYMENT_PROCESSING || payment[a] == PAYMENT_AUTHORIZED || \
	 payment[a] == PAYMENT_CAPTURING)
#define RECEIVED(a) (payment[a] == PAYMENT_SUCCEEDED || payment[a] == PAYMENT_SURPLUS)
/* a charge that waits was never sent, unless it is one to be repeated (tasks.again) */
#define NOT_SENT(a) (charge[a] != CHARGE_NONE && (!sent[a] || BUG_EARLIER_CHARGE_FORGOTTEN))
#define OPEN(a) (LIVE(a) || payment[a] == PAYMENT_SUPERSEDED)
/* a worker has the capture: until his lease is over nobody gets another task of the order */
#define LEASED(a) (capture[a] == CAPTURE_CLAIMED || capture[a] == CAPTURE_ARRIVED)
#define CAPTURE_WANTED(a) (payment[a] == PAYMENT_CAPTURING && closing_as == ORDER_NONE)
/* a capture that a worker has, or had, has to end first */
#define MAY_CLOSE(a) \
	(LIVE(a) && payment[a] != PAYMENT_CLOSING && \
	 (payment[a] != PAYMENT_CAPTURING || capture[a] == CAPTURE_DUE || \
	  BUG_CAPTURE_GIVEN_UP_AFTER_CLAIM))

inline payment_becomes(a, to)
{
	if
	:: payment[a] != to ->
		assert(LEGAL_MOVE_OF_PAYMENT(payment[a], to));
		payment[a] = to;
		asked[a] = false;
	:: else
	fi;
}

inline order_becomes(to)
{
	if
	:: order != to ->
		assert(LEGAL_MOVE_OF_ORDER(order, to));
		order = to;
		closing_as = ORDER_NONE;
		if
		:: order == ORDER_EXPIRED ->
			other = 0;
			do
			:: other < SLOTS -> early[other] = !LEAN && TAKEN(other) && !told_1[other]; other++;
			:: else -> break;
			od;
			other = 0;
		:: else
		fi;
	:: else
	fi;
}

/* the capture's task goes; what a worker has sent may arrive all the same */
inline end_capture(a)
{
	if
	:: capture[a] == CAPTURE_CLAIMED ->
		lost[a] = capture_amount[a];
		/* an attempt that other money has superseded is given up without that, and its money is surplus */
		lost_asked[a] = payment[a] == PAYMENT_SUPERSEDED;
	:: else
	fi;
	capture[a] = CAPTURE_NONE;
	requeued[a] = false;
}

/* first money wins: the order's live attempt is closed, or was never sent */
inline supersede_other()
{
	other = 0;
	do
	:: other < ATTEMPTS && !LIVE(other) -> other++;
	:: else -> break;
	od;
	assert(other < ATTEMPTS);
	if
	:: NOT_SENT(other) ->
		charge[other] = CHARGE_NONE;
		close_due[other] = false;
		payment_becomes(other, PAYMENT_FAILED);
	:: else ->
		charge[other] = CHARGE_NONE;
		if
		:: capture[other] == CAPTURE_DUE && !BUG_CAPTURE_NOT_WITHDRAWN -> capture[other] = CAPTURE_NONE;
		:: else
		fi;
		lost_asked[other] = lost[other] != 0;
		payment_becomes(other, PAYMENT_SUPERSEDED);
		close_due[other] = true;
	fi;
}

/* all that paid the order, or was surplus, is taken back: the order is to be paid again */
inline reverse(a)
{
	told_back[a] = true;
	kept_back[a] = false;
	if
	:: payment[a] == PAYMENT_SUCCEEDED ->
		payment_becomes(a, PAYMENT_RETURNED);
		if
		:: BUG_RETURNED_STAYS_PAID -> skip;
		:: else -> order_becomes(ORDER_UNPAID);
		fi;
		closing_asked = false; /* its deadline is no more */
	:: else
	fi;
}

/* evidence: a reversal waits until its money is known */
inline record_reversal(a)
{
	if
	:: RECEIVED(a) -> reverse(a);
	:: !RECEIVED(a) && payment[a] != PAYMENT_RETURNED && !BUG_REVERSAL_NOT_KEPT -> kept_back[a] = true;
	:: else -> told_back[a] = true;
	fi;
}

/* evidence: what follows from a report of attempt a. fresh: whoever says it has asked just now */
inline apply(a)
{
	f_payment_status = payment[a];
	f_channel_status = report;
	f_other_txn = report_txn != 0 && txn[a] != 0 && report_txn != txn[a];
	f_money = (BUG_PART_IS_LESS && a != RECORDED && amount[a] < asked_for[a] -> MONEY_LESS : MONEY(a));
	f_late_success = (a == RECORDED -> LATE_ACCEPT : late_success[channel_of[a]]);
	f_order_status = order;
	f_closing_as = closing_as;
	f_in_time = early[a] && order == ORDER_EXPIRED && report == REPORT_SUCCEEDED &&
		(payment[a] == PAYMENT_NONE || payment[a] == PAYMENT_FAILED);
	f_revived = revived[a] && LIVE(a) && report == REPORT_SUCCEEDED;
	f_reverses = a != RECORDED && SAYS_FAILED(a) && RECEIVED(a) &&
		(report == REPORT_FAILED || report == REPORT_CLOSED);
	f_fresh = fresh && ((payment[a] == PAYMENT_PROCESSING && report == REPORT_PENDING) ||
		(payment[a] == PAYMENT_CAPTURING && report == REPORT_AUTHORIZED &&
		 (!queried || capture[a] == CAPTURE_NONE)) ||
		(payment[a] == PAYMENT_FAILED &&
		 (report == REPORT_PENDING || report == REPORT_PROCESSING || report == REPORT_AUTHORIZED)) ||
		f_reverses);
	f_repeatable = f_fresh && payment[a] == PAYMENT_CAPTURING && closing_as == ORDER_NONE &&
		queried && IDEMPOTENT(a) && (capture_amount[a] <= reserved[a] || BUG_REPEATED_BEYOND);
	f_revivable = f_fresh && payment[a] == PAYMENT_FAILED && order == ORDER_UNPAID &&
		f_late_success != LATE_REFUND &&
		(!CAPTURES || wants == (capture_amount[a] != 0 -> capture_amount[a] : asked_for[a]) ||
		 (report == REPORT_AUTHORIZED && authorized[a] != 0 && wants <= asked_for[a] && !BUG_PART_NOT_REVIVED));
	decide();
	assert(A_MESSAGE_TAKES_NOTHING_BACK);
	assert(WHAT_WAS_CAPTURED_PAYS(a));
	assert(RESERVED_MONEY_IS_KEPT(a));
	if
	:: f_other_txn && second[a] -> skip; /* the other transaction is known */
	:: else ->
		if
		:: d_second_charge -> second[a] = true;
		:: d_reverse -> reverse(a);
		:: d_fill_in || d_contradiction -> skip;
		:: else ->
			if
			:: d_supersede -> supersede_other();
			:: else
			fi;
			if
			:: report_txn != 0 && (OPEN(a) || d_payment != f_payment_status) ->
				txn[a] = report_txn;
			:: else
			fi;
			if
			:: d_payment != f_payment_status &&
			   (d_payment == PAYMENT_PROCESSING || d_payment == PAYMENT_AUTHORIZED) ->
				charge[a] = (BUG_CHARGED_WHILE_PROCESSING -> charge[a] : CHARGE_NONE);
			:: d_payment != f_payment_status && d_payment != PAYMENT_PENDING &&
			   d_payment != PAYMENT_PROCESSING && d_payment != PAYMENT_UNKNOWN ->
				charge[a] = CHARGE_NONE;
				close_due[a] = false;
				query_due[a] = false;
				end_capture(a);
			:: else
			fi;
			if
			:: f_payment_status == PAYMENT_FAILED && d_payment != PAYMENT_FAILED ->
				revived[a] = true;
				close_due[a] = false;
			:: else
			fi;
			/* of one authorization the first word counts, or that of whoever has asked since, or less */
			if
			:: d_payment == PAYMENT_AUTHORIZED && report == REPORT_AUTHORIZED &&
			   (fresh || f_payment_status != PAYMENT_AUTHORIZED || says < authorized[a]) ->
				authorized[a] = says;
			:: else
			fi;
			if
			:: d_payment == PAYMENT_AUTHORIZED -> end_capture(a); capture_amount[a] = 0;
			:: d_capture ->
				assert(NEVER_BEYOND_THE_AUTHORIZATION(capture_amount[a], reserved[a]));
				capture[a] = CAPTURE_DUE;
			:: else
			fi;
			early[a] = early[a] && !told_1[a];
			payment_becomes(a, d_payment);
			order_becomes(d_order);
			assert(CANCELLED_FOR_GOOD);
			assert(LATE_MONEY_AS_THE_CHANNEL_SAYS);
			revived[a] = revived[a] && LIVE(a);
			if
			:: d_refund -> refund[a] = true;
			:: d_excess -> excess[a] = true;
			:: else
			fi;
			if
			:: kept_back[a] && RECEIVED(a) -> reverse(a);
			:: else
			fi;
		fi;
		if
		:: d_close -> close_due[a] = true;
		:: d_query && !OPEN(a) && (GOES_ON || RETURNS || CAPTURES) -> query_due[a] = true;
		:: else
		fi;
	fi;
}

/* a live attempt is closed: at once, where certainly nothing was sent */
inline close_attempt(a)
{
	if
	:: NOT_SENT(a) || (BUG_WITHDRAWN_AFTER_CLAIM && trade[a] == TRADE_NONE) ->
		charge[a] = CHARGE_NONE;
		report = REPORT_FAILED;
	:: LEASED(a) && !BUG_CAPTURE_GIVEN_UP_AFTER_CLAIM -> skip;
	:: payment[a] == PAYMENT_CAPTURING && capture[a] == CAPTURE_NONE -> skip;
	:: else ->
		charge[a] = CHARGE_NONE;
		if
		:: !BUG_CAPTURE_NOT_WITHDRAWN -> end_capture(a);
		:: else
		fi;
		payment_becomes(a, PAYMENT_CLOSING);
		close_due[a] = true;
	fi;
}

inline close_order(a, as)
{
	closing_asked = true;
	if
	:: order == ORDER_UNPAID -> order_becomes(as);
	:: else ->
		closing_as = as;
		if
		:: BUG_CANCELLED_AT_ONCE ->
			payment_becomes(a, PAYMENT_FAILED);
			order_becomes(as);
		:: else -> close_attempt(a);
		fi;
	fi;
}

/* --- checks ------------------------------------------------------------------------------ */

inline check()
{
	succeeded = 0;
	live = 0;
	other = 0;
	do
	:: other < SLOTS ->
		succeeded = succeeded + (payment[other] == PAYMENT_SUCCEEDED);
		live = live + LIVE(other);
		assert(MONEY_IS_ACCOUNTED_FOR(other));
		assert(NOTHING_IS_GUESSED(other));
		assert(ONLY_THE_RIGHT_AMOUNT_PAYS(other));
		assert(EXCESS_GOES_BACK(other));
		assert(RETURNED_MONEY_PAYS_NOTHING(other));
		assert(CAPTURED_ONCE(other));
		other++;
	:: else -> break;
	od;
	assert(PAID_ONCE);
	assert(ORDER_SAYS_WHAT_PAYMENTS_SAY);
	assert(NOT_ASKED_TO_PAY_AFTER_ITS_END);
	other = 0;
}

inline check_before_start()
{
	other = 0;
	do
	:: other < ATTEMPTS ->
		assert(ANSWERED_BEFORE_THE_NEXT(other));
		other++;
	:: else -> break;
	od;
	other = 0;
}

/* --- the world --------------------------------------------------------------------------- */

/* what the channel says when it is asked now */
#define ANSWER(a) \
	(SAYS_TAKEN(a) -> REPORT_SUCCEEDED : \
	 (trade[a] == TRADE_FAILED || trade[a] == TRADE_RETURNED -> REPORT_FAILED : \
	  (trade[a] == TRADE_CLOSED -> REPORT_CLOSED : \
	   (trade[a] == TRADE_PROCESSING -> REPORT_PROCESSING : \
		(trade[a] == TRADE_AUTHORIZED -> REPORT_AUTHORIZED : \
		 (trade[a] == TRADE_OPEN -> REPORT_PENDING : REPORT_NOT_FOUND))))))
#define SAYS_TAKEN(a) (TAKEN(a) && (trade[a] != TRADE_RETURNED || !SAYS_FAILED(a)))

#define MAY_START(a) \
	(a < ATTEMPTS && payment[a] == PAYMENT_NONE && \
	 (a == 0 || payment[a - 1] != PAYMENT_NONE) && \
	 (order == ORDER_UNPAID || \
	  (order == ORDER_PAYING && \
	   ((BUG_KEY_RELEASED && payment[a - 1] == PAYMENT_UNKNOWN) || \
		(BUG_CLOSING_IS_FREE && payment[a - 1] == PAYMENT_CLOSING && \
		 closing_as == ORDER_NONE)))))

/* what ends an order is done by one process: the live attempt's, or the first */
#define MAY_END_ORDER(a) \
	((order == ORDER_UNPAID && a == 0) || \
	 (order == ORDER_PAYING && closing_as == ORDER_NONE && LIVE(a)))

inline hear(status, transaction)
{
	report = status;
	report_txn = transaction;
}

/* what the channel says to whoever asks now */
inline answer(a)
{
	hear(ANSWER(a), (SAYS_TAKEN(a) -> 1 : 0));
	says = reserved[a];
	fresh = true;
}

inline take(a, how_much)
{
	trade[a] = TRADE_TAKEN;
	amount[a] = how_much;
}

inline authorize(a, how_much)
{
	trade[a] = TRADE_AUTHORIZED;
	reserved[a] = how_much;
	said_authorized[a] = how_much;
}

inline fail(a)
{
	trade[a] = TRADE_FAILED;
	said_failed[a] = true;
}

/* the channel takes what it is asked to, or not now, or says that it cannot any more. Where it knows the request's id
   it has said all about that */
inline capture_arrives(a, how_much)
{
	assert(NEVER_CAPTURED_AFTER_A_VOID(a));
	if
	:: trade[a] == TRADE_AUTHORIZED && how_much <= reserved[a] -> take(a, how_much); captured[a]++;
	:: trade[a] == TRADE_AUTHORIZED -> skip;
	:: trade[a] == TRADE_AUTHORIZED -> fail(a);
	:: captured[a] > 0 && !IDEMPOTENT(a) -> captured[a]++;
	:: trade[a] != TRADE_AUTHORIZED && (captured[a] == 0 || IDEMPOTENT(a)) -> skip;
	fi;
	lost[a] = (IDEMPOTENT(a) -> 0 : lost[a]);
}

proctype slot(byte a)
{
	byte report, report_txn, other, succeeded, live;
	byte says; /* how much is reserved */
	bool fresh, queried, again;

end:
	do
	:: atomic {
		if
		/* the customer, through either channel; a retry with the same key changes nothing in
		   payguard, but may send the charge again, which channels know by its payment_id */
		:: !quiet && MAY_START(a) ->
			check_before_start();
			payment_becomes(a, PAYMENT_PENDING);
			order_becomes(ORDER_PAYING);
			asked_for[a] = (CAPTURES -> wants : 0);
			if
			:: channel_of[a] = 0;
			:: channel_of[a] = 1;
			fi;
			if
			:: sent[a] = true;		 /* start_payment(): the caller sends the charge */
			:: charge[a] = CHARGE_DUE; /* request_payment(): a worker will */
			fi;
		:: !quiet && a < ATTEMPTS && MAY_CLOSE(a) ->
			close_attempt(a);
		/* money that comes without an attempt */
		:: !quiet && a == RECORDED && trade[a] == TRADE_NONE ->
			if
			:: take(a, (CAPTURES -> 2 : MONEY_FITS));
			:: !LEAN -> take(a, MONEY_LESS);
			:: !LEAN -> take(a, MONEY_MORE);
			fi;
			hear(REPORT_SUCCEEDED, 1);
		:: !quiet && a == RECORDED && TAKEN(a) ->
			hear(REPORT_SUCCEEDED, 1);

		/* the shop */
		:: !quiet && a < ATTEMPTS && MAY_END_ORDER(a) ->
			if
			:: close_order(a, ORDER_CANCELLED);
			:: !HOLDS_ORDER(a) -> close_order(a, ORDER_EXPIRED);
			fi;
		/* it lowers an order that has money reserved, raises it again, and captures what the order asks for. A channel
		   takes a capture with a new id for another one. Where a capture was lost, and its channel is not idempotent
		   or had said failed, somebody has looked there before */
		:: !quiet && payment[a] == PAYMENT_AUTHORIZED && wants == 2 ->
			wants = 1;
		:: !quiet && payment[a] == PAYMENT_AUTHORIZED && wants == 1 &&
		   ((asked_for[a] == 2 && authorized[a] == 2) || BUG_RAISED_UNCHECKED) ->
			wants = 2;
			assert(NEVER_BEYOND_THE_AUTHORIZATION(wants, authorized[a]));
		:: !quiet && payment[a] == PAYMENT_AUTHORIZED &&
		   (captured[a] == 0 || (IDEMPOTENT(a) && !revived[a])) &&
		   (wants <= authorized[a] || BUG_CAPTURED_UNCHECKED) ->
			captured[a] = captured[a] * 2;
			capture_amount[a] = wants;
			capture[a] = CAPTURE_DUE;
			lost[a] = 0;
			lost_asked[a] = false;
			payment_becomes(a, PAYMENT_CAPTURING);

		/* the channel: a charge that was sent arrives, sooner or later, or never */
		:: !quiet && sent[a] && trade[a] == TRADE_NONE ->
			trade[a] = TRADE_OPEN;
		:: !quiet && (trade[a] == TRADE_OPEN || trade[a] == TRADE_PROCESSING) ->
			if
			:: !CAPTURES -> take(a, MONEY_FITS);
			:: !LEAN && channel_of[a] == 0 -> take(a, MONEY_LESS);
			:: !LEAN && channel_of[a] == 1 -> take(a, MONEY_MORE);
			:: fail(a);
			:: CAPTURES -> authorize(a, asked_for[a]);
			:: CAPTURES -> authorize(a, 1);
			fi;
		/* all that is reserved may be taken without payguard; or it lapses, and may be reserved again; or a part lapses */
		:: !quiet && trade[a] == TRADE_AUTHORIZED ->
			if
			:: take(a, reserved[a]);
			:: fail(a);
			:: PART_LAPSES && reserved[a] == 2 -> reserved[a] = 1;
			fi;
		:: !quiet && CAPTURES && channel_of[a] == 0 && trade[a] == TRADE_FAILED ->
			trade[a] = (said_authorized[a] != 0 -> TRADE_AUTHORIZED : TRADE_OPEN);
		:: !quiet && ((GOES_ON && channel_of[a] == 0) || (CAPTURES && channel_of[a] == 1)) &&
		   trade[a] == TRADE_OPEN ->
			trade[a] = TRADE_PROCESSING;
			said_processing[a] = true;
		:: !quiet && GOES_ON && channel_of[a] == 0 && (trade[a] == TRADE_PROCESSING || trade[a] == TRADE_FAILED) ->
			trade[a] = TRADE_OPEN;
		:: !quiet && !CAPTURES && trade[a] == TRADE_FAILED -> take(a, MONEY_FITS);
		:: !quiet && !LEAN && a < ATTEMPTS && trade[a] == TRADE_TAKEN && amount[a] == MONEY_FITS &&
		   !said_failed[a] && !twice[a] ->
			twice[a] = true;
		:: !quiet && RETURNS && a < ATTEMPTS && trade[a] == TRADE_TAKEN && !twice[a] ->
			trade[a] = TRADE_RETURNED;
			said_failed[a] = said_failed[a] || SAYS_FAILED(a);
		/* a capture that was sent arrives, sooner or later, or never */
		:: capture[a] == CAPTURE_CLAIMED ->
			capture[a] = CAPTURE_ARRIVED;
			capture_arrives(a, capture_amount[a]);
		:: !quiet && lost[a] != 0 ->
			capture_arrives(a, lost[a]);
			lost[a] = 0;
			lost_asked[a] = false;

		/* what it said arrives, in any order and any number of times: notifications, the answer
		   to the charge, the customer's return page */
		:: !quiet && a < ATTEMPTS && trade[a] >= TRADE_OPEN -> hear(REPORT_PENDING, 0);
		:: !quiet && a < ATTEMPTS && said_processing[a] -> hear(REPORT_PROCESSING, 0);
		:: !quiet && a < ATTEMPTS && said_authorized[a] != 0 -> hear(REPORT_AUTHORIZED, 0); says = said_authorized[a];
		:: !quiet && a < ATTEMPTS && said_authorized[a] != reserved[a] -> hear(REPORT_AUTHORIZED, 0); says = reserved[a];
		:: !quiet && a < ATTEMPTS && said_failed[a] -> hear(REPORT_FAILED, 0);
		:: !quiet && a < ATTEMPTS && trade[a] == TRADE_CLOSED -> hear(REPORT_CLOSED, 0);
		:: !quiet && a < ATTEMPTS && TAKEN(a) -> hear(REPORT_SUCCEEDED, 1);
		:: !quiet && a < ATTEMPTS && twice[a] -> hear(REPORT_SUCCEEDED, 2);
		:: !quiet && trade[a] == TRADE_RETURNED && !SAYS_FAILED(a) -> record_reversal(a);
		/* a time-out, an expired lease; also where somebody has had the charge tried again while a worker has it */
		:: !quiet && sent[a] && payment[a] != PAYMENT_NONE ->
			hear(REPORT_UNKNOWN, 0);
			if
			:: BUG_REQUEUED_CHARGE_SENT_AGAIN && charge[a] == CHARGE_NONE && closing_as == ORDER_NONE &&
			   (payment[a] == PAYMENT_PENDING || payment[a] == PAYMENT_UNKNOWN) ->
				charge[a] = CHARGE_DUE;
			:: else
			fi;

		/* the worker: he claims a charge, and sends it from then on */
		:: charge[a] != CHARGE_NONE ->
			assert(CHARGED_ONLY_WHEN_WANTED(a));
			assert(SENT_AGAIN_ONLY_WHEN_NOT_KNOWN(a));
			charge[a] = CHARGE_NONE;
			sent[a] = true;
			asked[a] = false;
		/* he is certain that none of his tries reached the channel, and out of tries */
		:: NOT_SENT(a) -> hear(REPORT_FAILED, 0);
		/* he asks for each open attempt; that nothing is found counts after a long time */
		:: a < ATTEMPTS && OPEN(a) && !asked[a] && !LEASED(a) && !BUG_NO_QUERY &&
		   !(BUG_LOST_CAPTURE_NOT_ASKED && payment[a] == PAYMENT_CAPTURING) ->
			if
			:: !quiet || trade[a] != TRADE_NONE -> answer(a); queried = true;
			/* and before that time, a worker may charge again */
			:: !quiet && trade[a] == TRADE_NONE && sent[a] && closing_as == ORDER_NONE &&
			   (payment[a] == PAYMENT_PENDING || payment[a] == PAYMENT_UNKNOWN) ->
				hear(REPORT_NOT_FOUND, 0);
				charge[a] = CHARGE_AGAIN;
			:: trade[a] == TRADE_NONE -> hear(REPORT_CLOSED, 0);
			fi;
		/* and for one that has ended, where a message contradicts that */
		:: query_due[a] ->
			query_due[a] = false;
			answer(a);
			queried = true;
		/* he claims a capture, and gets the channel's answer, or none before his lease is over */
		:: capture[a] == CAPTURE_DUE ->
			assert(CAPTURED_ONLY_WHEN_WANTED(a));
			assert(NEVER_BEYOND_THE_AUTHORIZATION(capture_amount[a], authorized[a]));
			capture[a] = CAPTURE_CLAIMED;
			asked[a] = false;
		:: capture[a] == CAPTURE_ARRIVED ->
			end_capture(a);
			answer(a);
		:: !quiet && LEASED(a) ->
			again = requeued[a];
			end_capture(a);
			if
			:: CAPTURE_WANTED(a) && (BUG_CAPTURED_BLINDLY || (again && BUG_REQUEUED_CAPTURE_SENT_AGAIN)) ->
				capture[a] = CAPTURE_DUE;
			:: else
			fi;
			again = false;
		/* meanwhile somebody has it tried again, since nobody seems to do it */
		:: !quiet && LEASED(a) && !requeued[a] ->
			requeued[a] = true;
		/* or is certain that his request did not reach it: then it is done again, where it is wanted still */
		:: !quiet && capture[a] == CAPTURE_CLAIMED && CAPTURE_WANTED(a) ->
			capture[a] = CAPTURE_DUE;
			requeued[a] = false;
		:: !quiet && capture[a] == CAPTURE_CLAIMED && !CAPTURE_WANTED(a) ->
			capture[a] = CAPTURE_NONE;
			requeued[a] = false;
			close_due[a] = true;
			if
			:: payment[a] == PAYMENT_CAPTURING -> payment_becomes(a, PAYMENT_CLOSING);
			:: else
			fi;
		/* he has the channel close it, which may answer, or lose the request or the answer, or
		   say that the customer is just paying */
		:: close_due[a] && !LEASED(a) ->
			close_due[a] = false;
			asked[a] = false;
			if
			:: trade[a] <= TRADE_OPEN || trade[a] == TRADE_AUTHORIZED ->
				trade[a] = TRADE_CLOSED;
				lost[a] = (lost_asked[a] -> 0 : lost[a]);
				lost_asked[a] = false;
			:: TAKEN(a) || trade[a] == TRADE_FAILED || trade[a] == TRADE_CLOSED -> skip;
			:: !quiet || BUG_CHANNEL_NEVER_ANSWERS -> report = REPORT_UNKNOWN;
			:: !quiet && trade[a] == TRADE_OPEN -> report = REPORT_PENDING;
			:: !quiet && trade[a] == TRADE_AUTHORIZED ->
				report = REPORT_AUTHORIZED;
				says = reserved[a];
				fresh = true;
			:: !quiet && trade[a] == TRADE_PROCESSING -> report = REPORT_PROCESSING; fresh = true;
			/* what is being settled cannot be closed, but it ends */
			:: trade[a] == TRADE_PROCESSING && !CAPTURES -> take(a, MONEY_FITS);
			:: trade[a] == TRADE_PROCESSING && CAPTURES -> take(a, asked_for[a]);
			:: trade[a] == TRADE_PROCESSING -> fail(a);
			fi;
			if
			:: report == REPORT_NONE -> answer(a);
			:: !quiet && report == REPORT_NONE -> report = REPORT_UNKNOWN;
			:: else
			fi;

		/* the statement names money that payguard has not heard of */
		:: SAYS_TAKEN(a) && !told_1[a] && !OPEN(a) -> hear(REPORT_SUCCEEDED, 1);
		:: a < ATTEMPTS && twice[a] && !told_2[a] && !OPEN(a) -> hear(REPORT_SUCCEEDED, 2);
		/* and what was taken back of it */
		:: trade[a] == TRADE_RETURNED && told_1[a] && !told_back[a] && !OPEN(a) ->
			if
			:: SAYS_FAILED(a) -> hear(REPORT_FAILED, 0); fresh = true;
			:: else -> record_reversal(a);
			fi;
		fi;

		d_step {
			ended[a] = ended[a] || report == REPORT_CLOSED ||
				(report == REPORT_FAILED && said_failed[a]);
			told_1[a] = told_1[a] || (report == REPORT_SUCCEEDED && report_txn == 1);
			told_2[a] = told_2[a] || (report == REPORT_SUCCEEDED && report_txn == 2);
			lost_asked[a] = lost[a] != 0 && (lost_asked[a] || (fresh && report == REPORT_AUTHORIZED));
			if
			:: report != REPORT_NONE -> apply(a);
			:: else
			fi;
			/* what is asked again without any change gets the same answer */
			asked[a] = quiet && OPEN(a) && report != REPORT_NONE && report != REPORT_UNKNOWN &&
				(payment[a] == f_payment_status);
			check();
			report = REPORT_NONE;
			report_txn = 0;
			says = 0;
			fresh = false;
			queried = false;
			succeeded = 0;
			live = 0;
		}
	}
	od
}

inline check_settled()
{
	byte a = 0;
	assert(quiet);
	do
	:: a < SLOTS ->
		assert(SETTLED_ATTEMPT(a));
		assert(SETTLED_TASKS(a));
		assert(SETTLED_MONEY(a));
		a++;
	:: else -> break;
	od;
	assert(SETTLED_ORDER);
}

init
{
	byte n;

	atomic {
		if
		:: late_success[0] = LATE_ACCEPT;
		:: late_success[0] = LATE_ACCEPT_EXPIRED;
		fi;
		if
		:: late_success[1] = LATE_ACCEPT;
		:: late_success[1] = LATE_REFUND;
		fi;
		do
		:: n < SLOTS -> run slot(n); n++;
		:: else -> break;
		od;
	}
	/* as long as the world is not quiet, things may go round in circles */
progress:
	quiet = true;
	timeout -> d_step { check_settled(); }
}
