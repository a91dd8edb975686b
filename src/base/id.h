/*
 * id.h
 *		Ids of rows, and tokens.
 */
#ifndef PAYGUARD_BASE_ID_H
#define PAYGUARD_BASE_ID_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

extern pg_uuid_t *payguard_uuid_v7(uint16 rand_a);
extern pg_uuid_t *payguard_uuid_v7_at(uint16 rand_a, TimestampTz time);
extern bool payguard_uuid_v7_holds(TimestampTz time);
extern pg_uuid_t *payguard_uuid_v4(void);
extern uint16 payguard_slot_of(const text *order_id);

#endif
