/*
 * counters.c
 *		read_counters() and reset_counters(): the counters of base/count.c, as rows.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "port/atomics.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/count.h"
#include "base/refusal.h"

PG_FUNCTION_INFO_V1(payguard_read_counters);

/*
 * read_counters() → (counter, reason, value, since): this database's, since when they count; no
 * row without shared memory.
 */
Datum
payguard_read_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DatabaseCounters *mine = payguard_counters_find();

	InitMaterializedSRF(fcinfo, 0);
	for (int c = 0; mine && c < N_ERRORS; c++)
	{
		Datum values[4] = {
			CStringGetTextDatum(c == REPLAYS ? "replays" : "refusals"),
			c == REPLAYS ? (Datum) 0 : CStringGetTextDatum(payguard_error_name(c)),
			Int64GetDatum((int64) pg_atomic_read_u64(&mine->count[c])),
			TimestampTzGetDatum((TimestampTz) pg_atomic_read_u64(&mine->since)),
		};
		bool nulls[4] = {false, c == REPLAYS, false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(payguard_reset_counters);

/*
 * reset_counters(): this database's counters begin at 0 again.
 */
Datum
payguard_reset_counters(PG_FUNCTION_ARGS)
{
	DatabaseCounters *mine = payguard_counters_find();

	if (mine)
		payguard_counters_clear(mine);
	PG_RETURN_VOID();
}
