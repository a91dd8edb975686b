/*
 * store.h
 *		The table layer: find by unique key, lock, insert, update, delete.
 *
 * Nothing above it touches a heap, an index or SPI. A row is a C struct that begins with
 * RowHeader; a const Table says which column is which field of the struct. Pointers in a row
 * that was found belong to the memory context that was current when it was asked for. A row that a
 * key is looked up by is zero but for the key: its header says whether it was found before.
 *
 * NULLs: a NULL pointer (text, jsonb, bytea, uuid, interval), NO_AMOUNT, NO_ID, NO_TIME,
 * status 0. A boolean is never NULL.
 */
#ifndef PAYGUARD_STORE_H
#define PAYGUARD_STORE_H

#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "nodes/nodes.h"
#include "storage/itemptr.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "machine.h"

#define NO_AMOUNT INT64CONST(-1) /* amounts are >= 0 */
#define NO_ID INT64CONST(0)		 /* ids and versions are >= 1 */
#define NO_TIME DT_NOBEGIN		 /* -infinity is refused as an argument */

typedef enum FieldType
{
	FIELD_TEXT,		/* text * */
	FIELD_JSONB,	/* Jsonb * */
	FIELD_BYTEA,	/* bytea * */
	FIELD_UUID,		/* pg_uuid_t * */
	FIELD_INTERVAL, /* Interval * */
	FIELD_AMOUNT,	/* int64, minor units of a currency; NO_AMOUNT is NULL */
	FIELD_ID,		/* int64, an id, a version or a count from 1; NO_ID is NULL */
	FIELD_TIME,		/* TimestampTz; NO_TIME is NULL */
	FIELD_BOOL,		/* bool, NOT NULL */
	FIELD_STATUS	/* int, a status of Field.machine; 0 is NULL */
} FieldType;

typedef struct Field
{
	const char *column;
	FieldType type;
	uint16 offset;			/* in the row's struct */
	const Machine *machine; /* of a FIELD_STATUS */
	bool generated;			/* the column's DEFAULT makes it, an insert leaves it out */
} Field;

/* Columns that are unique together, under a condition or without one. */
#define MAX_KEY_FIELDS 3
typedef struct Key
{
	int8 fields[MAX_KEY_FIELDS]; /* indexes into Table.fields, ended by -1 */
	const char *condition;		 /* the unique index's WHERE, or NULL */
	bool archived; /* what the table does not have is looked for in its archive */
} Key;

#define MAX_WALK_FIELDS 2
typedef struct Table
{
	const char *name; /* in schema payguard */
	size_t row_size;
	const Field *fields;
	int nfields;
	const Key *keys; /* keys[0] is the primary key */
	int nkeys;
	int8 walk[MAX_WALK_FIELDS]; /* the fields of the index that rows are walked along */
	int nwalk;					/* 0: there is none */
	const struct Table *archive; /* of the same columns and keys, or NULL */
} Table;

/* A query for several rows; a constant, whose address names the saved plan. */
#define MAX_QUERY_PARAMETERS 6
typedef struct RowQuery
{
	const char *where; /* the text behind WHERE, qualified, with $1 ... */
	Oid types[MAX_QUERY_PARAMETERS + 1]; /* of the parameters, ended by InvalidOid */
} RowQuery;

/*
 * A query for the first rows along Table.walk. The parameters: the values of the walk's fields
 * behind which it begins, up to which value of the first one it goes, how many rows, and arrays
 * that text fields are among (NULL: they are anything). What it is for store_heap.c must be what
 * its text says.
 */
#define MAX_AMONG 2
typedef struct WalkQuery
{
	RowQuery sql;
	int namong;
	int8 among[MAX_AMONG];
	int8 absent; /* a field that is NULL; -1: none */
} WalkQuery;

/* A statement on many rows of one table, which it may change; a constant, as RowQuery. */
#define MAX_STATEMENT_PARAMETERS 8
typedef struct Statement
{
	const char *sql; /* qualified, with $1 ... */
	Oid types[MAX_STATEMENT_PARAMETERS + 1]; /* of the parameters, ended by InvalidOid */
	const char *changes; /* the table that it updates or deletes from, or NULL */
	CmdType operation;	 /* CMD_UPDATE or CMD_DELETE, of that table */
} Statement;

/* What every row struct begins with. */
typedef struct RowHeader
{
	TransactionId xmin;	 /* who wrote this version of the row; invalid in a row not stored */
	ItemPointerData tid; /* where store_heap.c found or locked it; invalid: it did not */
	uint64 snapshot;	 /* payguard_store_snapshot at that time */
} RowHeader;

