/*
 * text.c
 *		Texts: made of C strings, compared by their bytes, written for messages.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"

#include "base/argument.h"
#include "base/text.h"

#define MAX_NOTE_CHARACTERS 1000

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

/*
 * payguard_utf8 returns a string of the database's encoding in UTF-8. What cannot be converted, and a string in
 * a database without an encoding (SQL_ASCII), stays as it is: nothing is refused.
 */
text *
payguard_utf8(const char *string)
{
	size_t length = strlen(string);
	size_t room = length * MAX_CONVERSION_GROWTH + 1;
	int encoding = GetDatabaseEncoding();
	Oid conversion;
	char *converted;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return payguard_text(string);
	conversion = FindDefaultConversionProc(encoding, PG_UTF8);
	if (!OidIsValid(conversion))
		return payguard_text(string);
	converted = palloc_extended(room, MCXT_ALLOC_HUGE);
	if ((size_t) pg_do_encoding_conversion_buf(
			conversion, encoding, PG_UTF8, (unsigned char *) unconstify(char *, string),
			(int) length, (unsigned char *) converted, (int) Min(room, INT_MAX),
			true) < length)
		return payguard_text(string);
	return payguard_text(converted);
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
