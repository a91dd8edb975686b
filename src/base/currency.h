/*
 * currency.h
 *		Amounts in a currency's major unit.
 */
#ifndef PAYGUARD_BASE_CURRENCY_H
#define PAYGUARD_BASE_CURRENCY_H

#include "utils/numeric.h"

extern bool payguard_currency_is_worth(Numeric major, int64 minor, const char *currency);

#endif
