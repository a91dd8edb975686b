/*
 * consumer.h
 *		Readers of events.
 */
#ifndef PAYGUARD_WATCH_CONSUMER_H
#define PAYGUARD_WATCH_CONSUMER_H

extern void payguard_consumer_begin(const text *consumer);
extern bool payguard_consumer_is_free(const text *consumer);
extern int payguard_consumer_read(const text *consumer, int max, Datum **ids);
extern void payguard_consumer_move(const text *consumer, int64 event_id);

#endif
