/*
 * json.c
 *		Jsonb objects made of C values, and read again.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"

static JsonbValue *json_value(char type, va_list *args);

/*
 * payguard_json makes a jsonb object of (key, type, value) triples, ended by a NULL key. Types:
 * 't' text *, 's' const char *, 'i' int64 (an amount), 'n' int64 (an id), 'd' TimestampTz,
 * 'u' pg_uuid_t *, 'b' int. What is NULL is left out; NULL is returned where all is.
 */
Jsonb *
payguard_json(const char *key, ...)
{
	JsonBuilder json = {0};
	bool empty = true;
	va_list args;

	payguard_push_json(&json, WJB_BEGIN_OBJECT, NULL);
	va_start(args, key);
	while (key != NULL)
	{
		JsonbValue name = {.type = jbvString};
		JsonbValue *value = json_value((char) va_arg(args, int), &args);

		if (value != NULL)
		{
			name.val.string.val = pstrdup(key);
			name.val.string.len = strlen(key);
			payguard_push_json(&json, WJB_KEY, &name);
			payguard_push_json(&json, WJB_VALUE, value);
			empty = false;
		}
		key = va_arg(args, const char *);
	}
	va_end(args);
	if (empty)
		return NULL;
	payguard_push_json(&json, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(json.result);
}

static JsonbValue *
json_value(char type, va_list *args)
{
	JsonbValue *value = palloc0(sizeof(JsonbValue));
	const char *string = NULL;

	switch (type)
	{
		case 't':
		{
			const text *t = va_arg(*args, const text *);

			string = t ? payguard_str(t) : NULL;
			break;
		}
		case 's':
			string = va_arg(*args, const char *);
			/* the name of a table, for one */
			string = string ? payguard_str(payguard_clean_text(string)) : NULL;
			break;
		case 'u':
		{
			const pg_uuid_t *u = va_arg(*args, const pg_uuid_t *);

			string = u ? payguard_uuid_str(u) : NULL;
			break;
		}
		case 'd':
		{
			TimestampTz time = va_arg(*args, TimestampTz);

			if (time == NO_TIME)
				return NULL;
			{
				char buffer[MAXDATELEN + 1];
				int utc = 0;

				string = pstrdup(JsonEncodeDateTime(buffer, TimestampTzGetDatum(time),
													TIMESTAMPTZOID, &utc));
			}
			break;
		}
		case 'i':
		case 'n':
		{
			int64 number = va_arg(*args, int64);

			if (number == (type == 'i' ? NO_AMOUNT : NO_ID))
				return NULL;
			value->type = jbvNumeric;
			value->val.numeric = int64_to_numeric(number);
			return value;
		}
		case 'b':
			value->type = jbvBool;
			value->val.boolean = va_arg(*args, int) != 0;
			return value;
		default:
			elog(ERROR, "payguard: unknown json type \"%c\"", type);
	}
	if (string == NULL)
		return NULL;
	value->type = jbvString;
	value->val.string.val = unconstify(char *, string);
	value->val.string.len = strlen(string);
	return value;
}

/*
 * find_value returns a value of a jsonb object; NULL where there is none, or it is no object: a shop's details may be
 * anything.
 */
static JsonbValue *
find_value(Jsonb *object, const char *key, JsonbValue *buffer)
{
	return JB_ROOT_IS_OBJECT(object)
			   ? getKeyJsonValueFromContainer(&object->root, key, strlen(key), buffer)
			   : NULL;
}

/*
 * payguard_json_has tells whether a jsonb value is an object that has a key.
 */
bool
payguard_json_has(Jsonb *object, const char *key)
{
	JsonbValue buffer;

	return find_value(object, key, &buffer) != NULL;
}

/*
 * payguard_json_text returns a string of a jsonb object; NULL where there is none.
 */
text *
payguard_json_text(Jsonb *object, const char *key)
{
	JsonbValue buffer;
	JsonbValue *value = find_value(object, key, &buffer);

	if (value == NULL || value->type != jbvString)
		return NULL;
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

/*
 * payguard_json_uuid returns a uuid of a jsonb object, as uuid_out() writes it; NULL where there is none.
 */
pg_uuid_t *
payguard_json_uuid(Jsonb *object, const char *key)
{
	text *value = payguard_json_text(object, key);
	const char *string = value ? payguard_str(value) : "";

	if (strlen(string) != 36)
		return NULL;
	for (int i = 0; i < 36; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23
				? string[i] != '-'
				: !isxdigit((unsigned char) string[i]))
			return NULL;
	return DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(string)));
}

/*
 * payguard_json_int returns a whole number of a jsonb object; -1 where there is none.
 */
int64
payguard_json_int(Jsonb *object, const char *key)
{
	JsonbValue buffer;
	JsonbValue *value = find_value(object, key, &buffer);

	if (value == NULL || value->type != jbvNumeric)
		return -1;
	return DatumGetInt64(
		DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric)));
}