/* A set of fields, as 1 << field. */
typedef uint64 FieldSet;
#define FIELD(f) (UINT64CONST(1) << (f))

typedef enum StoreMode
{
	STORE_READ,	 /* reads with the caller's snapshot; good on a standby */
	STORE_WRITE, /* reads with a snapshot of its own that sees all done so far */
} StoreMode;

/* How rows of a query are locked. */
typedef enum RowLock
{
	ROW_READ,	  /* not at all */
	ROW_LOCK,	  /* as payguard_store_lock() does */
	ROW_LOCK_FREE /* those that nobody holds: the others are left out */
} RowLock;

typedef enum StoreSetting
{
	STORE_AUTO, /* payguard chooses */
	STORE_SPI,
	STORE_HEAP /* store_heap.c, as far as it goes */
} StoreSetting;

/* payguard.store, a StoreSetting */
extern int payguard_store_setting;

extern void payguard_store_begin(StoreMode mode);
extern void payguard_store_refresh(void);
extern void payguard_store_end(StoreMode mode);

extern bool payguard_store_find(const Table *table, int key, const void *like, void *row);
extern bool payguard_store_is_empty(const Table *table);
extern int payguard_store_list(const Table *table, const RowQuery *query, Datum *values,
							   void **rows);
extern int payguard_store_walk(const Table *table, const WalkQuery *query, Datum *values,
							   const char *nulls, void **rows);
extern int payguard_store_list_by_key(const Table *table, int key, int nfields, RowLock lock,
									  const Datum *values, int n, void **rows);
extern void payguard_store_check(const Table *table, const void *const *rows, int n,
								 bool *stands);
extern bool payguard_store_lock(const Table *table, int key, const void *like, void *row);
extern bool payguard_store_lock_free(const Table *table, int key, const void *like,
									 void *row);
extern void payguard_store_insert(const Table *table, const void *row);
extern bool payguard_store_insert_new(const Table *table, int key, const void *row);
extern void payguard_store_update(const Table *table, FieldSet changed, const void *row);
extern void payguard_store_delete(const Table *table, const void *row);
extern void payguard_store_insert_all(const Table *table, const void *const *rows, int n);
extern void payguard_store_insert_new_all(const Table *table, int key,
										  const void *const *rows, int n, bool *inserted);
extern void payguard_store_update_all(const Table *table, FieldSet changed,
									  const void *const *rows, int n);
extern void payguard_store_delete_all(const Table *table, const void *const *rows, int n);

extern void payguard_store_suppressed(const Table *table) pg_attribute_noreturn();
extern int payguard_store_execute(const Statement *statement, Datum *values,
								  const char *nulls);
extern bool payguard_store_try(void (*write)(void *), void *argument);
extern ErrorData *payguard_store_attempt(void (*write)(void *), void *argument);
extern Datum payguard_store_result(int row, int column, bool *isnull);
extern void payguard_store_put_results(Tuplestorestate *store, TupleDesc desc);
extern void payguard_store_make_durable(const void *row);
extern void payguard_store_make_all_durable(void);
extern bool payguard_store_has_user_triggers(const Table *table);
extern bool payguard_store_expects(const char *relation, CmdType operation);
extern Datum payguard_store_row_datum(const Table *table, const void *row,
									  TupleDesc desc);

/* What is done to rows, one as the other. */
typedef struct RowWrite
{
	CmdType operation; /* CMD_INSERT, CMD_UPDATE or CMD_DELETE */
	FieldSet changed;  /* of CMD_UPDATE */
	bool if_new;	   /* of CMD_INSERT: unless there is a row with the same key */
	int key;		   /* of if_new */
} RowWrite;

/* For the stores alone. */
extern uint64 payguard_store_snapshot;
extern bool payguard_field_get(const Field *field, const void *row, Datum *value);
extern void payguard_field_set(const Field *field, void *row, Datum value, bool isnull);
extern Oid payguard_field_type(const Field *field);

/* store_heap.c; false: it does not apply, and SPI is to do it */
extern bool payguard_heap_find(const Table *table, int key, const void *like, void *row,
							   bool *found);
extern bool payguard_heap_lock(const Table *table, int key, const void *like, void *row,
							   bool *found);
extern bool payguard_heap_list_by_key(const Table *table, int key, int nfields,
									  RowLock lock, const Datum *values, int n,
									  void **rows, int *found);
extern bool payguard_heap_walk(const Table *table, const WalkQuery *query, Datum *values,
							   const char *nulls, void **rows, int *found);
extern bool payguard_heap_check(const Table *table, const void *const *rows, int n,
							   bool *stands);
extern bool payguard_heap_write(const Table *table, const RowWrite *write,
								const void *const *rows, int n, bool *written);

#endif
