/*
 * text.c
 *		Small helpers for texts, messages and jsonb.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "payguard.h"

#define MAX_NOTE_CHARACTERS 1000

static JsonbValue *json_value(char type, va_list *args);

/*
 * payguard_text makes a text of a C string.
 */
text *
payguard_text(const char *string)
{
	return cstring_to_text(string);
}

/*
 * payguard_clean_text makes a text of a C string that nobody has checked: names of roles, messages of
 * errors. Bytes that are no text in the database's encoding become \xNN.
 */
text *
payguard_clean_text(const char *string)
{
	size_t length = strlen(string);
	StringInfoData clean;

	if (pg_verifymbstr(string, length, true))
		return payguard_text(string);
	initStringInfo(&clean);
	while (length > 0)
	{
		int n = pg_encoding_verifymbchar(GetDatabaseEncoding(), string, length);

		if (n > 0)
			appendBinaryStringInfo(&clean, string, n);
		else
			appendStringInfo(&clean, "\\x%02x", (unsigned char) *string);
		string += Max(n, 1);
		length -= Max(n, 1);
	}
	return cstring_to_text_with_len(clean.data, clean.len);
}

PG_FUNCTION_INFO_V1(payguard_as_note);

/*
 * as_note(problem) → text: an error's message as payguard_arg_note takes it: not empty, not long, one
 * line of text.
 */
Datum
payguard_as_note(PG_FUNCTION_ARGS)
{
	text *note =
		payguard_clean_text(PG_ARGISNULL(0) ? "" : payguard_str(PG_GETARG_TEXT_PP(0)));
	char *s = VARDATA(note);
	int length = pg_mbcharcliplen(s, VARSIZE(note) - VARHDRSZ, MAX_NOTE_CHARACTERS);

	if (length == 0)
		PG_RETURN_TEXT_P(payguard_text("the driver raised an error that has no message"));
	payguard_blank_controls(s, length);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(s, length));
}

/*
 * payguard_text_compare orders texts by their bytes, as COLLATE "C" does.
 */
int
payguard_text_compare(const text *a, const text *b)
{
	size_t la = VARSIZE_ANY_EXHDR(a);
	size_t lb = VARSIZE_ANY_EXHDR(b);
	int order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(la, lb));

	if (order != 0 || la == lb)
		return order;
	return la < lb ? -1 : 1;
}

/*
 * payguard_text_equal tells whether two texts have the same bytes; NULL equals NULL.
 */
bool
payguard_text_equal(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return payguard_text_compare(a, b) == 0;
}

/*
 * payguard_text_is tells whether a text is a C string; NULL is none.
 */
bool
payguard_text_is(const text *a, const char *b)
{
	return a != NULL && VARSIZE_ANY_EXHDR(a) == strlen(b) &&
		   memcmp(VARDATA_ANY(a), b, strlen(b)) == 0;
}

/*
 * payguard_str makes a C string of a text, for messages.
 */
const char *
payguard_str(const text *value)
{
	return value == NULL ? "" : text_to_cstring(value);
}

/*
 * payguard_list_has tells whether a list of C strings has one.
 */
bool
payguard_list_has(const List *list, const char *string)
{
	ListCell *cell;

	foreach (cell, list)
		if (strcmp(lfirst(cell), string) == 0)
			return true;
	return false;
}

/*
 * payguard_money writes an amount for messages: minor units and the currency.
 */
const char *
payguard_money(int64 amount, const text *currency)
{
	return psprintf(INT64_FORMAT " %s", amount, payguard_str(currency));
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
 * payguard_uuid_str writes a uuid for messages.
 */
const char *
payguard_uuid_str(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

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
 * payguard_json_text returns a string of a jsonb object; NULL where there is none.
 */
text *
payguard_json_text(Jsonb *object, const char *key)
{
	JsonbValue buffer;
	JsonbValue *value =
		getKeyJsonValueFromContainer(&object->root, key, strlen(key), &buffer);

	if (value == NULL || value->type != jbvString)
		return NULL;
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

/*
 * payguard_json_int returns a whole number of a jsonb object; -1 where there is none.
 */
int64
payguard_json_int(Jsonb *object, const char *key)
{
	JsonbValue buffer;
	JsonbValue *value =
		getKeyJsonValueFromContainer(&object->root, key, strlen(key), &buffer);

	if (value == NULL || value->type != jbvNumeric)
		return -1;
	return DatumGetInt64(
		DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric)));
}
