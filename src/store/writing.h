/*
 * writing.h
 *		An operation on the rows of a table.
 */
#ifndef PAYGUARD_STORE_WRITING_H
#define PAYGUARD_STORE_WRITING_H

#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"

#include "store/open.h"
#include "store/table.h"

/* The operation that is done to each of the rows. */
typedef struct RowWrite
{
	CmdType operation; /* CMD_INSERT, CMD_UPDATE or CMD_DELETE */
	FieldSet changed;  /* of CMD_UPDATE */
	bool if_new;	   /* of CMD_INSERT: unless there is a row with the same key */
	int key;		   /* of if_new */
} RowWrite;

/* An operation that is being done. */
typedef struct Writing
{
	const RowWrite *write;
	OpenTable open;
	EState *estate;
	ResultRelInfo *result;
	EPQState epq;
	MemoryContext caller;
	TransitionCaptureState *transition;
	List *arbiters; /* of if_new: the unique indexes that a conflict is looked for in */
	bool look;		/* of if_new: they are looked at before the row goes in */
	TupleTableSlot *old; /* the row as it was: of an update or deletion */
	TupleTableSlot *new; /* the row as it is to be: of an insertion or update */
} Writing;

extern void payguard_writing_begin(Writing *writing, const Table *table,
								   const RowWrite *write);
extern void payguard_writing_end(Writing *writing);
extern void payguard_writing_open_indexes(Writing *writing);

#endif
