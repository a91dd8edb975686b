/*
 * command.h
 *		The DDL commands that are running, one inside of another: where each began in its
 * transaction, and what it has touched.
 */
#ifndef PAYGUARD_GUARD_COMMAND_H
#define PAYGUARD_GUARD_COMMAND_H

#include "nodes/nodes.h"
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"
#include "utils/snapshot.h"

/* So many relations are told apart; a command that touches more may have touched any. */
#define MAX_TOUCHED 32

typedef struct Command
{
	struct Command *outer; /* the one that runs it: by a default, a trigger */
	Node *statement;
	SubTransactionId subtransaction;
	CommandId
		since; /* its own changes, and no others of its transaction, are at or after it */
	bool any;  /* it may have touched any relation */
	int ntouched;
	Oid touched[MAX_TOUCHED]; /* whose descriptions have changed, by whomever */
	List *dropped;			  /* guarded tables that it may drop */
	List *settled;			  /* of Settled, the latest last */
} Command;

/* A table whose guard was put on meanwhile, or is gone as it should be: taken off, or dropped. */
typedef struct Settled
{
	Oid relation;
	bool guarded;
	SubTransactionId subtransaction;
} Settled;

extern void payguard_command_begin(Node *statement);
extern Command *payguard_command_end(Node *statement);
extern void payguard_command_drops(Oid relation);
extern void payguard_command_settles(Oid relation, bool guarded);
extern const Settled *payguard_command_settled(const Command *command, Oid relation);
extern Snapshot payguard_command_look_back(const Command *command);
extern bool payguard_command_holds(Oid relation, LOCKMODE lowest);

#endif
