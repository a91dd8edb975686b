/*
 * table.h
 *		What a table is to the store: which column is which field of a C struct.
 *
 * A row is a C struct that begins with RowHeader; a const Table says which column is which field of
 * the struct. Pointers in a row that was found belong to the memory context that was current when it
 * was asked for. A row that a key is looked up by is zero but for the key: its header says whether it
 * was found before.
 *
 * NULLs: a NULL pointer (text, text[], jsonb, bytea, uuid, interval), NO_AMOUNT, NO_ID, NO_TIME,
 * status 0. A boolean is never NULL.
 */
#ifndef PAYGUARD_STORE_TABLE_H
#define PAYGUARD_STORE_TABLE_H

#include "access/attnum.h"
#include "access/tupdesc.h"
#include "storage/itemptr.h"

#include "rules/machine.h"

typedef enum FieldType
{
	FIELD_TEXT,		/* text * */
	FIELD_TEXTS,	/* ArrayType *, of text */
	FIELD_JSONB,	/* Jsonb * */
	FIELD_BYTEA,	/* bytea * */
	FIELD_UUID,		/* pg_uuid_t * */
	FIELD_INTERVAL, /* Interval * */
	FIELD_AMOUNT,	/* int64, minor units of a currency; NO_AMOUNT is NULL */
	FIELD_ID,		/* int64, an id, a version or a count from 1; NO_ID is NULL */
	FIELD_TIME,		/* TimestampTz; NO_TIME is NULL */
	FIELD_BOOL,		/* bool, NOT NULL */
	FIELD_STATUS,	/* int, a status of Field.machine; 0 is NULL */
	FIELD_XID /* nothing in the struct: the column gets the transaction that writes the row */
} FieldType;

typedef struct Field
{
	const char *column;
	FieldType type;
	uint16 offset;			/* in the row's struct */
	const Machine *machine; /* of a FIELD_STATUS */
	const char *sequence;	/* that numbers new rows, in schema payguard; or NULL */
} Field;

/* Columns that are unique together, or that many rows may share; under a condition or without one. */
#define MAX_KEY_FIELDS 3
typedef struct Key
{
	int8 fields[MAX_KEY_FIELDS]; /* indexes into Table.fields, ended by -1 */
	const char *index;			 /* the index's name, behind the table's and "_" */
	bool partial;  /* the index has a condition, which the rows of this key fulfil */
	bool archived; /* what the table does not have is looked for in its archive */
	bool shared;   /* the index is not unique: only payguard_store_may_have() asks it */
} Key;

#define MAX_FIELDS 32
typedef struct Table
{
	const char *name; /* in schema payguard */
	Oid *last;		  /* which relation had that name the last time, or InvalidOid */
	size_t row_size;
	const Field *fields;
	int nfields;
	const Key *keys; /* keys[0] is the primary key */
	int nkeys;
	int version;				 /* the field that each update raises by one, or -1 */
	const struct Table *archive; /* of the same columns and keys, or NULL */
} Table;

/* What every row struct begins with. */
typedef struct RowHeader
{
	TransactionId
		xmin; /* who wrote this version of the row; invalid in a row not stored */
	ItemPointerData tid; /* where it was found or locked; invalid: it was not */
	uint64 snapshot;	 /* payguard_store_snapshot at that time */
} RowHeader;

/* A set of fields, as 1 << field. */
typedef uint64 FieldSet;
#define FIELD(f) (UINT64CONST(1) << (f))

/* The column of each field; 0: the scripts of an older version have not made it. */
typedef AttrNumber Columns[MAX_FIELDS];

/*
 * Each table has one list of its columns, X(number, struct, field, type ...), where the enumeration of the
 * fields and the table of the fields come from.
 */
#define COLUMN_NUMBER(number, struct, field, ...) number,
#define COLUMN_FIELD(number, struct, field, ...)                                         \
	[number] = {.column = #field, .offset = offsetof(struct, field), .type = __VA_ARGS__},

#define TABLE_PARTS(name, struct, fields, keys)                                          \
	name, &(Oid){InvalidOid}, sizeof(struct), fields, lengthof(fields), keys,            \
		lengthof(keys)
#define TABLE(name, struct, fields, keys)                                                \
	{                                                                                    \
		TABLE_PARTS(name, struct, fields, keys), -1, NULL                                \
	}
#define ARCHIVED_TABLE(name, struct, fields, keys, archive)                              \
	{                                                                                    \
		TABLE_PARTS(name, struct, fields, keys), -1, &archive                            \
	}

extern bool payguard_field_get(const Field *field, const void *row, Datum *value);
extern void payguard_field_set(const Field *field, void *row, Datum value, bool isnull);
extern Oid payguard_field_type(const Field *field);
extern int payguard_field_compare(const Field *field, Datum a, Datum b);
extern void payguard_table_columns(const Table *table, TupleDesc desc, Columns columns);
extern void payguard_table_read(const Table *table, const Columns columns,
								const Datum *values, const bool *nulls, void *row);
extern int payguard_key_values(const Table *table, int key, const void *like,
							   Datum *values);
extern Datum payguard_store_row_datum(const Table *table, const void *row,
									  TupleDesc desc);

#endif
