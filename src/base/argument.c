/*
 * argument.c
 *		Arguments are checked here, before anything is read or written.
 *
 * 22004 NULL where a value is needed; 22023 empty, too long, negative, not an ISO 4217 code, control
 * characters, bytes that are no text. What does not fit a bigint is refused by its input function
 * (22003).
 *
 * payguard_arg_x() is for requests and raises. payguard_read_x() is for evidence, which is not refused: it notes
 * what cannot be read, and returns what stands for NULL. Without a place for that note it raises.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "base/argument.h"
#include "base/value.h"

/* 10000-01-01 UTC: later times would overflow where an interval is added */
#define LATEST_TIME                                                                      \
	((TimestampTz) (date2j(10000, 1, 1) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)

static text *check_text(Unreadable *bad, Datum value, const char *name, Size max_length,
						bool one_line);
static void note_not_text(Unreadable *bad, const char *name);
static bool has_control_character(const char *s, int length, bool one_line);
static int length_of_control(const char *s, int length);

/*
 * payguard_arg_missing raises 22004 for an argument that must not be NULL.
 */
void
payguard_arg_missing(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name),
			 errdetail("Nothing has been written."),
			 errhint("Give a value for %s.", name)));
}

/*
 * payguard_arg_bad raises 22023 for an argument; problem: a sentence about its value.
 */
void
payguard_arg_bad(const char *name, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for %s", name),
			 errdetail("%s Nothing has been written.", problem), errhint("%s", hint)));
}

/*
 * payguard_read_bad notes that an argument cannot be read, unless one before it could not; it raises 22023
 * where there is no place for the note.
 */
void
payguard_read_bad(Unreadable *bad, const char *name, const char *problem,
				  const char *hint)
{
	if (bad == NULL)
		payguard_arg_bad(name, problem, hint);
	if (bad->name == NULL)
		*bad = (Unreadable){.name = name, .problem = problem};
}

/*
 * payguard_read_missing is payguard_read_bad for a NULL that says nothing; 22004 where it raises.
 */
void
payguard_read_missing(Unreadable *bad, const char *name)
{
	if (bad == NULL)
		payguard_arg_missing(name);
	payguard_read_bad(bad, name, "It is missing.", NULL);
}

/*
 * payguard_arg_id reads an order id, key, name or txn id: 1-255 bytes, no control characters.
 */
text *
payguard_arg_id(Datum value, bool isnull, const char *name)
{
	return payguard_read_id(NULL, value, isnull, name);
}

/*
 * payguard_read_id is payguard_arg_id for evidence. NULL is error 22004 here too: without the id nobody knows what the
 * call is about.
 */
text *
payguard_read_id(Unreadable *bad, Datum value, bool isnull, const char *name)
{
	if (isnull)
		payguard_arg_missing(name);
	return check_text(bad, value, name, MAX_ID_LENGTH, true);
}

/*
 * payguard_read_id_or_null is payguard_read_id for an optional argument.
 */
text *
payguard_read_id_or_null(Unreadable *bad, Datum value, bool isnull, const char *name)
{
	return isnull ? NULL : payguard_read_id(bad, value, isnull, name);
}

/*
 * payguard_arg_id_or_null is payguard_arg_id for an optional argument.
 */
text *
payguard_arg_id_or_null(Datum value, bool isnull, const char *name)
{
	return isnull ? NULL : payguard_arg_id(value, isnull, name);
}

/*
 * payguard_arg_is_id tells whether payguard_arg_id would take a string.
 */
bool
payguard_arg_is_id(const char *value)
{
	size_t length = strlen(value);

	return length > 0 && length <= MAX_ID_LENGTH && pg_verifymbstr(value, length, true) &&
		   !has_control_character(value, length, true);
}

/*
 * payguard_arg_note reads a reason, note or message: 1-4000 bytes, in which tabs and line ends
 * are the only control characters.
 */
text *
payguard_arg_note(Datum value, bool isnull, const char *name)
{
	if (isnull)
		payguard_arg_missing(name);
	return check_text(NULL, value, name, MAX_NOTE_LENGTH, false);
}

/*
 * payguard_read_note_or_null is payguard_arg_note_or_null for evidence.
 */
text *
payguard_read_note_or_null(Unreadable *bad, Datum value, bool isnull, const char *name)
{
	return isnull ? NULL : check_text(bad, value, name, MAX_NOTE_LENGTH, false);
}

