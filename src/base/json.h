/*
 * json.h
 *		Jsonb objects made of C values, and read again.
 */
#ifndef PAYGUARD_BASE_JSON_H
#define PAYGUARD_BASE_JSON_H

#include "utils/jsonb.h"
#include "utils/uuid.h"

extern Jsonb *payguard_json(const char *key, ...);
extern bool payguard_json_has(Jsonb *object, const char *key);
extern text *payguard_json_text(Jsonb *object, const char *key);
extern pg_uuid_t *payguard_json_uuid(Jsonb *object, const char *key);
extern int64 payguard_json_int(Jsonb *object, const char *key);

#endif
