/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Runs cases on the host and in the interpreter, and compares all that the instruction can have
 * changed: registers, flags, vectors, memory, and which fault.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "disasm.h"
#include "insn.h"

#define VSYSCALL_PAGE	0xffffffffff600000ull
#define DEFAULT_SECONDS	40
#define LONG_SECONDS	1800
#define MAX_REPORTS	100
#define HANG_SECONDS	20
#define MAX_ROWS	4096

/* Shared with the child: what it was doing, should it die, and its results. */
struct progress {
	volatile u64 number;		/* the case at hand */
	volatile int mode;
	u8 bytes[16];
	u64 run, faulted, unlike;	/* cases */
	u32 row_ok[MAX_ROWS], row_bad[MAX_ROWS];
	bool broken;			/* the child could not set up; it has said why */
};

static struct {
	u64 seed, first, cases;
	double seconds;
	const char *op;
	bool verbose;
} opt = { .cases = ~0ull };
static struct progress *progress;
static struct native_can can;
static struct memory native_memory, guest_memory;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* ---- reporting ---- */

static const char *const mode_names[] = { "16-bit", "32-bit", "64-bit" };
static const char *const gpr_names[16] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
};

static void print_code(const u8 *bytes, u32 len, int mode)
{
	char text[128];

	printf("  %s:", mode_names[mode]);
	for (u32 i = 0; i < len; i++)
		printf(" %02x", bytes[i]);
	disassemble(bytes, len, 16 << mode, CODE_START, text, sizeof(text));
	printf("    %s\n", text);
}

static void print_result(const char *who, const struct outcome *o)
{
	printf("  %s: ", who);
	if (o->fault)
		printf("vector %u error %#x cr2 %#llx\n", o->vector, o->error,
		       (unsigned long long)o->cr2);
	else
		printf("done, rip %#llx\n", (unsigned long long)o->out.rip);
}

static void print_bytes(const char *name, const u8 *p, u32 n)
{
	printf("    %s ", name);
	while (n--)
		printf("%02x", p[n]);
	printf("\n");
}

/* Every register: what it was, and where the two differ from that or from each other. */
static void print_registers(const struct test_case *t, const struct outcome *n,
			    const struct outcome *g)
{
	for (u32 i = 0; i < (t->mode == X86_MODE_64 ? 16 : 8); i++) {
		printf("    %-3s %016llx", gpr_names[i], (unsigned long long)t->in.gpr[i]);
		if (n->out.gpr[i] != t->in.gpr[i] || g->out.gpr[i] != t->in.gpr[i])
			printf("  host %016llx  ours %016llx%s", (unsigned long long)n->out.gpr[i],
			       (unsigned long long)g->out.gpr[i],
			       n->out.gpr[i] == g->out.gpr[i] ? "" : "  <");
		printf("\n");
	}
	printf("    flags %08llx  host %08llx  ours %08llx\n", (unsigned long long)t->in.rflags,
	       (unsigned long long)n->out.rflags, (unsigned long long)g->out.rflags);
	if (t->mode == X86_MODE_64)
		printf("    fs %llx gs %llx\n", (unsigned long long)t->in.fs_base,
		       (unsigned long long)t->in.gs_base);
	else
		printf("    data segments %s, stack %s\n", t->small_data ? "small" : "flat",
		       t->stack16 ? "16-bit" : "32-bit");
}

static void print_fp(const struct test_case *t, const struct outcome *n, const struct outcome *g)
{
	const u8 *i = t->in.xsave, *a = n->out.xsave, *b = g->out.xsave;
	char name[16];

	print_bytes("fx was ", i, 32);
	if (memcmp(a, b, 32)) {
		print_bytes("fx host", a, 32);
		print_bytes("fx ours", b, 32);
	}
	for (u32 k = 0; k < 8; k++) {
		snprintf(name, sizeof(name), "st%u was ", k);
		if (x86_op(&t->insn)->attr & (X86_A_X87 | X86_A_MMX))
			print_bytes(name, i + 32 + 16 * k, 10);
		if (!memcmp(a + 32 + 16 * k, b + 32 + 16 * k, 10))
			continue;
		print_bytes("    host", a + 32 + 16 * k, 10);
		print_bytes("    ours", b + 32 + 16 * k, 10);
	}
	for (u32 k = 0; k < 16; k++) {
		u8 va[32], vb[32], vi[32];

		memcpy(vi, i + 160 + 16 * k, 16);
		memcpy(vi + 16, i + XSAVE_YMM + 16 * k, 16);
		memcpy(va, a + 160 + 16 * k, 16);
		memcpy(va + 16, a + XSAVE_YMM + 16 * k, 16);
		memcpy(vb, b + 160 + 16 * k, 16);
		memcpy(vb + 16, b + XSAVE_YMM + 16 * k, 16);
		snprintf(name, sizeof(name), "ymm%u was ", k);
		if (k == t->insn.reg || k == t->insn.rm || k == t->insn.vvvv || memcmp(va, vb, 32))
			print_bytes(name, vi, 32);
		if (!memcmp(va, vb, 32))
			continue;
		print_bytes("     host", va, 32);
		print_bytes("     ours", vb, 32);
	}
}