/*
 * payguard_arg_note_or_null is payguard_arg_note for an optional argument.
 */
text *
payguard_arg_note_or_null(Datum value, bool isnull, const char *name)
{
	return isnull ? NULL : payguard_arg_note(value, isnull, name);
}

/*
 * payguard_arg_json_or_null reads an optional jsonb and checks its strings: their bytes may be no valid text.
 */
Jsonb *
payguard_arg_json_or_null(Datum value, bool isnull, const char *name)
{
	Jsonb *json;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue part;

	if (isnull)
		return NULL;
	json = DatumGetJsonbP(value);
	iterator = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&iterator, &part, false)) != WJB_DONE)
		if ((token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM) &&
			part.type == jbvString &&
			!pg_verifymbstr(part.val.string.val, part.val.string.len, true))
			note_not_text(NULL, name);
	return json;
}

/*
 * payguard_arg_amount reads an amount in minor units: 0 or more.
 */
int64
payguard_arg_amount(Datum value, bool isnull, const char *name)
{
	return payguard_read_amount(NULL, value, isnull, name);
}

/*
 * payguard_read_amount is payguard_arg_amount for evidence.
 */
int64
payguard_read_amount(Unreadable *bad, Datum value, bool isnull, const char *name)
{
	if (isnull)
		payguard_read_missing(bad, name);
	else if (DatumGetInt64(value) < 0)
		payguard_read_bad(bad, name, "It is negative.",
						  "Amounts are in the currency's minor unit, 0 or more.");
	else
		return DatumGetInt64(value);
	return NO_AMOUNT;
}

/*
 * payguard_arg_amount_or_null is payguard_arg_amount for an optional argument: NO_AMOUNT.
 */
int64
payguard_arg_amount_or_null(Datum value, bool isnull, const char *name)
{
	return payguard_read_amount_or_null(NULL, value, isnull, name);
}

/*
 * payguard_read_amount_or_null is payguard_arg_amount_or_null for evidence.
 */
int64
payguard_read_amount_or_null(Unreadable *bad, Datum value, bool isnull, const char *name)
{
	return isnull ? NO_AMOUNT : payguard_read_amount(bad, value, isnull, name);
}

/*
 * payguard_arg_currency reads an ISO 4217 code: three letters, in any case; returned in capitals.
 */
text *
payguard_arg_currency(Datum value, bool isnull, const char *name)
{
	return payguard_read_currency(NULL, value, isnull, name);
}

/*
 * payguard_read_currency is payguard_arg_currency for evidence.
 */
text *
payguard_read_currency(Unreadable *bad, Datum value, bool isnull, const char *name)
{
	text *given;
	char code[3];

	if (isnull)
	{
		payguard_read_missing(bad, name);
		return NULL;
	}
	if (toast_raw_datum_size(value) - VARHDRSZ == sizeof(code))
	{
		bool letters = true;

		given = DatumGetTextPP(value);
		for (size_t i = 0; i < sizeof(code); i++)
		{
			code[i] = pg_ascii_toupper((unsigned char) VARDATA_ANY(given)[i]);
			letters = letters && code[i] >= 'A' && code[i] <= 'Z';
		}
		if (letters)
			return cstring_to_text_with_len(code, sizeof(code));
	}
	payguard_read_bad(bad, name, "It is not a currency code.",
					  "Currencies are ISO 4217 codes, such as \"EUR\".");
	return NULL;
}

/*
 * payguard_arg_currency_or_null is payguard_arg_currency for an optional argument.
 */
text *
payguard_arg_currency_or_null(Datum value, bool isnull, const char *name)
{
	return payguard_read_currency_or_null(NULL, value, isnull, name);
}

/*
 * payguard_read_currency_or_null is payguard_arg_currency_or_null for evidence.
 */
text *
payguard_read_currency_or_null(Unreadable *bad, Datum value, bool isnull,
							   const char *name)
{
	return isnull ? NULL : payguard_read_currency(bad, value, isnull, name);
}

/*
 * payguard_arg_version reads an order's version: 1 or more.
 */
int64
payguard_arg_version(Datum value, bool isnull, const char *name)
{
	if (isnull)
		payguard_arg_missing(name);
	if (DatumGetInt64(value) < 1)
		payguard_arg_bad(name, "It is less than 1.", "Versions start at 1.");
	return DatumGetInt64(value);
}

