/*
 * currency.c
 *		Amounts in a currency's major unit, as shops write them, and in its minor unit, as payguard does.
 *
 * Source: ISO 4217, list one (current currencies and funds) of 2026, with currencies that were withdrawn
 * since 2020, which old orders are in. Codes without a minor unit (metals, XDR, tests) are not in it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "base/argument.h"
#include "base/currency.h"
#include "base/text.h"

/* The currencies whose minor unit is not a hundredth of the major one. */
static const char no_decimals[] =
	"BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF ";
static const char three_decimals[] = "BHD IQD JOD KWD LYD OMR TND ";
static const char four_decimals[] = "CLF UYW ";

/* The others. */
static const char two_decimals[] = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT "
								   "BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD "
								   "CAD CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK "
								   "DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL "
								   "GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR "
								   "IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR "
								   "LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
								   "MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB "
								   "PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG "
								   "SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP "
								   "SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU "
								   "UZS VED VES WST XCD XCG YER ZAR ZMW ZWG ZWL ";

static int decimals_of(const char *currency);
static int find_decimals(const char *currency);
static void refuse_amount(Datum amount, const char *currency, int decimals)
	pg_attribute_noreturn();

PG_FUNCTION_INFO_V1(payguard_minor_units);

/*
 * minor_units(amount numeric, currency) → bigint: 26.03, 'EUR' → 2603. Exact: an amount that is no whole
 * number of minor units is error 22023, and so is NaN or an unknown currency; 22003 beyond bigint.
 */
Datum
payguard_minor_units(PG_FUNCTION_ARGS)
{
	Numeric amount = PG_GETARG_NUMERIC(0);
	const char *currency = payguard_str(payguard_arg_currency(ARG(1), "currency"));
	int decimals = decimals_of(currency);
	int64 units = 1;
	Datum minor;

	if (numeric_is_nan(amount) || numeric_is_inf(amount))
		refuse_amount(NumericGetDatum(amount), currency, decimals);
	for (int i = 0; i < decimals; i++)
		units *= 10;
	minor = DirectFunctionCall2(numeric_mul, NumericGetDatum(amount),
								NumericGetDatum(int64_to_numeric(units)));
	if (DatumGetBool(DirectFunctionCall2(
			numeric_ne, minor,
			DirectFunctionCall2(numeric_trunc, minor, Int32GetDatum(0)))))
		refuse_amount(NumericGetDatum(amount), currency, decimals);
	return DirectFunctionCall1(numeric_int8, minor);
}

PG_FUNCTION_INFO_V1(payguard_major_units);

/*
 * major_units(amount bigint, currency) → numeric: 2603, 'EUR' → 26.03, with all decimal places of the
 * currency. Errors: 22023 for an unknown currency.
 */
Datum
payguard_major_units(PG_FUNCTION_ARGS)
{
	const char *currency = payguard_str(payguard_arg_currency(ARG(1), "currency"));

	PG_RETURN_NUMERIC(
		int64_div_fast_to_numeric(PG_GETARG_INT64(0), decimals_of(currency)));
}

PG_FUNCTION_INFO_V1(payguard_major_text);

/*
 * major_text(amount bigint, currency) → text: 2603, 'EUR' → '26.03'. Of a currency that ISO 4217 does not know the amount
 * is as it is kept. Errors: none.
 */
Datum
payguard_major_text(PG_FUNCTION_ARGS)
{
	int64 amount = PG_GETARG_INT64(0);
	int decimals = find_decimals(payguard_str(PG_GETARG_TEXT_PP(1)));

	if (decimals <= 0)
		PG_RETURN_TEXT_P(cstring_to_text(psprintf(INT64_FORMAT, amount)));
	PG_RETURN_TEXT_P(cstring_to_text(DatumGetCString(DirectFunctionCall1(
		numeric_out, NumericGetDatum(int64_div_fast_to_numeric(amount, decimals))))));
}

/*
 * decimals_of returns how many decimal places the major unit of a currency has.
 */
static int
decimals_of(const char *currency)
{
	int decimals = find_decimals(currency);

	if (decimals >= 0)
		return decimals;
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("ISO 4217 has no minor unit for currency \"%s\"", currency),
		 errdetail("The amount cannot be converted."),
		 errhint("Give amounts in that currency as payguard keeps them: a whole number "
				 "of its smallest units.")));
}

/*
 * find_decimals is decimals_of for any currency; -1: ISO 4217 has no minor unit for it.
 */
static int
find_decimals(const char *currency)
{
	static const struct
	{
		const char *currencies;
		int decimals;
	} lists[] = {
		{two_decimals, 2}, {no_decimals, 0}, {three_decimals, 3}, {four_decimals, 4}};

	for (size_t i = 0; i < lengthof(lists); i++)
		if (strstr(lists[i].currencies, currency))
			return lists[i].decimals;
	return -1;
}

/*
 * payguard_currency_is_worth tells whether an amount in major units is one in minor units. It is not where ISO 4217
 * has no minor unit for the currency.
 */
bool
payguard_currency_is_worth(Numeric major, int64 minor, const char *currency)
{
	int decimals = find_decimals(currency);

	return decimals >= 0 &&
		   DatumGetBool(DirectFunctionCall2(
			   numeric_eq, NumericGetDatum(major),
			   NumericGetDatum(int64_div_fast_to_numeric(minor, decimals))));
}

static void
refuse_amount(Datum amount, const char *currency, int decimals)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("%s %s is no whole number of minor units",
				DatumGetCString(DirectFunctionCall1(numeric_out, amount)), currency),
		 errdetail("The major unit of %s has %d decimal places.", currency, decimals),
		 errhint("Round the amount first, as it is rounded on the customer's bill: for "
				 "example round(amount, %d).",
				 decimals)));
}