static void print_memory(void)
{
	u32 lines = 0;

	for (u32 p = 0; p < ARRAY_SIZE(data_pages); p++) {
		for (u32 k = 0; k < PAGE_SIZE && lines < 16; k += 16) {
			u32 at = data_pages[p] + k;

			if (!memcmp(native_memory.data + at, guest_memory.data + at, 16))
				continue;
			printf("    memory %#x, low byte last\n", DATA_BASE + at);
			print_bytes("  host", native_memory.data + at, 16);
			print_bytes("  ours", guest_memory.data + at, 16);
			lines++;
		}
	}
}

static void report(const struct test_case *t, const struct outcome *n, const struct outcome *g,
		   const char *what)
{
	printf("MISMATCH %s: %s (--seed %llu --first %llu --cases 1%s%s)\n",
	       t->insn.fn ? x86_op(&t->insn)->name : "(undefined)", what, (unsigned long long)opt.seed,
	       (unsigned long long)t->number, opt.op ? " --op " : "", opt.op ? opt.op : "");
	print_code(t->bytes, t->insn.len, t->mode);
	print_result("host", n);
	print_result("ours", g);
	print_registers(t, n, g);
	if (t->fp)
		print_fp(t, n, g);
	print_memory();
	fflush(stdout);
}

/* ---- comparing ---- */

/* XSAVE need not write a component that is in its initial state. */
static void normalise(u8 *x)
{
	u64 bv;

	memcpy(&bv, x + XSAVE_HEADER, 8);
	if (!(bv & 1)) {
		memset(x, 0, 24);
		x[0] = 0x7f;
		x[1] = 3;
		memset(x + 32, 0, 128);
	}
	if (!(bv & 2))
		memset(x + 160, 0, 256);
	if (!(bv & 4))
		memset(x + XSAVE_YMM, 0, 256);
}

/* Does the instruction access memory several times, in an order of the processor's own, so that a
 * fault may come at another of its bytes and find some done? */
static bool piecewise(const struct x86_opcode *op)
{
	static const char *const names[] = {
		"pusha", "popa", "enter", "maskmovq", "maskmovdqu", "vmaskmovdqu",
	};

	for (u32 i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(op->name, names[i]))
			return true;
	}
	for (u32 i = 0; i < ARRAY_SIZE(op->op); i++) {
		if (op->op[i].kind == X86_OP_VSIB || op->op[i].size == X86_SZ_STATE ||
		    op->op[i].size == X86_SZ_ENV ||
		    (op->op[i].size == X86_SZ_T && op->op[i].kind == X86_OP_M))
			return true;
	}
	return false;
}

static bool x87_pieces(const struct x86_opcode *op)
{
	for (u32 i = 0; i < ARRAY_SIZE(op->op); i++) {
		if (op->op[i].size == X86_SZ_T || op->op[i].size == X86_SZ_STATE ||
		    op->op[i].size == X86_SZ_ENV)
			return true;
	}
	return false;
}

static u8 memory_size(const struct x86_opcode *op)
{
	return op->op[0].kind == X86_OP_M ? op->op[0].size : X86_SZ_NONE;
}

static bool is_memory_fault(u8 vector)
{
	return vector == X86_SS || vector == X86_GP || vector == X86_PF || vector == X86_AC;
}