/*
 * payguard_arg_version_or_null is payguard_arg_version for an optional argument: NO_ID.
 */
int64
payguard_arg_version_or_null(Datum value, bool isnull, const char *name)
{
	return isnull ? NO_ID : payguard_arg_version(value, isnull, name);
}

/*
 * payguard_arg_time_or_null reads an optional time: NO_TIME where it is NULL.
 */
TimestampTz
payguard_arg_time_or_null(Datum value, bool isnull, const char *name)
{
	return payguard_read_time_or_null(NULL, value, isnull, name);
}

/*
 * payguard_read_time_or_null is payguard_arg_time_or_null for evidence.
 */
TimestampTz
payguard_read_time_or_null(Unreadable *bad, Datum value, bool isnull, const char *name)
{
	if (isnull)
		return NO_TIME;
	if (TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value)))
	{
		payguard_read_bad(bad, name, "It is infinite.",
						  "If there is no such time, leave it out.");
		return NO_TIME;
	}
	return DatumGetTimestampTz(value);
}

/*
 * payguard_arg_uuid reads an id that must be given.
 */
pg_uuid_t *
payguard_arg_uuid(Datum value, bool isnull, const char *name)
{
	if (isnull)
		payguard_arg_missing(name);
	return DatumGetUUIDP(value);
}

/*
 * payguard_arg_interval_or_null reads an optional interval, of 0 to 10 years.
 */
Interval *
payguard_arg_interval_or_null(Datum value, bool isnull, const char *name)
{
	Interval *zero = palloc0(sizeof(Interval));
	Interval *longest = palloc0(sizeof(Interval));

	if (isnull)
		return NULL;
	longest->month = 10 * MONTHS_PER_YEAR;
	if (DatumGetBool(DirectFunctionCall2(interval_lt, value, IntervalPGetDatum(zero))))
		payguard_arg_bad(name, "It is negative.", "Give an interval of 0 or more.");
	if (DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(longest), value)))
		payguard_arg_bad(name, "It is longer than 10 years.", "Give a shorter interval.");
	return DatumGetIntervalP(value);
}

/*
 * payguard_arg_lease reads an interval of more than 0 and at most a day.
 */
Interval *
payguard_arg_lease(Datum value, bool isnull, const char *name)
{
	Interval *zero = palloc0(sizeof(Interval));
	Interval *longest = palloc0(sizeof(Interval));

	if (isnull)
		payguard_arg_missing(name);
	longest->day = 1; /* a lease that nobody gives back must not hold an order for ever */
	if (DatumGetBool(DirectFunctionCall2(interval_le, value, IntervalPGetDatum(zero))))
		payguard_arg_bad(name, "It is not more than 0.",
						 "Give an interval such as '30 s'.");
	if (DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(longest), value)))
		payguard_arg_bad(name, "It is longer than a day.",
						 "Give an interval such as '30 s'.");
	return DatumGetIntervalP(value);
}

/*
 * payguard_arg_check_length raises 22023 for an array with too many elements.
 */
void
payguard_arg_check_length(const ArrayType *array, const char *name)
{
	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > MAX_ELEMENTS)
		payguard_arg_bad(name, psprintf("It has more than %d elements.", MAX_ELEMENTS),
						 psprintf("Give at most %d.", MAX_ELEMENTS));
}

/*
 * payguard_arg_rows takes an array of rows apart, none of which may be NULL; at most MAX_ELEMENTS.
 */
Datum *
payguard_arg_rows(ArrayType *array, const char *name, int *n)
{
	Datum *elements;
	bool *isnull;

	payguard_arg_check_length(array, name);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &elements,
					  &isnull, n);
	for (int i = 0; i < *n; i++)
		if (isnull[i])
			payguard_arg_missing(name);
	return elements;
}

/*
 * payguard_arg_row takes a row apart that must have n columns.
 */
void
payguard_arg_row(Datum row, int n, Datum *values, bool *nulls)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	HeapTupleData tuple = {
		.t_len = HeapTupleHeaderGetDatumLength(header),
		.t_tableOid = InvalidOid,
		.t_data = header,
	};
	TupleDesc desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
											HeapTupleHeaderGetTypMod(header));

	if (desc->natts != n)
		elog(ERROR, "payguard: %d columns instead of %d", desc->natts, n);
	heap_deform_tuple(&tuple, desc, values, nulls);
	ReleaseTupleDesc(desc);
}

