/*
 * channel.h
 *		Channels on record: where money moves.
 */
#ifndef PAYGUARD_RECORDS_CHANNEL_H
#define PAYGUARD_RECORDS_CHANNEL_H

#include "datatype/timestamp.h"
#include "utils/array.h"

#include "base/refusal.h"
#include "store/table.h"

#define INTERNAL_CHANNEL "internal"

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
	text *surplus;					  /* refund, review */
	ArrayType *reopen_on;			  /* kinds of reversals; NULL: scripts before 1.2.0 */
	Interval *processing_alert_after; /* NULL: as alert_after */
} Channel;

#define CHANNEL_COLUMNS(X)                                                               \
	X(CHANNEL_F_NAME, Channel, name, FIELD_TEXT)                                         \
	X(CHANNEL_F_INTERNAL, Channel, internal, FIELD_BOOL)                                 \
	X(CHANNEL_F_DRIVER, Channel, driver, FIELD_TEXT)                                     \
	X(CHANNEL_F_FIRST_QUERY_AFTER, Channel, first_query_after, FIELD_INTERVAL)           \
	X(CHANNEL_F_MAX_QUERY_INTERVAL, Channel, max_query_interval, FIELD_INTERVAL)         \
	X(CHANNEL_F_ALERT_AFTER, Channel, alert_after, FIELD_INTERVAL)                       \
	X(CHANNEL_F_NOT_FOUND_IS_FINAL_AFTER, Channel, not_found_is_final_after,             \
	  FIELD_INTERVAL)                                                                    \
	X(CHANNEL_F_LATE_SUCCESS, Channel, late_success, FIELD_TEXT)                         \
	X(CHANNEL_F_IDEMPOTENT_CHARGE, Channel, idempotent_charge, FIELD_BOOL)               \
	X(CHANNEL_F_CREATED_AT, Channel, created_at, FIELD_TIME)                             \
	X(CHANNEL_F_UPDATED_AT, Channel, updated_at, FIELD_TIME)                             \
	X(CHANNEL_F_SURPLUS, Channel, surplus, FIELD_TEXT)                                   \
	X(CHANNEL_F_REOPEN_ON, Channel, reopen_on, FIELD_TEXTS)                              \
	X(CHANNEL_F_PROCESSING_ALERT_AFTER, Channel, processing_alert_after, FIELD_INTERVAL)

enum
{
	CHANNEL_COLUMNS(COLUMN_NUMBER) N_CHANNEL_FIELDS
};

enum
{
	CHANNEL_BY_NAME
};

extern bool payguard_channel_find(const text *name, Channel *channel);
extern bool payguard_channel_refuse_unknown(const text *name, Refusal *refusal);
extern bool payguard_channel_scripts_are_new(void);
extern bool payguard_channel_knows_returns(const Channel *channel);
extern bool payguard_channel_reopens(const Channel *channel, const char *kind);
extern const Table payguard_channels;

#endif