/* Do the two differ only in what is the processor's choice: which of several faults comes first? */
static bool same_fault(const struct test_case *t, const struct outcome *n, const struct outcome *g)
{
	const char *name = x86_op(&t->insn)->name;

	/* The host may fault for bytes that the mask leaves out, and for how a probe is aligned. */
	if (n->fault && !g->fault && strstr(name, "maskmov"))
		return n->vector != X86_UD;
	if (n->fault && !g->fault && !strcmp(name, "enter"))
		return n->vector == X86_AC;
	/* The host may touch parts of a state area that it then leaves out. */
	if (n->fault && !g->fault && memory_size(x86_op(&t->insn)) == X86_SZ_STATE)
		return n->vector == X86_PF;
	/* x87 operands that are moved in pieces: later ones wrap, or are beyond the limit. */
	if (!n->fault && g->fault && t->insn.addrsize == 2 && x87_pieces(x86_op(&t->insn)))
		return g->vector == X86_GP || g->vector == X86_SS;
	if (!n->fault || !g->fault)
		return false;
	/* A gathered element across the end of 4 GiB: beyond the limit, or wrapping into what is
	 * not there. */
	if (t->mode != X86_MODE_64 && n->vector == X86_GP && g->vector == X86_PF &&
	    (u32)g->cr2 > -16u && piecewise(x86_op(&t->insn)))
		return true;
	/* The host has pages in the upper half, its kernel's. */
	if (n->vector == X86_PF && g->vector == X86_PF && n->cr2 == g->cr2 && n->cr2 >> 63)
		return (n->error | X86_PF_P) == (g->error | X86_PF_P);
	if (piecewise(x86_op(&t->insn)) || strstr(name, "maskmov"))
		return n->vector == g->vector ||
		       (is_memory_fault(n->vector) && is_memory_fault(g->vector));
	/* Beyond the limit of SS and misaligned: #SS and #GP are of one priority. */
	if ((x86_op(&t->insn)->attr & X86_A_ALIGN) && n->vector + g->vector == X86_SS + X86_GP)
		return true;
	/* A target that is not allowed, and a stack that cannot be written. */
	if (!strcmp(name, "call"))
		return g->vector == X86_GP;
	/* Below the lower limit, and the upper cannot be read. */
	return !strcmp(name, "bound") && g->vector == X86_BR;
}

/* What differs; NULL: nothing. */
static const char *compare(const struct test_case *t, struct outcome *n, const struct outcome *g)
{
	const u64 flags = X86_RFLAGS_ARITH | X86_RFLAGS_DF | X86_RFLAGS_AC | X86_RFLAGS_ID |
			  X86_RFLAGS_IF | X86_RFLAGS_IOPL;
	u64 mask = t->mode == X86_MODE_64 ? ~0ull : 0xffffffff;
	const u8 *a = n->out.xsave, *b = g->out.xsave;

	/* A branch that by chance leads there finds Linux's vsyscalls on the host, which the kernel emulates. */
	if ((g->out.rip & PAGE_MASK) == VSYSCALL_PAGE)
		return NULL;
	if (n->fault != g->fault)
		return "one faults";
	if (n->vector != g->vector)
		return "vector";
	if (n->error != g->error)
		return "error code";
	if (n->cr2 != g->cr2)
		return "CR2";
	if (n->out.rip != g->out.rip)
		return "RIP";
	for (u32 i = 0; i < (t->mode == X86_MODE_64 ? 16 : 8); i++) {
		if ((n->out.gpr[i] ^ g->out.gpr[i]) & mask)
			return gpr_names[i];
	}
	if ((n->out.rflags ^ g->out.rflags) & flags)
		return "flags";
	if (t->mode == X86_MODE_64 && can.fsgs &&
	    (n->out.fs_base != g->out.fs_base || n->out.gs_base != g->out.gs_base))
		return "FS or GS base";
	if (t->fp) {
		normalise(n->out.xsave);
		if (memcmp(a, b, 6))
			return "x87 control, status or tags";
		if (memcmp(a + 24, b + 24, 4))
			return "MXCSR";
		for (u32 i = 0; i < 8; i++) {
			if (memcmp(a + 32 + 16 * i, b + 32 + 16 * i, 10))
				return "x87 register";
		}
		if (memcmp(a + 160, b + 160, 256) || ((can.xsave_mask & 4) &&
						      memcmp(a + XSAVE_YMM, b + XSAVE_YMM, 256)))
			return "vector register";
	}
	for (u32 i = 0; i < ARRAY_SIZE(data_pages); i++) {
		if (memcmp(native_memory.data + data_pages[i], guest_memory.data + data_pages[i],
			   PAGE_SIZE))
			return "memory";
	}
	return NULL;
}

