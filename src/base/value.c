/*
 * value.c
 *		Times and uuids as C values: added, compared, written for messages.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/value.h"

/*
 * payguard_time_plus adds an interval to a time.
 */
TimestampTz
payguard_time_plus(TimestampTz time, const Interval *interval)
{
	return DatumGetTimestampTz(DirectFunctionCall2(
		timestamptz_pl_interval, TimestampTzGetDatum(time), IntervalPGetDatum(interval)));
}

/*
 * payguard_time_str writes a time for messages, in the session's time zone.
 */
const char *
payguard_time_str(TimestampTz time)
{
	return DatumGetCString(
		DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(time)));
}

/*
 * payguard_uuid_compare orders uuids by their bytes, as their index does.
 */
int
payguard_uuid_compare(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, UUID_LEN);
}

/*
 * payguard_uuid_equal tells whether two uuids are the same; NULL equals NULL.
 */
bool
payguard_uuid_equal(const pg_uuid_t *a, const pg_uuid_t *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return payguard_uuid_compare(a, b) == 0;
}

/*
 * payguard_uuid_str writes a uuid for messages.
 */
const char *
payguard_uuid_str(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}
