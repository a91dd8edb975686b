/*
 * payguard.c
 *		The module: what is set up when the library is loaded.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "base/count.h"
#include "records/actor.h"
#include "records/task.h"
#include "guard/protect.h"

PG_MODULE_MAGIC;

/* What payguard.store was good for until 1.1: there is one store now, and the setting is ignored. */
static const struct config_enum_entry stores[] = {
	{"auto", 0, false},
	{"spi", 1, false},
	{"heap", 2, false},
	{NULL, 0, false},
};
static int store_setting = 0;

/* Only where it is set for the whole database does it count: reset() looks there. */
static bool allow_reset = false;

extern PGDLLEXPORT void _PG_init(void);

/*
 * _PG_init defines the settings and sets up the counters. payguard works without
 * shared_preload_libraries; only what is refused and replayed is not counted then.
 */
void
_PG_init(void)
{
	DefineCustomStringVariable(
		"payguard.actor", "Who acts, for roles with the access \"delegate\".",
		"Events name this actor instead of the session's user.", &payguard_actor_setting,
		"", PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"payguard.allow_reset",
		"Allows payguard.reset() to empty this database's payguard.",
		"It has an effect only if ALTER DATABASE ... SET has set it.", &allow_reset,
		false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"payguard.allow_unsafe_ddl", "Allows DDL that removes payguard's protection.",
		NULL, &payguard_allow_unsafe_ddl, false, PGC_SUSET, 0, NULL, NULL, NULL);
	/* whoever may use payguard may NOTIFY, and must be able to do without for two-phase commit */
	DefineCustomBoolVariable("payguard.notify_tasks",
							 "Sends NOTIFY payguard_tasks when a task is due at once.",
							 "A transaction that has sent it cannot be prepared for "
							 "two-phase commit.",
							 &payguard_notify_tasks, false, PGC_USERSET, 0, NULL, NULL,
							 NULL);
	DefineCustomEnumVariable(
		"payguard.store", "Ignored. The next version removes it.",
		"Until 1.1 it chose between two ways of reading and writing rows.",
		&store_setting, 0, stores, PGC_SUSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("payguard");
	payguard_counters_init();
}
