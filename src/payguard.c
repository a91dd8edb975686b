/*
 * payguard.c
 *		The module: what is set up when the library is loaded.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "payguard.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static const struct config_enum_entry stores[] = {
	{"auto", STORE_AUTO, false},
	{"spi", STORE_SPI, false},
	{"heap", STORE_HEAP, false},
	{NULL, 0, false},
};

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
	DefineCustomBoolVariable("payguard.allow_unsafe_ddl",
							 "Allows DDL that removes payguard's protection.", NULL,
							 &payguard_allow_unsafe_ddl, false, PGC_SUSET, 0, NULL, NULL,
							 NULL);
	/* whoever may use payguard may NOTIFY, and must be able to do without for two-phase commit */
	DefineCustomBoolVariable("payguard.notify_tasks",
							 "Sends NOTIFY payguard_tasks when a task is due at once.",
							 "A transaction that has sent it cannot be prepared for "
							 "two-phase commit.",
							 &payguard_notify_tasks, false, PGC_USERSET, 0, NULL, NULL,
							 NULL);
	DefineCustomEnumVariable(
		"payguard.store", "How payguard reads and writes orders, payments and events.",
		"heap goes to the tables directly where nothing on them forbids it, spi runs SQL "
		"statements; they do the same.",
		&payguard_store_setting, STORE_AUTO, stores, PGC_SUSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("payguard");
	payguard_counters_init();
}
