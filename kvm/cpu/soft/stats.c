// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a VM's processors counted, told when it goes.
 *
 * Handlers that translated code called are told apart by row of the instruction table: of some rows no form is
 * translated, which is what is missing from the translator; of the others some forms are not, or a TLB miss, a page
 * crossing and the like made the handler necessary.
 */
#include "kvm/cpu/soft/jit/jit.h"
#include "kvm/cpu/soft/soft.h"

#define SHOWN_ROWS	20

/* Where soft_stats.rows has a row: as one that is never translated, or as one that is. */
#define ROW(row, known)	((row) * 2 + (known))
#define NR_ROWS		(x86_optable_size * 2)

int soft_stats_start(struct soft_stats *s)
{
	s->rows = os_alloc(NR_ROWS * sizeof(s->rows[0]));
	return s->rows ? 0 : -ENOMEM;
}

void soft_stats_free(struct soft_stats *s)
{
	os_free(s->rows);
	s->rows = NULL;
}

void soft_stats_handled(struct soft_vcpu *s, const struct x86_insn *i)
{
	u32 row = i->row;

	s->stats.handled++;
	s->stats.rows[ROW(row, jit_knows_row(s->jit, row))]++;
}

void soft_stats_add(struct kvm_vcpu *v)
{
	struct soft_vcpu *from = v->cpu.soft;
	struct soft_vm *vm = v->kvm->cpu;
	struct soft_stats *s = &from->stats, *sum = &vm->stats;

	s->tlb_misses = v->cpu.tlb_misses;
	soft_icache_count(from);
	for (u32 k = 0; k < ARRAY_SIZE(s->exits); k++)
		s->exits[k] = v->exits[k];
	/* All but the pointer at the end are numbers. */
	for (u32 k = 0; k < offsetof(struct soft_stats, rows) / sizeof(u64); k++)
		((u64 *)sum)[k] += ((u64 *)s)[k];
	for (u32 k = 0; k < NR_ROWS; k++)
		sum->rows[k] += s->rows[k];
}

/* A part of a whole, in tenths of a percent. */
static u32 permille(u64 part, u64 whole)
{
	return whole ? mul_div(part, 1000, whole) : 0;
}

#define PERMILLE(part, whole)	permille(part, whole) / 10, permille(part, whole) % 10

/* The most frequent rows of one kind. */
static void show_rows(const struct soft_stats *s, bool known)
{
	u64 below = ~0ull;
	u32 shown = 0;

	while (shown < SHOWN_ROWS) {
		u64 most = 0;

		for (u32 k = 0; k < x86_optable_size; k++) {
			u64 n = s->rows[ROW(k, known)];

			if (n < below && n > most)
				most = n;
		}
		if (!most)
			return;
		for (u32 k = 0; k < x86_optable_size && shown < SHOWN_ROWS; k++) {
			const struct x86_opcode *op = &x86_optable[k];

			if (s->rows[ROW(k, known)] != most)
				continue;
			shown++;
			if (op->reg >= 0)
				os_show("  %14llu  %s (map %u, %02x /%d)", (unsigned long long)most, op->name,
					op->map, op->opcode, op->reg);
			else
				os_show("  %14llu  %s (map %u, %02x)", (unsigned long long)most, op->name,
					op->map, op->opcode);
		}
		below = most;
	}
}

static void show_exits(const struct soft_stats *s)
{
	static const char *const names[] = {
		[KVM_EXIT_UNKNOWN] = "none", [KVM_EXIT_EXCEPTION] = "exception", [KVM_EXIT_IO] = "port",
		[KVM_EXIT_HYPERCALL] = "hypercall", [KVM_EXIT_DEBUG] = "debug", [KVM_EXIT_HLT] = "HLT",
		[KVM_EXIT_MMIO] = "MMIO", [KVM_EXIT_IRQ_WINDOW_OPEN] = "interrupt window",
		[KVM_EXIT_SHUTDOWN] = "shutdown", [KVM_EXIT_FAIL_ENTRY] = "failed entry",
		[KVM_EXIT_INTR] = "signal", [KVM_EXIT_SET_TPR] = "TPR", [KVM_EXIT_TPR_ACCESS] = "TPR access",
		[KVM_EXIT_INTERNAL_ERROR] = "internal error", [KVM_EXIT_SYSTEM_EVENT] = "system event",
		[KVM_EXIT_IOAPIC_EOI] = "I/O APIC EOI", [KVM_EXIT_DIRTY_RING_FULL] = "dirty ring full",
	};

	for (u32 k = 0; k < ARRAY_SIZE(s->exits); k++) {
		if (!s->exits[k])
			continue;
		if (k < ARRAY_SIZE(names) && names[k])
			os_show("  %14llu  %s", (unsigned long long)s->exits[k], names[k]);
		else
			os_show("  %14llu  KVM exit %u", (unsigned long long)s->exits[k], k);
	}
}

void soft_stats_show(struct kvm *kvm)
{
	const struct soft_vm *vm = kvm->cpu;
	const struct soft_stats *s = &vm->stats;
	u64 rest = s->clock_all - s->clock_code - s->clock_translating;

#define N(x)	(unsigned long long)(s->x)
	os_show("the software processor counted:");
	os_show("  %14llu  blocks decoded, of %llu instructions, %llu bytes", N(blocks), N(insns), N(bytes));
	os_show("  %14llu  blocks translated, of %llu bytes to %llu bytes", N(translations), N(guest_bytes),
		N(host_bytes));
	os_show("  %14llu  times all of both was dropped; %llu times a page's, since it was written", N(flushes),
		N(page_drops));
	os_show("  %14llu  KiB of code at the end: %llu of blocks, %llu of copies of pages, %llu of %llu instructions, "
		"%llu of tables, %llu translated", (N(decoded) + N(copies) + N(known) + N(tables) + N(code)) >> 10,
		N(decoded) >> 10, N(copies) >> 10, N(known) >> 10, N(known) / sizeof(struct x86_insn),
		N(tables) >> 10, N(code) >> 10);
	os_show("  %14llu  jumps that were not linked yet", N(links));
	os_show("  %14llu  targets not in the table, %llu of them unknown", N(finds), N(lost));
	os_show("  %14llu  TLB misses", N(tlb_misses));
	os_show("  %14llu  stretches of guest code, in %llu ms: %u.%u %% translated, %u.%u %% translating, "
		"%u.%u %% interpreting and the rest", N(entries),
		(unsigned long long)(s->clock_all / kvm->arch.default_tsc_khz),
		PERMILLE(s->clock_code, s->clock_all), PERMILLE(s->clock_translating, s->clock_all),
		PERMILLE(rest, s->clock_all));
	os_show("KVM_RUN ended with:");
	show_exits(s);
	os_show("translated code called %llu handlers; of instructions that are never translated:", N(handled));
	show_rows(s, false);
	os_show("and of others, for a TLB miss or another reason:");
	show_rows(s, true);
#undef N
}

_Static_assert(ARRAY_SIZE(((struct kvm_vcpu *)0)->exits) == ARRAY_SIZE(((struct soft_stats *)0)->exits), "copied");