static void copy_code(const struct test_case *t)
{
	/* What a CS override may read, behind the instruction too. */
	u8 *p = guest_memory.code + (CODE_START - CODE_PAGE);

	memset(p, 0xcc, 32);
	native_put_code(t, p);
}

static bool many_prefixes(const struct test_case *t)
{
	static const u8 prefixes[] = {
		0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3,
	};
	u32 n = 0;

	while (n < 4 && memchr(prefixes, t->bytes[n], sizeof(prefixes)))
		n++;
	return n >= 3;
}

static void sync_memory(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(data_pages); i++)
		memcpy(guest_memory.data + data_pages[i], native_memory.data + data_pages[i],
		       PAGE_SIZE);
}

static void run_case(u64 number)
{
	static struct test_case t;
	static struct outcome n, g;
	const char *what, *why = NULL;
	u32 row;

	progress->number = number;
	if (!generate(opt.seed, number, &native_memory, &guest_memory, &t))
		return;
	progress->mode = t.mode;
	memcpy(progress->bytes, t.bytes, sizeof(progress->bytes));
	copy_code(&t);

	native_run(&t, &n);
	if (!t.insn.fn) {
		/* Undecodable: a fault of decoding is all there is. With many prefixes it may have
		 * been too long, which the host sees first. */
		g = n;
		g.fault = true;
		g.vector = n.fault && n.vector == X86_GP && many_prefixes(&t) ? X86_GP : X86_UD;
		g.error = 0;
		g.cr2 = 0;
		g.out.rip = t.in.rip;
	} else if (!interp_run(&t, &g, &why)) {
		g.fault = false;
	}
	what = why ? why : compare(&t, &n, &g);
	if (what && t.insn.fn && same_fault(&t, &n, &g)) {
		what = NULL;
		sync_memory();
	}
	progress->run++;
	progress->faulted += n.fault;
	row = t.insn.fn ? x86_op(&t.insn) - x86_optable : MAX_ROWS - 1;
	if (row >= MAX_ROWS)
		row = MAX_ROWS - 1;
	if (!n.fault)
		progress->row_ok[row]++;
	if (!what)
		return;
	progress->unlike++;
	if (!progress->row_bad[row]++ || (opt.verbose && progress->unlike < MAX_REPORTS))
		report(&t, &n, &g, what);
	sync_memory();
}

/* ---- the child ---- */

static void set_up(void)
{
	int r = native_init(&native_memory, &can);

	if (r) {
		fprintf(stderr, "insn-test: native runner: %s\n", strerror(-r));
		progress->broken = true;
		_exit(1);
	}
	r = interp_init(&guest_memory);
	if (r) {
		fprintf(stderr, "insn-test: interpreter: %s\n", strerror(r < 0 ? -r : r));
		progress->broken = true;
		_exit(1);
	}
	sync_memory();
	memset(guest_memory.code, 0xcc, PAGE_SIZE);
	generate_init(&can, interp_cpu(), opt.op);
}

static void print_rows(void)
{
	static const char *reasons[64];
	u32 counts[64] = { 0 }, nr = 0, skipped = 0;

	for (u32 i = 0; i < x86_optable_size; i++) {
		const char *why = generate_skips(&x86_optable[i]);
		u32 k;

		if (!why)
			continue;
		skipped++;
		for (k = 0; k < nr && strcmp(reasons[k], why); k++)
			;
		if (k == nr && nr < ARRAY_SIZE(reasons))
			reasons[nr++] = why;
		if (k < ARRAY_SIZE(reasons))
			counts[k]++;
	}
	printf("%u rows tried of %u; %u skipped:", generate_rows(), x86_optable_size, skipped);
	for (u32 k = 0; k < nr; k++)
		printf("%s %s %u", k ? "," : "", reasons[k], counts[k]);
	printf("\ncode: 64-bit%s%s, FS and GS bases %s\n", can.compat ? ", 32-bit" : "",
	       can.ldt ? ", 16-bit" : "", can.fsgs ? "yes" : "no");
	fflush(stdout);
}

