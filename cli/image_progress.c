/* SPDX-License-Identifier: GPL-2.0-only */
/* anykvm image: how far it is, for people who wait. */
#include "cli/image.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_AFTER	2		/* seconds, on a terminal */

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void progress_start(struct progress *p, const struct image_args *args, uint64_t total)
{
	*p = (struct progress){
		.total = total, .start = now(), .always = args->progress,
		.quiet = args->quiet || (!args->progress && !isatty(STDERR_FILENO)),
	};
}

void progress_show(struct progress *p, uint64_t done)
{
	double time = p->quiet ? 0 : now();
	int width = 40, filled;

	if (p->quiet || (!p->always && time < p->start + PROGRESS_AFTER) ||
	    (done < p->total && p->any && time < p->shown + 0.1))
		return;
	p->any = true;
	p->shown = time;
	filled = p->total ? (int)((double)done / (double)p->total * width) : width;
	fprintf(stderr, "\r[%.*s%*s] %5.1f %%", filled,
		"########################################", width - filled, "",
		p->total ? (double)done * 100 / (double)p->total : 100.0);
}

void progress_end(const struct progress *p)
{
	if (p->any)
		fputc('\n', stderr);
}
