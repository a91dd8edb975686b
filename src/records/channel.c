/*
 * channel.c
 *		Channels on record.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

#include "base/refusal.h"
#include "base/text.h"
#include "store/rows.h"
#include "store/table.h"
#include "records/channel.h"

static const Field channel_fields[] = {CHANNEL_COLUMNS(COLUMN_FIELD)};

static const Key channel_keys[] = {
	[CHANNEL_BY_NAME] = {.fields = {CHANNEL_F_NAME, -1}, .index = "pkey"},
};
const Table payguard_channels = TABLE("channels", Channel, channel_fields, channel_keys);

/*
 * payguard_channel_find reads a channel's settings; false: there is none of that name.
 */
bool
payguard_channel_find(const text *name, Channel *channel)
{
	Channel like = {.name = unconstify(text *, name)};

	return payguard_store_find(&payguard_channels, CHANNEL_BY_NAME, &like, channel);
}

/*
 * payguard_channel_refuse_unknown says PY405 of a channel that does not exist.
 */
bool
payguard_channel_refuse_unknown(const text *name, Refusal *refusal)
{
	return payguard_refuse(
		refusal, ERR_CHANNEL_NOT_FOUND,
		psprintf("channel \"%s\" does not exist", payguard_str(name)),
		"Nothing has been written.",
		"Register it with payguard.register_channel(), or correct its name.");
}

/*
 * payguard_channel_knows_returns tells whether payments of a channel may become "returned", and refunds
 * "merged": the scripts of older versions know neither.
 */
bool
payguard_channel_knows_returns(const Channel *channel)
{
	return channel->reopen_on != NULL;
}

/*
 * payguard_channel_scripts_are_new tells whether this database's scripts are as new as this library: those of older
 * versions do not have what a HINT may name.
 */
bool
payguard_channel_scripts_are_new(void)
{
	Channel internal;

	return payguard_channel_find(payguard_text(INTERNAL_CHANNEL), &internal) &&
		   payguard_channel_knows_returns(&internal);
}

/*
 * payguard_channel_reopens tells whether an order may be paid again by itself after a reversal of a kind:
 * bank_return, chargeback or failed.
 */
bool
payguard_channel_reopens(const Channel *channel, const char *kind)
{
	Datum *kinds;
	int n;

	if (channel->reopen_on == NULL)
		return false;
	deconstruct_array(channel->reopen_on, TEXTOID, -1, false, TYPALIGN_INT, &kinds, NULL,
					  &n);
	for (int i = 0; i < n; i++)
		if (payguard_text_is(DatumGetTextPP(kinds[i]), kind))
			return true;
	return false;
}
