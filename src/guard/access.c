/*
 * access.c
 *		renew_access(): roles get what the accesses that were granted to them have gained since, and
 * keep what these have lost.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "parser/parse_func.h"

static uint64 grant_anew(void);
static uint64 grant(const char *sql);

PG_FUNCTION_INFO_V1(payguard_renew_access);

/*
 * renew_access() → bigint: grants each role what its accesses consist of now. Roles that became operators before 1.2.0,
 * when that included admin and refunds, get both. Returns how many accesses that were. An update's script calls it, and
 * so does whoever has restored the dump of an older version. Errors: 42501.
 *
 * What a script grants counts as part of the extension, and pg_dump leaves it out, together with
 * all that the same object had been granted before. So these grants are made as if no script ran.
 */
Datum
payguard_renew_access(PG_FUNCTION_ARGS)
{
	bool in_script = creating_extension;
	uint64 granted = 0;

	creating_extension = false;
	PG_TRY();
	{
		granted = grant_anew();
	}
	PG_FINALLY();
	{
		creating_extension = in_script;
	}
	PG_END_TRY();
	PG_RETURN_INT64((int64) granted);
}

static uint64
grant_anew(void)
{
	/* the scripts of older versions do not have it */
	List *earlier = list_make2(makeString("payguard"), makeString("earlier_operators"));
	uint64 granted;

	SPI_connect();
	granted =
		grant("SELECT payguard.apply_access(role, access) FROM payguard.role_access()");
	if (OidIsValid(LookupFuncName(earlier, 0, NULL, true)))
		granted += grant(
			"SELECT payguard.apply_access(o, a) FROM payguard.earlier_operators() o,"
			" pg_catalog.unnest('{admin,refunds}'::pg_catalog.text[]) a");
	SPI_finish();
	return granted;
}

static uint64
grant(const char *sql)
{
	if (SPI_execute(sql, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "payguard: cannot grant anew");
	return SPI_processed;
}
