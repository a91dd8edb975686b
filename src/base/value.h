/*
 * value.h
 *		The values that stand for NULL; times and ids.
 */
#ifndef PAYGUARD_BASE_VALUE_H
#define PAYGUARD_BASE_VALUE_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#define NO_AMOUNT INT64CONST(-1) /* amounts are >= 0 */
#define NO_ID INT64CONST(0)		 /* ids and versions are >= 1 */
#define NO_TIME DT_NOBEGIN		 /* -infinity is refused as an argument */

extern TimestampTz payguard_time_plus(TimestampTz time, const Interval *interval);
extern int payguard_uuid_compare(const pg_uuid_t *a, const pg_uuid_t *b);
extern bool payguard_uuid_equal(const pg_uuid_t *a, const pg_uuid_t *b);
extern const char *payguard_time_str(TimestampTz time);
extern const char *payguard_uuid_str(const pg_uuid_t *uuid);

#endif
