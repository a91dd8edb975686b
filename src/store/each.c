/*
 * each.c
 *		What is done to many rows that have nothing to do with each other, for maintain() and claims:
 *		one that cannot be done does not hold up the others.
 *
 * A trigger, a constraint or an index of a user's can refuse what we write about one order, now and
 * whenever it is tried again. All of them are done in one subtransaction; only where that fails is
 * each done in one of its own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/element.h"
#include "base/text.h"
#include "store/each.h"
#include "store/open.h"

typedef struct EachRun
{
	const char *kind;
	EachItem *items;
	int n;
	void (*one)(EachItem *item);
	MemoryContext memory; /* of one item */
} EachRun;

/* The first that could not be done, and by which statement. */
static char *left = NULL;
static TimestampTz left_by;

static void do_all(void *argument);
static void leave(const EachRun *each, const ErrorData *error);

/*
 * payguard_each does one(item) to each of n items; those whose `done` is set by it are counted.
 *
 * kind: what their ids are of, for messages
 *
 * What an item fails with is a WARNING, and kept for payguard_each_left(). Errors that are not about
 * one item go on: a cancelled call, serialization failures, a full disk.
 */
int
payguard_each(const char *kind, EachItem *items, int n, void (*one)(EachItem *item))
{
	EachRun all = {kind, items, n, one, NULL};
	ErrorData *error;
	int done = 0;

	if (n == 0)
		return 0;
	all.memory = payguard_element_memory();
	error = payguard_store_attempt(do_all, &all);
	for (int i = 0; error && i < n; i++)
	{
		EachRun single = {kind, &items[i], 1, one, all.memory};
		ErrorData *again;

		CHECK_FOR_INTERRUPTS();
		if (!payguard_is_about_one(error))
			ReThrowError(error);
		again = payguard_store_attempt(do_all, &single);
		if (again == NULL)
			continue;
		items[i].done = false;
		if (!payguard_is_about_one(again))
			ReThrowError(again);
		leave(&single, again);
		FreeErrorData(again);
	}
	MemoryContextDelete(all.memory);
	for (int i = 0; i < n; i++)
		done += items[i].done;
	return done;
}

static void
do_all(void *argument)
{
	EachRun *each = argument;

	for (int i = 0; i < each->n; i++)
	{
		MemoryContext caller = payguard_element_begin(each->memory);

		CHECK_FOR_INTERRUPTS();
		each->items[i].done = false;
		each->one(&each->items[i]);
		payguard_element_end(each->memory, caller);
	}
}

/*
 * payguard_is_about_one tells whether an error is about what was tried, and not about the call, the
 * transaction or the server.
 */
bool
payguard_is_about_one(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return true;
	}
}

static void
leave(const EachRun *each, const ErrorData *error)
{
	char *what = psprintf("%s \"%s\" is left out: %s", each->kind,
						  payguard_str(each->items[0].id), error->message);

	if (left && left_by != GetCurrentStatementStartTimestamp())
	{
		pfree(left);
		left = NULL;
	}
	left_by = GetCurrentStatementStartTimestamp();
	if (left == NULL)
		left = MemoryContextStrdup(TopMemoryContext, what);
	ereport(WARNING,
			(errcode(error->sqlerrcode), errmsg("payguard: %s", what),
			 errdetail("Everything else is done. It is tried again the next time.")));
}

/*
 * payguard_each_left returns what could not be done by this statement, since it was last called; NULL:
 * nothing.
 */
char *
payguard_each_left(void)
{
	char *found = NULL;

	if (left && left_by == GetCurrentStatementStartTimestamp())
		found = pstrdup(left);
	if (left)
		pfree(left);
	left = NULL;
	return found;
}