/* Cases from `number` on, until there are none or time is up. */
static void child(u64 number, bool first)
{
	u64 end = opt.cases > ~0ull - opt.first ? ~0ull : opt.first + opt.cases;
	double stop = now() + opt.seconds;

	set_up();
	if (first)
		print_rows();
	if (!generate_rows()) {
		fprintf(stderr, "insn-test: no row to try%s%s\n", opt.op ? " is named " : "",
			opt.op ? opt.op : "");
		progress->broken = true;
		_exit(1);
	}
	for (; number < end; number++) {
		if (!(number & 1023) && now() > stop)
			break;
		run_case(number);
	}
	_exit(0);
}

/* Waits for the child; kills one that sits on a case. */
static int wait_for(pid_t pid)
{
	u64 last = ~0ull;
	double since = now();
	int status;

	while (!waitpid(pid, &status, WNOHANG)) {
		usleep(50000);
		if (progress->number != last) {
			last = progress->number;
			since = now();
		} else if (now() - since > HANG_SECONDS) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return status;
		}
	}
	return status;
}

/* Starts children until one comes to the end. Returns how many died. */
static u32 run_all(void)
{
	double start = now(), budget = opt.seconds;
	u64 number = opt.first;
	u32 died = 0;

	for (;;) {
		int status;
		pid_t pid;

		fflush(stdout);
		pid = fork();
		if (pid < 0) {
			perror("insn-test: fork");
			return 1;
		}
		if (!pid)
			child(number, number == opt.first);
		status = wait_for(pid);
		if (WIFEXITED(status))
			break;
		printf("MISMATCH: the child died, signal %d (--seed %llu --first %llu --cases 1)\n",
		       WTERMSIG(status), (unsigned long long)opt.seed,
		       (unsigned long long)progress->number);
		print_code(progress->bytes, 15, progress->mode);
		number = progress->number + 1;
		opt.seconds = budget - (now() - start);
		if (++died == 20 || opt.seconds <= 0)
			break;
	}
	return died;
}

static void usage(FILE *f)
{
	fprintf(f, "usage: insn-test [--seed N] [--first N] [--cases N] [--seconds N] [--long] "
		   "[--op NAME] [--verbose]\n"
		   "Tries random cases of every instruction on this processor and in the "
		   "interpreter.\n");
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "first", required_argument, NULL, 'f' },
		{ "cases", required_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 't' },
		{ "op", required_argument, NULL, 'o' },
		{ "long", no_argument, NULL, 'l' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int o;

	opt.seed = time(NULL) * 1000003ull + getpid();
	opt.seed &= 0xffffffff;
	opt.seconds = DEFAULT_SECONDS;
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 's':
			opt.seed = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			opt.first = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			opt.cases = strtoull(optarg, NULL, 0);
			opt.seconds = 1e9;
			break;
		case 't':
			opt.seconds = atof(optarg);
			break;
		case 'o':
			opt.op = optarg;
			break;
		case 'l':
			opt.seconds = LONG_SECONDS;
			break;
		case 'v':
			opt.verbose = true;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	double start = now();
	u32 died;

	parse(argc, argv);
	printf("seed %llu\n", (unsigned long long)opt.seed);
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (progress == MAP_FAILED) {
		perror("insn-test: mmap");
		return 1;
	}
	died = run_all();
	if (opt.verbose) {
		for (u32 i = 0; i < x86_optable_size && i < MAX_ROWS; i++) {
			if (progress->run && !progress->row_ok[i])
				printf("never without a fault: row %u, %s, %02x\n", i,
				       x86_optable[i].name, x86_optable[i].opcode);
		}
	}
	for (u32 i = 0; i < MAX_ROWS; i++) {
		if (progress->row_bad[i])
			printf("%u mismatches: %s, opcode %02x\n", progress->row_bad[i],
			       i < x86_optable_size ? x86_optable[i].name : "(undefined)",
			       i < x86_optable_size ? x86_optable[i].opcode : 0);
	}
	printf("%llu cases in %.1f s, %llu faulted, %llu mismatches, %u children lost\n",
	       (unsigned long long)progress->run, now() - start,
	       (unsigned long long)progress->faulted, (unsigned long long)progress->unlike, died);
	return progress->unlike || died || progress->broken || !progress->run;
}
