/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How fast something may go: a token bucket, kept as one point in time.
 *
 * A bucket of @burst tokens that fills at @rate tokens a second is full at the time @full, if
 * nothing is taken until then; whatever is taken moves that time on. There is nothing to add up
 * as time passes, and no rounding that does so. What is taken may be more than there is, if there
 * is any: the next one then waits until the debt is paid, so that requests of any size get through
 * and the rate is kept all the same.
 */
#ifndef VMM_BLOCK_RATE_LIMIT_H
#define VMM_BLOCK_RATE_LIMIT_H

#include <stdint.h>

struct rate_limit {
	uint64_t rate;		/* tokens a second; 0: no limit */
	uint64_t burst_ns;	/* how long an empty bucket takes to fill */
	uint64_t full;		/* when it is full, in nanoseconds */
};

/* @burst 0: a tenth of a second's. */
void rate_limit_init(struct rate_limit *limit, uint64_t rate, uint64_t burst);

/* From when on something may be taken: @now, or later. In nanoseconds of the caller's clock. */
uint64_t rate_limit_when(const struct rate_limit *limit, uint64_t now);

/* Takes tokens at @now. */
void rate_limit_take(struct rate_limit *limit, uint64_t now, uint64_t tokens);

#endif
