/*
 * decide.h
 *		What follows from an order, an attempt and what the channel reports of it.
 */
#ifndef PAYGUARD_RULES_DECIDE_H
#define PAYGUARD_RULES_DECIDE_H

#include "rules/machine.h"

/* The state of a payment at its channel, as reported. */
typedef enum ChannelStatus
{
	CHANNEL_NONE,
	CHANNEL_SUCCEEDED,	/* the money was taken */
	CHANNEL_FAILED,		/* it was not taken */
	CHANNEL_CLOSED,		/* it was not taken and cannot be any more */
	CHANNEL_PENDING,	/* the customer has to act, or the channel has not said */
	CHANNEL_PROCESSING, /* the customer has done it all: it settles for hours or days */
	CHANNEL_AUTHORIZED, /* the money is reserved, and not taken */
	CHANNEL_UNKNOWN,	/* nobody can tell: a time-out, a garbled answer */
	CHANNEL_NOT_FOUND,	/* the channel does not know it (yet) */
	N_CHANNEL_STATUS
} ChannelStatus;

/* What a channel's late success does. */
typedef enum LateSuccess
{
	LATE_ACCEPT,		 /* it pays an order that is still to be paid */
	LATE_ACCEPT_EXPIRED, /* and one that has expired */
	LATE_REFUND,		 /* it is always surplus */
	LATE_HOLD, /* no setting: the order waits for an approval, and the money for it */
	N_LATE_SUCCESS
} LateSuccess;

/* What came, beside what the attempt and the order ask for. */
typedef enum Money
{
	MONEY_FITS,	 /* it is that */
	MONEY_MORE,	 /* more of the same currency */
	MONEY_LESS,	 /* less of it */
	MONEY_OTHER, /* another currency */
	N_MONEY
} Money;

/* All that a decision depends on. */
typedef struct Facts
{
	OrderStatus order;
	OrderStatus closing_as;
	PaymentStatus payment; /* PAYMENT_NONE: money without an attempt of ours */
	ChannelStatus report;
	LateSuccess late_success;
	Money money;
	bool other_txn; /* the report names another transaction than the payment has */
	bool in_time; /* the order has expired, and the channel took the money before that */
	bool revived; /* the live attempt had failed before: its success is a late one */
	bool fresh;	  /* who says a step back has asked since the payment's last change */
	bool revivable; /* a failed attempt may be live again: its order may still be paid */
	bool reverses;	/* a failure after a success is money that was taken back */
	bool
		repeatable; /* the channel was asked about a capture, and may be told of it again */
} Facts;

/* What follows. */
typedef struct Decision
{
	PaymentStatus payment; /* what the payment becomes, or stays */
	OrderStatus order;	   /* what the order becomes, or stays */
	bool supersede;		   /* the order's other live attempt is superseded and closed */
	bool refund;		   /* the payment's money goes back */
	bool hold;			   /* but not before somebody has decided so */
	bool excess;		   /* what is more than the order asks for goes back */
	bool second_charge;	   /* a surplus payment is recorded for the other transaction */
	bool another;		   /* the other transaction is money without an attempt */
	bool reverse;		   /* the money was taken back: a reversal of it is recorded */
	bool fill_in;		   /* facts that were missing are added */
	bool query;			   /* the channel is to be asked again */
	bool close;			   /* the channel is to be asked again to close it */
	bool capture;		   /* and to take what it has reserved */
	const char *alert;	   /* the kind of alert, or NULL */
	const char *because; /* of money that becomes surplus: why, in the words of events */
} Decision;

extern Decision payguard_decide(const Facts *facts);
extern bool payguard_facts_possible(const Facts *facts);
extern bool payguard_is_step_back(const Facts *facts);
extern const char *payguard_channel_status_name(ChannelStatus status);
extern ChannelStatus payguard_channel_status(const char *name);
extern LateSuccess payguard_late_success(const char *name);

#endif
