/*
 * table.c
 *		Fields of rows as Datums, and the columns that they stand in.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/datum.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "rules/machine.h"
#include "base/text.h"
#include "base/value.h"
#include "store/table.h"

/*
 * payguard_field_get reads a field of a row as a Datum; false: it is NULL.
 */
bool
payguard_field_get(const Field *field, const void *row, Datum *value)
{
	const char *at = (const char *) row + field->offset;

	*value = (Datum) 0;
	switch (field->type)
	{
		case FIELD_TEXT:
		case FIELD_TEXTS:
		case FIELD_JSONB:
		case FIELD_BYTEA:
		case FIELD_UUID:
		case FIELD_INTERVAL:
			*value = PointerGetDatum(*(void *const *) at);
			return *(void *const *) at != NULL;
		case FIELD_AMOUNT:
			*value = Int64GetDatum(*(const int64 *) at);
			return *(const int64 *) at != NO_AMOUNT;
		case FIELD_ID:
			*value = Int64GetDatum(*(const int64 *) at);
			return *(const int64 *) at != NO_ID;
		case FIELD_TIME:
			*value = TimestampTzGetDatum(*(const TimestampTz *) at);
			return *(const TimestampTz *) at != NO_TIME;
		case FIELD_BOOL:
			*value = BoolGetDatum(*(const bool *) at);
			return true;
		case FIELD_STATUS:
			if (*(const int *) at == 0)
				return false;
			*value = PointerGetDatum(
				payguard_text(payguard_machine_name(field->machine, *(const int *) at)));
			return true;
		case FIELD_XID:
			*value = FullTransactionIdGetDatum(GetTopFullTransactionId());
			return true;
	}
	elog(ERROR, "payguard: unknown field type %d", (int) field->type);
}

/*
 * payguard_field_set writes a Datum into a field of a row, copied into the current memory context.
 */
void
payguard_field_set(const Field *field, void *row, Datum value, bool isnull)
{
	char *at = (char *) row + field->offset;

	switch (field->type)
	{
		case FIELD_TEXT:
		case FIELD_TEXTS:
		case FIELD_JSONB:
		case FIELD_BYTEA:
			*(void **) at = isnull ? NULL : PG_DETOAST_DATUM_COPY(value);
			return;
		case FIELD_UUID:
		case FIELD_INTERVAL:
			*(void **) at =
				isnull
					? NULL
					: DatumGetPointer(datumCopy(
						  value, false,
						  field->type == FIELD_UUID ? UUID_LEN : (int) sizeof(Interval)));
			return;
		case FIELD_AMOUNT:
			*(int64 *) at = isnull ? NO_AMOUNT : DatumGetInt64(value);
			return;
		case FIELD_ID:
			*(int64 *) at = isnull ? NO_ID : DatumGetInt64(value);
			return;
		case FIELD_TIME:
			*(TimestampTz *) at = isnull ? NO_TIME : DatumGetTimestampTz(value);
			return;
		case FIELD_BOOL:
			*(bool *) at = !isnull && DatumGetBool(value);
			return;
		case FIELD_STATUS:
			if (isnull)
				*(int *) at = 0;
			else
			{
				text *name = DatumGetTextPP(value);

				*(int *) at = payguard_machine_status(field->machine, VARDATA_ANY(name),
													  VARSIZE_ANY_EXHDR(name));
			}
			return;
		case FIELD_XID:
			return;
	}
	elog(ERROR, "payguard: unknown field type %d", (int) field->type);
}

/*
 * payguard_field_type returns the type of a field's column.
 */
Oid
payguard_field_type(const Field *field)
{
	switch (field->type)
	{
		case FIELD_TEXT:
		case FIELD_STATUS:
			return TEXTOID;
		case FIELD_TEXTS:
			return TEXTARRAYOID;
		case FIELD_JSONB:
			return JSONBOID;
		case FIELD_BYTEA:
			return BYTEAOID;
		case FIELD_UUID:
			return UUIDOID;
		case FIELD_INTERVAL:
			return INTERVALOID;
		case FIELD_AMOUNT:
		case FIELD_ID:
			return INT8OID;
		case FIELD_TIME:
			return TIMESTAMPTZOID;
		case FIELD_BOOL:
			return BOOLOID;
		case FIELD_XID:
			return XID8OID;
	}
	elog(ERROR, "payguard: unknown field type %d", (int) field->type);
}