/*
 * payguard_arg_max reads the largest number of things that a call may handle: 1 or more.
 */
int
payguard_arg_max(Datum value, bool isnull, const char *name)
{
	if (isnull)
		payguard_arg_missing(name);
	if (DatumGetInt32(value) < 1)
		payguard_arg_bad(name, "It is less than 1.", "Give 1 or more.");
	return DatumGetInt32(value);
}

/*
 * payguard_arg_max_rows is payguard_arg_max for a call that keeps all its rows in memory: it returns MAX_ELEMENTS at
 * most.
 */
int
payguard_arg_max_rows(Datum value, bool isnull, const char *name)
{
	return Min(payguard_arg_max(value, isnull, name), MAX_ELEMENTS);
}

/*
 * payguard_arg_deadline_or_null reads an optional time until which something may happen.
 */
TimestampTz
payguard_arg_deadline_or_null(Datum value, bool isnull, const char *name)
{
	TimestampTz time = payguard_arg_time_or_null(value, isnull, name);

	if (time >= LATEST_TIME)
		payguard_arg_bad(name, "It is after the year 9999.", "Give an earlier time.");
	return time;
}

/*
 * check_text returns a text that is neither empty nor too long, and has no control characters; NULL: it was
 * noted that it cannot be read.
 */
static text *
check_text(Unreadable *bad, Datum value, const char *name, Size max_length, bool one_line)
{
	/* toast_raw_datum_size: a huge value is refused before it is read */
	text *result;

	if (toast_raw_datum_size(value) - VARHDRSZ > max_length)
	{
		payguard_read_bad(bad, name, "It is too long.",
						  psprintf("At most %zu bytes are allowed.", max_length));
		return NULL;
	}
	result = DatumGetTextPP(value);
	if (VARSIZE_ANY_EXHDR(result) == 0)
		payguard_read_bad(bad, name, "It is empty.",
						  psprintf("Give 1 to %zu bytes.", max_length));
	else if (!pg_verifymbstr(VARDATA_ANY(result), VARSIZE_ANY_EXHDR(result), true))
		note_not_text(bad, name);
	else if (has_control_character(VARDATA_ANY(result), VARSIZE_ANY_EXHDR(result),
								   one_line))
		payguard_read_bad(bad, name, "It has a control character.",
						  "Remove control characters.");
	else
		return result;
	return NULL;
}

/*
 * note_not_text notes a text that is not valid in the database's encoding. The server checks what a client sends, but
 * not a setting in the startup packet, and current_setting() can make an argument of that. A row with such a text could
 * not be restored.
 */
static void
note_not_text(Unreadable *bad, const char *name)
{
	payguard_read_bad(bad, name,
					  psprintf("It is not valid in the database's encoding, %s.",
							   GetDatabaseEncodingName()),
					  "Give text in the database's encoding.");
}

/*
 * has_control_character looks for C0 and C1 controls and DEL; where more than one line is
 * allowed, tab, line feed and carriage return are not counted.
 */
static bool
has_control_character(const char *s, int length, bool one_line)
{
	for (int i = 0; i < length; i++)
		if (length_of_control(s + i, length - i) > 0 &&
			(one_line || (s[i] != '\t' && s[i] != '\n' && s[i] != '\r')))
			return true;
	return false;
}

/*
 * payguard_blank_controls makes spaces of a text's control characters, line ends included.
 */
void
payguard_blank_controls(char *s, int length)
{
	for (int i = 0; i < length; i++)
		memset(s + i, ' ', length_of_control(s + i, length - i));
}

/*
 * length_of_control returns how many bytes the control character at s has; 0: it is none.
 */
static int
length_of_control(const char *s, int length)
{
	unsigned char c = (unsigned char) s[0];
	int encoding = GetDatabaseEncoding();

	if (c < 0x20 || c == 0x7f)
		return 1;
	if (encoding == PG_UTF8 && c == 0xc2 && length > 1 && (unsigned char) s[1] < 0xa0)
		return 2;
	if (encoding >= PG_LATIN1 && encoding <= PG_LATIN10 && c >= 0x80 && c < 0xa0)
		return 1;
	return 0;
}
