/*
 * argument.h
 *		Arguments of SQL functions: read, and refused where they are malformed.
 */
#ifndef PAYGUARD_BASE_ARGUMENT_H
#define PAYGUARD_BASE_ARGUMENT_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "base/compat.h"

#define MAX_ID_LENGTH 255	 /* bytes of an order id, key, channel, txn id or actor */
#define MAX_NOTE_LENGTH 4000 /* bytes of a reason or a note */
#define MAX_ELEMENTS 100000	 /* of an array, and of what a call finds for itself */

/* What a call of evidence gave that cannot be read: the first such argument, and what is wrong with it. */
typedef struct Unreadable
{
	const char *name;	 /* NULL: everything can be read */
	const char *problem; /* a sentence */
} Unreadable;

#define ARG(n) PG_GETARG_DATUM(n), PG_ARGISNULL(n)

extern void payguard_arg_missing(const char *name) pg_attribute_noreturn();
extern void payguard_arg_bad(const char *name, const char *problem, const char *hint)
	pg_attribute_noreturn();
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
extern text *payguard_read_id(Unreadable *bad, Datum value, bool isnull,
							  const char *name);
extern text *payguard_read_id_or_null(Unreadable *bad, Datum value, bool isnull,
									  const char *name);
extern text *payguard_read_note_or_null(Unreadable *bad, Datum value, bool isnull,
										const char *name);
extern int64 payguard_read_amount(Unreadable *bad, Datum value, bool isnull,
								  const char *name);
extern int64 payguard_read_amount_or_null(Unreadable *bad, Datum value, bool isnull,
										  const char *name);
extern text *payguard_read_currency(Unreadable *bad, Datum value, bool isnull,
									const char *name);
extern text *payguard_read_currency_or_null(Unreadable *bad, Datum value, bool isnull,
											const char *name);
extern TimestampTz payguard_read_time_or_null(Unreadable *bad, Datum value, bool isnull,
											  const char *name);
extern void payguard_read_bad(Unreadable *bad, const char *name, const char *problem,
							  const char *hint);
extern void payguard_read_missing(Unreadable *bad, const char *name);
extern int64 payguard_arg_version(Datum value, bool isnull, const char *name);
extern int64 payguard_arg_version_or_null(Datum value, bool isnull, const char *name);
extern TimestampTz payguard_arg_time_or_null(Datum value, bool isnull, const char *name);
extern pg_uuid_t *payguard_arg_uuid(Datum value, bool isnull, const char *name);
extern Interval *payguard_arg_interval_or_null(Datum value, bool isnull,
											   const char *name);
extern Interval *payguard_arg_lease(Datum value, bool isnull, const char *name);
extern void payguard_arg_check_length(const ArrayType *array, const char *name);
extern Datum *payguard_arg_rows(ArrayType *array, const char *name, int *n);
extern void payguard_arg_row(Datum row, int n, Datum *values, bool *nulls);
extern int payguard_arg_max(Datum value, bool isnull, const char *name);
extern int payguard_arg_max_rows(Datum value, bool isnull, const char *name);
extern TimestampTz payguard_arg_deadline_or_null(Datum value, bool isnull,
												 const char *name);
extern void payguard_blank_controls(char *s, int length);

#endif
