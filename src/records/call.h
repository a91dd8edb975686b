/*
 * call.h
 *		The calls of our functions that are running.
 */
#ifndef PAYGUARD_RECORDS_CALL_H
#define PAYGUARD_RECORDS_CALL_H

#include "access/tupdesc.h"
#include "fmgr.h"

#include "store/table.h"

extern void payguard_request_begin(const char *function);
extern void payguard_evidence_begin(const char *function);
extern void payguard_call_end(void);
extern bool payguard_call_is_evidence(void);
extern Datum payguard_row_result(FunctionCallInfo fcinfo, const Table *table,
								 const void *row);
extern TupleDesc payguard_result_desc(FunctionCallInfo fcinfo);

#endif
