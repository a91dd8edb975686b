/*
 * durable.c
 *		What an answer rests on is as durable as the answer itself.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/lwlock.h"

#include "base/compat.h"
#include "store/durable.h"
#include "store/table.h"

static void wait_for_standby(XLogRecPtr lsn);
static bool standby_has(XLogRecPtr lsn);

/*
 * payguard_store_make_durable makes the commit that wrote a row as durable as this session's
 * own commits are, before an answer rests on it: the row may come from a transaction with
 * synchronous_commit = off, or one that stopped waiting for its standby. A commit does the
 * same in RecordTransactionCommit() (access/transam/xact.c).
 */
void
payguard_store_make_durable(const void *row)
{
	TransactionId xid = ((const RowHeader *) row)->xmin;
	XLogRecPtr commit = InvalidXLogRecPtr;

	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF || !TransactionIdIsNormal(xid) ||
		TransactionIdIsCurrentTransactionId(xid))
		return;

	/* A frozen row keeps its old xid, whose commit status may be gone. */
	LWLockAcquire(XactTruncationLock, LW_SHARED);
	if (!TransactionIdPrecedes(xid, payguard_oldest_clog_xid()) &&
		TransactionIdPrecedes(xid, ReadNextTransactionId()))
		commit = TransactionIdGetCommitLSN(xid);
	LWLockRelease(XactTruncationLock);
	if (!XLogRecPtrIsInvalid(commit))
		XLogFlush(commit);

	/*
	 * Where a synchronous commit stands in the WAL is not kept, so that all that is flushed
	 * here stands in for it; what the standby has confirmed costs nothing.
	 */
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH && SyncRepRequested())
		wait_for_standby(Max(commit, GetFlushRecPtr(NULL)));
}

/*
 * payguard_store_make_all_durable does the same for everything that was committed before this
 * transaction's last write.
 */
void
payguard_store_make_all_durable(void)
{
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF ||
		XLogRecPtrIsInvalid(XactLastRecEnd))
		return;
	XLogFlush(XactLastRecEnd);
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH && SyncRepRequested())
		wait_for_standby(XactLastRecEnd);
}

/*
 * wait_for_standby waits as a commit does, with one difference: whoever cancels the wait gets
 * an error. A commit is done by then; an answer can still be withheld.
 */
static void
wait_for_standby(XLogRecPtr lsn)
{
	HOLD_INTERRUPTS();
	SyncRepWaitForLSN(lsn, true);
	RESUME_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	if (payguard_sync_standbys_defined() && !standby_has(lsn))
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("canceling statement while it waits for a synchronous standby"),
				 errdetail("The answer rests on a commit that the standby may not have. "
						   "This call has written nothing."),
				 errhint("Repeat the call.")));
}

/*
 * standby_has tells whether as many standbys as are asked for have confirmed the WAL up to
 * lsn, in the way that this session's synchronous_commit asks for.
 */
static bool
standby_has(XLogRecPtr lsn)
{
	int mode = synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_WRITE ? SYNC_REP_WAIT_WRITE
			   : synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_APPLY
				   ? SYNC_REP_WAIT_APPLY
				   : SYNC_REP_WAIT_FLUSH;
	bool confirmed;

	LWLockAcquire(SyncRepLock, LW_SHARED);
	confirmed = lsn <= WalSndCtl->lsn[mode];
	LWLockRelease(SyncRepLock);
	return confirmed;
}
