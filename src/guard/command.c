/*
 * command.c
 *		The DDL commands that are running, one inside of another.
 *
 * A column's default, a trigger on payguard.events or another event trigger can run DDL inside
 * of DDL. Each command is put down at its start, with the number that its first change in the
 * transaction will have, and taken off at its end; one that fails is taken off with its
 * subtransaction. At its end
 *
 *	- the catalogs can be read as they were when it began: by a snapshot that sees what others
 *	  have committed until now, and of the own transaction what came before the command. So what
 *	  somebody else did to a table before the command got its lock is not held against it;
 *	- it is known which relations have changed, from the messages by which PostgreSQL keeps its
 *	  caches right. Whatever changes a trigger, a rule, a column, an index or the heirs of a
 *	  table sends one. They come from other sessions too: a relation that the transaction has not
 *	  locked is not the command's.
 *
 * This costs a command that touches nothing of ours next to nothing, and locks nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "guard/command.h"

/* The innermost; those of a transaction are in TopTransactionContext. */
static Command *running = NULL;

static void watch(void);
static void forget_all(XactEvent event, void *argument);
static void forget_aborted(SubXactEvent event, SubTransactionId subtransaction,
						   SubTransactionId parent, void *argument);
static void forget_settled(Command *command, SubTransactionId subtransaction);
static void note_touched(Datum argument, Oid relation);
static void touch(Command *command, Oid relation);
static void take_over(Command *outer, const Command *inner);

/*
 * payguard_command_begin puts down that a command begins.
 */
void
payguard_command_begin(Node *statement)
{
	Command *command;

	watch();
	/* what came before has an end, so that it cannot be taken for the command's */
	CommandCounterIncrement();
	command = MemoryContextAllocZero(TopTransactionContext, sizeof(Command));
	command->outer = running;
	command->statement = statement;
	command->subtransaction = GetCurrentSubTransactionId();
	command->since = GetCurrentCommandId(false);
	running = command;
}

/*
 * payguard_command_end returns what is known of a command that ends, in the current memory
 * context; to the one around it, all that it has touched is touched. A command whose beginning
 * was not seen, or has been committed by the command itself, may have done all that the
 * transaction has.
 */
Command *
payguard_command_end(Node *statement)
{
	Command *command = palloc0(sizeof(Command));
	Command *found = running;

	while (found && found->statement != statement)
		found = found->outer;
	if (found == NULL)
	{
		command->statement = statement;
		command->since = FirstCommandId;
		command->any = true;
		return command;
	}
	/* those inside of it that have no end of their own go with it */
	while (running != found)
	{
		take_over(running->outer, running);
		running = running->outer;
	}
	*command = *found;
	command->dropped = list_copy(found->dropped);
	command->settled = list_copy(found->settled);
	if (found->outer)
		take_over(found->outer, found);
	running = found->outer;
	pfree(found);
	return command;
}

/*
 * payguard_command_drops lets the command that is about to begin drop a guarded table.
 */
void
payguard_command_drops(Oid relation)
{
	MemoryContext caller;

	if (running == NULL)
		return;
	caller = MemoryContextSwitchTo(TopTransactionContext);
	running->dropped = list_append_unique_oid(running->dropped, relation);
	MemoryContextSwitchTo(caller);
}

/*
 * payguard_command_settles tells the commands that are running that a guard has been put on, or
 * is gone as it should be.
 */
void
payguard_command_settles(Oid relation, bool guarded)
{
	MemoryContext caller;
	Settled *settled;

	if (running == NULL)
		return;
	caller = MemoryContextSwitchTo(TopTransactionContext);
	settled = palloc(sizeof(Settled));
	settled->relation = relation;
	settled->guarded = guarded;
	settled->subtransaction = GetCurrentSubTransactionId();
	running->settled = lappend(running->settled, settled);
	MemoryContextSwitchTo(caller);
}

/*
 * payguard_command_settled returns what was settled last about a table's guard while the command
 * ran; NULL: nothing.
 */
const Settled *
payguard_command_settled(const Command *command, Oid relation)
{
	const Settled *latest = NULL;
	ListCell *cell;

	foreach (cell, command->settled)
		if (((Settled *) lfirst(cell))->relation == relation)
			latest = lfirst(cell);
	return latest;
}

/*
 * payguard_command_look_back returns a snapshot, registered, that shows the catalogs without what
 * the command has done to them. A snapshot of the transaction's must not be changed: ours is a
 * copy.
 */
Snapshot
payguard_command_look_back(const Command *command)
{
	Snapshot then;

	PushCopiedSnapshot(GetLatestSnapshot());
	then = GetActiveSnapshot();
	then->curcid = command->since;
	then = RegisterSnapshot(then);
	PopActiveSnapshot();
	return then;
}

/*
 * payguard_command_holds tells whether this transaction holds a lock on a relation, of this mode
 * or a stronger one.
 */
bool
payguard_command_holds(Oid relation, LOCKMODE lowest)
{
	LOCKTAG tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	for (LOCKMODE mode = lowest; mode <= AccessExclusiveLock; mode++)
		if (payguard_lock_held(&tag, mode))
			return true;
	return false;
}

/*
 * watch registers, once in a session, the callbacks that tell of transactions and relations.
 */
static void
watch(void)
{
	static bool watching = false;

	if (watching)
		return;
	RegisterXactCallback(forget_all, NULL);
	RegisterSubXactCallback(forget_aborted, NULL);
	CacheRegisterRelcacheCallback(note_touched, (Datum) 0);
	watching = true;
}

/*
 * forget_all forgets all commands: their memory goes with the transaction.
 */
static void
forget_all(XactEvent event, void *argument)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		running = NULL;
}

/*
 * forget_aborted takes off the commands that have failed with their subtransaction, and what was
 * done in it for one that goes on. A subtransaction has a lower number than those inside of it
 * and those after it.
 */
static void
forget_aborted(SubXactEvent event, SubTransactionId subtransaction,
			   SubTransactionId parent, void *argument)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (running && running->subtransaction >= subtransaction)
		running = running->outer;
	for (Command *command = running; command; command = command->outer)
		forget_settled(command, subtransaction);
}

static void
forget_settled(Command *command, SubTransactionId subtransaction)
{
	ListCell *cell;

	foreach (cell, command->settled)
		if (((Settled *) lfirst(cell))->subtransaction >= subtransaction)
			command->settled = foreach_delete_current(command->settled, cell);
}

/*
 * note_touched is told of each relation whose description has changed; it must not allocate
 * memory. InvalidOid: of any.
 */
static void
note_touched(Datum argument, Oid relation)
{
	if (running)
		touch(running, relation);
}

static void
touch(Command *command, Oid relation)
{
	if (!OidIsValid(relation))
		command->any = true;
	for (int i = 0; i < command->ntouched; i++)
		if (command->touched[i] == relation)
			return;
	if (command->any || command->ntouched == MAX_TOUCHED)
		command->any = true;
	else
		command->touched[command->ntouched++] = relation;
}

/*
 * take_over lets a command have touched, and be allowed, what one inside of it has touched and
 * was allowed.
 */
static void
take_over(Command *outer, const Command *inner)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	ListCell *cell;

	outer->any = outer->any || inner->any;
	for (int i = 0; i < inner->ntouched; i++)
		touch(outer, inner->touched[i]);
	foreach (cell, inner->dropped)
		outer->dropped = list_append_unique_oid(outer->dropped, lfirst_oid(cell));
	foreach (cell, inner->settled)
		outer->settled = lappend(outer->settled, lfirst(cell));
	MemoryContextSwitchTo(caller);
}