/*
 * payguard_field_compare orders two values of a field that keys are made of: <0, 0 or >0. Texts are
 * ordered by their bytes, as their columns' collation "C" does.
 */
int
payguard_field_compare(const Field *field, Datum a, Datum b)
{
	switch (field->type)
	{
		case FIELD_TEXT:
			return payguard_text_compare(DatumGetTextPP(a), DatumGetTextPP(b));
		case FIELD_UUID:
			return payguard_uuid_compare(DatumGetUUIDP(a), DatumGetUUIDP(b));
		case FIELD_AMOUNT:
		case FIELD_ID:
			return (DatumGetInt64(a) > DatumGetInt64(b)) -
				   (DatumGetInt64(a) < DatumGetInt64(b));
		default:
			elog(ERROR, "payguard: column \"%s\" is no key", field->column);
	}
}

/*
 * payguard_table_columns finds each field's column in a row type. Fields mostly come in the order of
 * their columns, so that each is looked for behind the one before it first.
 */
void
payguard_table_columns(const Table *table, TupleDesc desc, Columns columns)
{
	int next = 0;

	Assert(table->nfields <= MAX_FIELDS);
	for (int f = 0; f < table->nfields; f++)
	{
		columns[f] = 0;
		for (int i = 0; i < desc->natts && columns[f] == 0; i++)
		{
			int column = (next + i) % desc->natts;
			Form_pg_attribute attribute = TupleDescAttr(desc, column);

			if (strcmp(NameStr(attribute->attname), table->fields[f].column) != 0)
				continue;
			if (attribute->atttypid != payguard_field_type(&table->fields[f]))
				elog(ERROR, "payguard: column \"%s\" of table \"%s\" has another type",
					 table->fields[f].column, table->name);
			columns[f] = column + 1;
			next = column + 1;
		}
	}
}

/*
 * payguard_table_read copies the values of a row into its struct, but for its header.
 */
void
payguard_table_read(const Table *table, const Columns columns, const Datum *values,
					const bool *nulls, void *row)
{
	memset(row, 0, table->row_size);
	for (int f = 0; f < table->nfields; f++)
	{
		int column = columns[f] - 1;

		if (column >= 0)
			payguard_field_set(&table->fields[f], row, values[column], nulls[column]);
		else
			payguard_field_set(&table->fields[f], row, (Datum) 0, true);
	}
}

/*
 * payguard_key_values reads the values of a key and returns how many they are; 0: one is NULL, which
 * equals nothing.
 */
int
payguard_key_values(const Table *table, int key, const void *like, Datum *values)
{
	const Key *of = &table->keys[key];
	int n = 0;

	Assert(key >= 0 && key < table->nkeys);
	for (; n < MAX_KEY_FIELDS && of->fields[n] >= 0; n++)
		if (!payguard_field_get(&table->fields[of->fields[n]], like, &values[n]))
			return 0;
	return n;
}

/*
 * payguard_store_row_datum makes a composite value of a row, for a function that returns it.
 */
Datum
payguard_store_row_datum(const Table *table, const void *row, TupleDesc desc)
{
	Datum values[MAX_FIELDS];
	bool nulls[MAX_FIELDS];

	if (desc->natts > MAX_FIELDS)
		elog(ERROR, "payguard: \"%s\" has too many columns", table->name);
	for (int i = 0; i < desc->natts; i++)
	{
		const char *column = NameStr(TupleDescAttr(desc, i)->attname);

		nulls[i] = true;
		for (int f = 0; f < table->nfields; f++)
			if (strcmp(table->fields[f].column, column) == 0)
				nulls[i] = table->fields[f].type == FIELD_XID ||
						   !payguard_field_get(&table->fields[f], row, &values[i]);
	}
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
