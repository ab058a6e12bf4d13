/* SPDX-License-Identifier: GPL-2.0-only */
/* A token bucket; see rate_limit.h. */
#include "vmm/block/rate_limit.h"

#define NS_PER_SECOND	1000000000ull

/* How long the bucket takes to get that many; a time that does not come where it is longer. */
static uint64_t time_of(const struct rate_limit *limit, uint64_t tokens)
{
	unsigned __int128 ns = (unsigned __int128)tokens * NS_PER_SECOND / limit->rate;

	return ns < INT64_MAX / 4 ? (uint64_t)ns : INT64_MAX / 4;
}

void rate_limit_init(struct rate_limit *limit, uint64_t rate, uint64_t burst)
{
	*limit = (struct rate_limit){ .rate = rate };
	if (rate)
		limit->burst_ns = burst ? time_of(limit, burst) : NS_PER_SECOND / 10;
}

uint64_t rate_limit_when(const struct rate_limit *limit, uint64_t now)
{
	/* It is empty until then. */
	if (limit->rate && limit->full > now && limit->full - now > limit->burst_ns)
		return limit->full - limit->burst_ns;
	return now;
}

void rate_limit_take(struct rate_limit *limit, uint64_t now, uint64_t tokens)
{
	uint64_t most = now + INT64_MAX / 2;

	if (!limit->rate)
		return;
	if (limit->full < now)
		limit->full = now;
	limit->full += time_of(limit, tokens);
	if (limit->full > most)
		limit->full = most;
}
