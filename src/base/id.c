/*
 * id.c
 *		Ids: uuid v7 (RFC 9562, section 5.7) and the slot of an order.
 *
 * A uuid v7 begins with the time in milliseconds, so that an index on it grows at its right
 * edge. The 12 bits behind the version hold the order's slot in a payment's or refund's id.
 */
#include "postgres.h"

#include <sys/time.h>

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/argument.h"
#include "base/id.h"
#include "base/text.h"
#include "base/value.h"

#define SLOTS 4096 /* as many as 12 bits name */

static pg_uuid_t *make_uuid_v7(uint16 rand_a, uint64 ms);
static void put_ms(pg_uuid_t *uuid, uint64 ms);
static int64 unix_ms(TimestampTz time);
static void draw_random(void *to, size_t length);

/*
 * payguard_uuid_v7 makes an id of now, 12 given bits and 62 random ones.
 */
pg_uuid_t *
payguard_uuid_v7(uint16 rand_a)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	return make_uuid_v7(rand_a, (uint64) now.tv_sec * 1000 + now.tv_usec / 1000);
}

/*
 * payguard_uuid_v7_at makes an id of another time, which it must hold.
 */
pg_uuid_t *
payguard_uuid_v7_at(uint16 rand_a, TimestampTz time)
{
	Assert(payguard_uuid_v7_holds(time));
	return make_uuid_v7(rand_a, unix_ms(time));
}

/*
 * payguard_uuid_v7_holds tells whether there is an id of a time: 48 bits are milliseconds since 1970.
 */
bool
payguard_uuid_v7_holds(TimestampTz time)
{
	return !TIMESTAMP_NOT_FINITE(time) && unix_ms(time) >= 0 && unix_ms(time) >> 48 == 0;
}

static pg_uuid_t *
make_uuid_v7(uint16 rand_a, uint64 ms)
{
	pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));

	draw_random(uuid->data + 8, 8);
	put_ms(uuid, ms);
	uuid->data[6] = 0x70 | ((rand_a >> 8) & 0x0f);
	uuid->data[7] = rand_a & 0xff;
	uuid->data[8] = 0x80 | (uuid->data[8] & 0x3f);
	return uuid;
}

/*
 * put_ms writes the time that an id begins with.
 */
static void
put_ms(pg_uuid_t *uuid, uint64 ms)
{
	for (int i = 0; i < 6; i++)
		uuid->data[i] = (unsigned char) (ms >> (40 - 8 * i));
}

/*
 * unix_ms returns the milliseconds between 1970 and a finite time.
 */
static int64
unix_ms(TimestampTz time)
{
	return time / 1000 +
		   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * INT64CONST(1000);
}

/*
 * payguard_uuid_v4 makes an id that cannot be guessed: 122 random bits.
 */
pg_uuid_t *
payguard_uuid_v4(void)
{
	pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));

	draw_random(uuid->data, UUID_LEN);
	uuid->data[6] = 0x40 | (uuid->data[6] & 0x0f);
	uuid->data[8] = 0x80 | (uuid->data[8] & 0x3f);
	return uuid;
}

/*
 * draw_random gives random bytes, which are made in advance for several ids: each time costs the
 * same, for few bytes or many.
 */
static void
draw_random(void *to, size_t length)
{
	static unsigned char pool[256];
	static size_t left = 0;
	static int owner = 0;

	Assert(length <= sizeof(pool));
	/* what a process had before it forked is not used twice */
	if (left < length || owner != MyProcPid)
	{
		left = 0;
		if (!pg_strong_random(pool, sizeof(pool)))
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("could not generate random values")));
		owner = MyProcPid;
		left = sizeof(pool);
	}
	left -= length;
	memcpy(to, pool + left, length);
}

/*
 * payguard_slot_of returns an order's slot, 0-4095: the CRC-32C of its id in UTF-8, modulo
 * 4096; so it is the same on every machine and in every encoding.
 */
uint16
payguard_slot_of(const text *order_id)
{
	const char *raw = VARDATA_ANY(order_id);
	int length = VARSIZE_ANY_EXHDR(order_id);
	const char *utf8 = raw;
	pg_crc32c crc;

	if (GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII)
	{
		utf8 = pg_server_to_any(raw, length, PG_UTF8);
		if (utf8 != raw)
			length = strlen(utf8);
	}
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, utf8, length);
	FIN_CRC32C(crc);
	return crc % SLOTS;
}

PG_FUNCTION_INFO_V1(payguard_new_order_id);

PG_FUNCTION_INFO_V1(payguard_slot);

PG_FUNCTION_INFO_V1(payguard_payment_slot);

PG_FUNCTION_INFO_V1(payguard_first_id_at);

/*
 * new_order_id() → text: a uuid v7. Call it once per checkout.
 */
Datum
payguard_new_order_id(PG_FUNCTION_ARGS)
{
	uint16 random;

	draw_random(&random, sizeof(random));
	PG_RETURN_TEXT_P(payguard_text(payguard_uuid_str(payguard_uuid_v7(random))));
}

/*
 * slot(order_id text) → int: 0-4095. Errors: 22004, 22023.
 */
Datum
payguard_slot(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(payguard_slot_of(payguard_arg_id(ARG(0), "order_id")));
}

/*
 * payment_slot(payment_id uuid) → int: the slot of the payment's order. Errors: 22004; 22023
 * where the uuid is not one of payguard's.
 */
Datum
payguard_payment_slot(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *uuid;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("payment_id");
	uuid = PG_GETARG_UUID_P(0);
	if ((uuid->data[6] & 0xf0) != 0x70)
		payguard_arg_bad("payment_id", "It is not a version 7 uuid.",
						 "Give a payment_id that payguard made.");
	PG_RETURN_INT32((uuid->data[6] & 0x0f) << 8 | uuid->data[7]);
}

/*
 * first_id_at(at) → uuid: the ids of payments and refunds that were made from then on are
 * greater or equal. Errors: 22004; 22003 where no uuid v7 has such a time.
 */
Datum
payguard_first_id_at(PG_FUNCTION_ARGS)
{
	pg_uuid_t *uuid = palloc0(sizeof(pg_uuid_t));

	if (PG_ARGISNULL(0))
		payguard_arg_missing("at");
	if (!payguard_uuid_v7_holds(PG_GETARG_TIMESTAMPTZ(0)))
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("there is no id of that time"),
						errdetail("A version 7 uuid holds times from 1970 on."),
						errhint("Give a later time.")));
	put_ms(uuid, unix_ms(PG_GETARG_TIMESTAMPTZ(0)));
	PG_RETURN_UUID_P(uuid);
}
