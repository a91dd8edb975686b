/*
 * restore.h
 *		Rows brought back from the archive.
 */
#ifndef PAYGUARD_RECORDS_RESTORE_H
#define PAYGUARD_RECORDS_RESTORE_H

#include "store/plan.h"

extern bool payguard_restore(const text *order_id);
extern void payguard_archive_move(const Statement *statements, int n, Datum *values);

#endif
