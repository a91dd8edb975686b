/*
 * unreadable.h
 *		Evidence that cannot be read.
 */
#ifndef PAYGUARD_EVIDENCE_UNREADABLE_H
#define PAYGUARD_EVIDENCE_UNREADABLE_H

#include "fmgr.h"

#include "base/argument.h"
#include "records/about.h"
#include "records/notification.h"

/* An argument of a function: what it is called, and its type. */
typedef struct Given
{
	const char *name;
	char
		type; /* 't' text, 'i' bigint, 'u' uuid, 'd' timestamptz, '-' left out: kept elsewhere */
} Given;

extern const char *payguard_unreadable_json(const char *function, const Given *given,
											int n, const NullableDatum *args);
extern const char *payguard_unreadable_keep(const Unreadable *bad, const char *function,
											const char *json, const text *channel,
											About about);
extern void payguard_unreadable_note(Notification *notification, const Unreadable *bad,
									 const char *function);
extern void payguard_unreadable_alert(const Notification *notification,
									  const Unreadable *bad);
extern const char *payguard_unreadable_message(const Unreadable *bad, const char *kept);

#endif
