/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers that depend on nothing but a seed and a case's number. */
#ifndef INSN_RANDOM_H
#define INSN_RANDOM_H

#include "kvm/os/os.h"

struct rng { u64 s[2]; };

static inline u64 splitmix(u64 *x)
{
	u64 z = *x += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static inline struct rng random_start(u64 seed, u64 number)
{
	u64 mix = seed * 0x9e3779b97f4a7c15ull + number;
	struct rng r;

	r.s[0] = splitmix(&mix);
	r.s[1] = splitmix(&mix);
	return r;
}

/* xoroshiro128+ */
static inline u64 rnd(struct rng *r)
{
	u64 a = r->s[0], b = r->s[1], sum = a + b;

	b ^= a;
	r->s[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
	r->s[1] = (b << 37) | (b >> 27);
	return sum;
}

static inline u32 below(struct rng *r, u32 n)
{
	return ((rnd(r) >> 32) * n) >> 32;
}

static inline bool one_in(struct rng *r, u32 n)
{
	return below(r, n) == 0;
}

/* generate.c: values near what matters to integers, and to floating-point numbers. */
u64 random_integer(struct rng *r);
u64 random_floats(struct rng *r);

#endif
