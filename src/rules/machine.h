/*
 * machine.h
 *		The states of orders, payments and refunds, and which may follow which.
 */
#ifndef PAYGUARD_RULES_MACHINE_H
#define PAYGUARD_RULES_MACHINE_H

typedef enum OrderStatus
{
	ORDER_NONE,		 /* not a state: where a new order comes from */
	ORDER_UNPAID,	 /* nobody has paid and nobody is paying */
	ORDER_PAYING,	 /* one attempt is live at a channel */
	ORDER_PAID,		 /* one payment succeeded */
	ORDER_REFUNDED,	 /* paid, and all of it went back */
	ORDER_CANCELLED, /* ended by the shop or the customer, without money */
	ORDER_EXPIRED,	 /* ended by its deadline, without money */
	N_ORDER_STATUS
} OrderStatus;

typedef enum PaymentStatus
{
	PAYMENT_NONE,		/* not a state: where a new payment comes from */
	PAYMENT_PENDING,	/* live: the customer has to act, or the channel has not said */
	PAYMENT_PROCESSING, /* live: the customer has done it all, and the channel settles */
	PAYMENT_AUTHORIZED, /* live: the channel has reserved the money, and has not taken it */
	PAYMENT_CAPTURING,	/* live: we asked the channel to take what it has reserved */
	PAYMENT_UNKNOWN,	/* live: nobody knows whether the channel charged */
	PAYMENT_CLOSING,	/* live: we asked the channel to close it */
	PAYMENT_SUPERSEDED, /* still open at the channel, while another payment won */
	PAYMENT_FAILED,		/* ended without money */
	PAYMENT_SUCCEEDED,	/* the money that paid the order */
	PAYMENT_SURPLUS,	/* money that the order did not need: it goes back */
	PAYMENT_RETURNED,	/* it succeeded, and the channel has taken the money back */
	N_PAYMENT_STATUS
} PaymentStatus;

typedef enum RefundStatus
{
	REFUND_NONE,			  /* not a state: where a new refund comes from */
	REFUND_AWAITING_APPROVAL, /* waits for a second person */
	REFUND_PENDING,			  /* to be made by the channel */
	REFUND_UNKNOWN,			  /* nobody knows whether the channel made it */
	REFUND_SUCCEEDED,		  /* the money went back */
	REFUND_FAILED,			  /* the money did not go back: still owed */
	REFUND_WAIVED,			  /* an operator decided that it shall not be made */
	REFUND_REINSTATED,		  /* the channel has undone what it gave back on its own */
	REFUND_MERGED,			  /* it was another name of a refund of ours */
	N_REFUND_STATUS
} RefundStatus;

/* One state machine: the names that are stored, and the moves that are legal. */
typedef struct Machine
{
	const char *name;		   /* "order" */
	const char *const *states; /* the stored names, indexed by status; [0] is NULL */
	int nstates;
	const uint32 *moves; /* moves[from] has bit `to` where from → to is legal */
} Machine;

extern const Machine payguard_order_machine;
extern const Machine payguard_payment_machine;
extern const Machine payguard_refund_machine;
extern bool payguard_machine_allows(const Machine *machine, int from, int to);
extern int payguard_machine_move(const Machine *machine, int from, int to);
extern const char *payguard_machine_name(const Machine *machine, int status);
extern int payguard_machine_status(const Machine *machine, const char *name, int length);
extern bool payguard_payment_is_live(PaymentStatus status);
extern bool payguard_payment_is_open(PaymentStatus status);
extern bool payguard_payment_holds_order(PaymentStatus status);

#endif
