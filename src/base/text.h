/*
 * text.h
 *		Texts.
 */
#ifndef PAYGUARD_BASE_TEXT_H
#define PAYGUARD_BASE_TEXT_H

#include "nodes/pg_list.h"

#define PAYGUARD_SCHEMA "payguard"

extern text *payguard_text(const char *string);
extern text *payguard_clean_text(const char *string);
extern text *payguard_utf8(const char *string);
extern int payguard_text_compare(const text *a, const text *b);
extern bool payguard_text_equal(const text *a, const text *b);
extern bool payguard_text_is(const text *a, const char *b);
extern const char *payguard_str(const text *value);
extern bool payguard_list_has(const List *list, const char *string);
extern const char *payguard_money(int64 amount, const text *currency);

#endif
