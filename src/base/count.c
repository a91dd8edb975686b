/*
 * count.c
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

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/count.h"

#define MAX_DATABASES 64

static DatabaseCounters *slots = NULL;
static LWLock *slots_lock = NULL;
static DatabaseCounters *mine = NULL;
static bool looked_for_mine = false;
static shmem_request_hook_type next_shmem_request_hook = NULL;
static shmem_startup_hook_type next_shmem_startup_hook = NULL;

static void request_memory(void);
static void set_up_memory(void);
static void look_for_mine(void);
static Oid find_gone(void);
static DatabaseCounters *find_slot(Oid of_database);

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
		for (int c = 0; c < MAX_COUNTERS; c++)
			pg_atomic_init_u64(&slots[i].count[c], 0);
	}
}

/*
 * payguard_count_replay counts an answer that repeats an earlier one.
 */
void
payguard_count_replay(void)
{
	payguard_count(REPLAYS);
}

/*
 * payguard_count adds one to a counter of this database. counter: below MAX_COUNTERS.
 */
void
payguard_count(int counter)
{
	DatabaseCounters *counters = payguard_counters_find();

	Assert(counter >= 0 && counter < MAX_COUNTERS);
	if (counters)
		pg_atomic_fetch_add_u64(&counters->count[counter], 1);
}

/*
 * payguard_counters_find returns this database's counters; NULL: there is no shared memory for them, or
 * others have taken all slots.
 */
DatabaseCounters *
payguard_counters_find(void)
{
	if (slots && !looked_for_mine)
		look_for_mine();
	return mine;
}

/*
 * look_for_mine finds or takes this database's slot, once; none where all are taken by others.
 */
static void
look_for_mine(void)
{
	Oid available = InvalidOid;

	do
	{
		LWLockAcquire(slots_lock, LW_EXCLUSIVE);
		mine = find_slot(MyDatabaseId);
		if (mine == NULL && (mine = find_slot(available)) != NULL)
		{
			payguard_counters_clear(mine);
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

/*
 * payguard_counters_clear sets a database's counters to 0, counted from now.
 */
void
payguard_counters_clear(DatabaseCounters *slot)
{
	for (int c = 0; c < MAX_COUNTERS; c++)
		pg_atomic_write_u64(&slot->count[c], 0);
	pg_atomic_write_u64(&slot->since, (uint64) GetCurrentTimestamp());
}
