/*
 * plan.h
 *		Questions about many rows, and statements on many rows: by SPI, with saved plans.
 */
#ifndef PAYGUARD_STORE_PLAN_H
#define PAYGUARD_STORE_PLAN_H

#include "access/tupdesc.h"
#include "nodes/nodes.h"
#include "utils/tuplestore.h"

#include "store/table.h"

/* PostgreSQL's own operators, for a statement or a condition, whatever the search_path is. */
#define OP_EQ "OPERATOR(pg_catalog.=)"
#define OP_NE "OPERATOR(pg_catalog.<>)"
#define OP_LT "OPERATOR(pg_catalog.<)"
#define OP_LE "OPERATOR(pg_catalog.<=)"
#define OP_GT "OPERATOR(pg_catalog.>)"
#define OP_GE "OPERATOR(pg_catalog.>=)"
#define OP_PLUS "OPERATOR(pg_catalog.+)"
#define OP_MINUS "OPERATOR(pg_catalog.-)"
#define OP_TIMES "OPERATOR(pg_catalog.*)"

/* A query for several rows; a constant, whose address names the saved plan. */
#define MAX_QUERY_PARAMETERS 6
typedef struct RowQuery
{
	const char *where; /* the text behind WHERE, qualified, with $1 ... */
	Oid types[MAX_QUERY_PARAMETERS + 1]; /* of the parameters, ended by InvalidOid */
} RowQuery;

/* A statement on many rows of one table, which it may change; a constant, as RowQuery. */
#define MAX_STATEMENT_PARAMETERS 8
typedef struct Statement
{
	const char *sql;						 /* qualified, with $1 ... */
	Oid types[MAX_STATEMENT_PARAMETERS + 1]; /* of the parameters, ended by InvalidOid */
	const char *changes; /* the table that it updates or deletes from, or NULL */
	CmdType operation;	 /* CMD_UPDATE or CMD_DELETE, of that table */
} Statement;

extern int payguard_store_list(const Table *table, const RowQuery *query, Datum *values,
							   void **rows);
extern int payguard_store_list_nulls(const Table *table, const RowQuery *query,
									 Datum *values, const char *nulls, void **rows);
extern int payguard_store_execute(const Statement *statement, Datum *values,
								  const char *nulls);
extern Datum payguard_store_result(int row, int column, bool *isnull);
extern void payguard_store_put_results(Tuplestorestate *store, TupleDesc desc);
extern bool payguard_store_expects(const char *relation, CmdType operation);

#endif
