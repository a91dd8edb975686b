/*
 * counters.c
 *		Counters in shared memory: replays, and refusals of each kind.
 *
 * A refused call rolls back and a replay writes nothing, so no table can count them. They are
 * counted per database, when the answer is given, whatever becomes of its transaction.
 *
 * Locking: a backend finds its database's slot once, or takes one, under an exclusive lock;
 * then it adds atomically, without any. Slots are taken from the first on and never given back;
 * when all are taken, that of a database that is gone is taken over. A slot's oid is written
 * last, when its counters are 0.
 *
 * Shared memory is there where shared_preload_libraries names payguard; without it nothing is
 * counted.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "payguard.h"

#define MAX_DATABASES 64
#define REPLAYS 0 /* where an error's id counts its refusals */

/* What is counted of one database. */
typedef struct DatabaseCounters
{
	pg_atomic_uint32 database;		  /* its oid; 0: the slot is free */
	pg_atomic_uint64 since;			  /* TimestampTz */
	pg_atomic_uint64 count[N_ERRORS]; /* by ErrorId; REPLAYS */
} DatabaseCounters;

static DatabaseCounters *slots = NULL;
static LWLock *slots_lock = NULL;
static DatabaseCounters *mine = NULL;
static bool looked_for_mine = false;
static shmem_request_hook_type next_shmem_request_hook = NULL;
static shmem_startup_hook_type next_shmem_startup_hook = NULL;

static void request_memory(void);
static void set_up_memory(void);
static void count(int counter);
static void look_for_mine(void);
static Oid find_gone(void);
static DatabaseCounters *find_slot(Oid of_database);
static void clear(DatabaseCounters *slot);

/*
 * payguard_counters_init asks for shared memory, where the library is loaded in time for it.
 */
void
payguard_counters_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	next_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	next_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = set_up_memory;
}

static void
request_memory(void)
{
	if (next_shmem_request_hook)
		next_shmem_request_hook();
	RequestAddinShmemSpace(MAX_DATABASES * sizeof(DatabaseCounters));
	RequestNamedLWLockTranche("payguard counters", 1);
}

static void
set_up_memory(void)
{
	bool found;

	if (next_shmem_startup_hook)
		next_shmem_startup_hook();
	slots_lock = &GetNamedLWLockTranche("payguard counters")->lock;
	slots = ShmemInitStruct("payguard counters", MAX_DATABASES * sizeof(DatabaseCounters),
							&found);
	if (found)
		return;
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		pg_atomic_init_u32(&slots[i].database, InvalidOid);
		pg_atomic_init_u64(&slots[i].since, 0);
		for (int c = 0; c < N_ERRORS; c++)
			pg_atomic_init_u64(&slots[i].count[c], 0);
	}
}

/*
 * payguard_count_replay counts an answer that repeats an earlier one.
 */
void
payguard_count_replay(void)
{
	count(REPLAYS);
}

/*
 * payguard_count_refusal counts a refusal that is raised, or returned as an outcome.
 */
void
payguard_count_refusal(ErrorId id)
{
	Assert(id > NO_ERROR_ID && id < N_ERRORS);
	count(id);
}

static void
count(int counter)
{
	if (slots == NULL)
		return;
	look_for_mine();
	if (mine)
		pg_atomic_fetch_add_u64(&mine->count[counter], 1);
}

/*
 * look_for_mine finds or takes this database's slot, once; none where all are taken by others.
 */
static void
look_for_mine(void)
{
	Oid available = InvalidOid;

	if (looked_for_mine)
		return;
	do
	{
		LWLockAcquire(slots_lock, LW_EXCLUSIVE);
		mine = find_slot(MyDatabaseId);
		if (mine == NULL && (mine = find_slot(available)) != NULL)
		{
			clear(mine);
			pg_write_barrier();
			pg_atomic_write_u32(&mine->database, MyDatabaseId);
		}
		LWLockRelease(slots_lock);
	} while (mine == NULL && OidIsValid(available = find_gone()));
	looked_for_mine = true;
}

/*
 * find_gone returns a database that has a slot and is gone; InvalidOid: there is none. Catalogs
 * are not read under the lock.
 */
static Oid
find_gone(void)
{
	for (int i = 0; i < MAX_DATABASES; i++)
	{
		Oid database = pg_atomic_read_u32(&slots[i].database);

		if (!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)))
			return database;
	}
	return InvalidOid;
}

/*
 * find_slot returns a database's slot, or NULL. Of InvalidOid: the first free one.
 */
static DatabaseCounters *
find_slot(Oid of_database)
{
	for (int i = 0; i < MAX_DATABASES; i++)
		if (pg_atomic_read_u32(&slots[i].database) == of_database)
			return &slots[i];
	return NULL;
}

static void
clear(DatabaseCounters *slot)
{
	for (int c = 0; c < N_ERRORS; c++)
		pg_atomic_write_u64(&slot->count[c], 0);
	pg_atomic_write_u64(&slot->since, (uint64) GetCurrentTimestamp());
}

PG_FUNCTION_INFO_V1(payguard_read_counters);

/*
 * read_counters() → (counter, reason, value, since): this database's, since when they count; no
 * row without shared memory.
 */
Datum
payguard_read_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	if (slots == NULL)
		return (Datum) 0;
	look_for_mine();
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
	if (slots != NULL)
		look_for_mine();
	if (mine)
		clear(mine);
	PG_RETURN_VOID();
}
