/*
 * channel.c
 *		Channels on record.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"

#include "store/rows.h"
#include "store/table.h"
#include "records/channel.h"

static const Field channel_fields[] = {CHANNEL_COLUMNS(COLUMN_FIELD)};

static const Key channel_keys[] = {
	[CHANNEL_BY_NAME] = {{CHANNEL_F_NAME, -1}, "pkey", false, false},
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
