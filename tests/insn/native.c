/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A case on the host's processor.
 *
 * The instruction is put on a page at CODE_START, followed by a jump to the exit stub; all other
 * bytes of the page are INT3. Whatever else happens is a signal: a fault of the instruction, or a
 * branch that went elsewhere, which shows as a trap or a fetch fault with RIP at its target.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <asm/ldt.h>

#include "insn.h"

#define FIELD(addr, type)	(*(volatile type *)(unsigned long)(addr))
#define LDT_SEL(n)		((n) << 3 | 7)
enum { LDT_CODE16, LDT_DATA, LDT_STACK16 };
#define USER_CS64	0x33
#define USER_CS32	0x23
#define USER_DS		0x2b

void native_enter(void);
void native_signal(int signo, siginfo_t *si, void *context);
void native_on_signal(int signo, siginfo_t *si, void *context);
extern char native_exit[], native_resume[], native_exit_end[];

/* Written by the signal handler. */
static struct {
	volatile sig_atomic_t active, hit;
	u32 trapno;
	u32 error;
	u64 cr2, rip;
} sig;
static struct native_can can;
static struct memory memory;
const u32 data_pages[5] = { DATA_FIRST, DATA_RW, DATA_RW2, DATA_READONLY, DATA_LAST };

/* Runs with the guest's FS: no thread-local storage here, and nothing that uses it. */
__attribute__((no_sanitize("address", "undefined")))
void native_on_signal(int signo, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;
	static const u8 greg_of[16] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
	};

	if (!sig.active) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		sigaction(signo, &dfl, NULL);
		return;		/* again, and for good */
	}
	sig.active = 0;
	sig.hit = 1;
	sig.trapno = g[REG_TRAPNO];
	sig.error = g[REG_ERR];
	sig.cr2 = g[REG_CR2];
	sig.rip = g[REG_RIP];
	for (int i = 0; i < 16; i++)
		FIELD(CTX_OUT_GPR + 8 * i, u64) = g[greg_of[i]];
	FIELD(CTX_OUT_FLAGS, u64) = g[REG_EFL];
	if (FIELD(CTX_FP, u32) && uc->uc_mcontext.fpregs)
		memcpy((void *)(unsigned long)CTX_OUT_XSAVE, uc->uc_mcontext.fpregs, XSAVE_SIZE);
	if (can.fsgs) {
		u64 base;

		__asm__ __volatile__("rdfsbase %0" : "=r" (base));
		FIELD(CTX_OUT_FS, u64) = base;
		__asm__ __volatile__("rdgsbase %0" : "=r" (base));
		FIELD(CTX_OUT_GS, u64) = base;
	}
	g[REG_RIP] = STUB_PAGE + (native_resume - native_exit);
	g[REG_RSP] = FIELD(CTX_HOST_RSP, u64);
	g[REG_EFL] = 0x202;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & 0x0000ffffffff0000ll) | USER_CS64 | (greg_t)USER_DS << 48;
}

static void *map_at(u64 addr, size_t size, int prot, int fd, off_t off)
{
	void *p = mmap((void *)addr, size, prot,
		       (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | MAP_FIXED_NOREPLACE,
		       fd, off);

	return p == (void *)addr ? p : NULL;
}

static bool set_ldt(u32 n, u32 base, u32 limit, bool code, bool big)
{
	struct user_desc d = {
		.entry_number = n, .base_addr = base, .limit = limit, .seg_32bit = big,
		.contents = code ? 2 : 0, .useable = 1,
	};

	return syscall(SYS_modify_ldt, 1, &d, sizeof(d)) == 0;
}

/* The case `nop` in a mode: does the kernel let us be there? */
static bool works_in(int mode)
{
	struct test_case t = { .mode = mode,
			       .small_data = mode == X86_MODE_16,
			       .stack16 = mode == X86_MODE_16,
			       .bytes = { 0x90 },
			       .insn = { .len = 1 } };
	struct outcome o;

	t.in.rip = mode == X86_MODE_16 ? CODE_START - CODE_BASE : CODE_START;
	t.in.rflags = 0x202;
	native_run(&t, &o);
	return !o.fault && o.out.rip == t.in.rip + 1;
}

int native_init(struct memory *mem, struct native_can *out)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
	struct sigaction sa = { .sa_sigaction = native_signal,
				.sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t stack = { .ss_size = 1 << 18 };
	u32 eax = 0xd, ebx, ecx = 0, edx;
	int fd = memfd_create("insn-data", 0);

	if (fd < 0 || ftruncate(fd, DATA_SIZE))
		return -errno;
	memory.data = mmap(NULL, DATA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory.data == MAP_FAILED)
		return -errno;
	for (u32 i = 0; i < ARRAY_SIZE(data_pages); i++) {
		int prot = data_pages[i] == DATA_READONLY ? PROT_READ : PROT_READ | PROT_WRITE;

		if (!map_at(DATA_BASE + data_pages[i], PAGE_SIZE, prot | MAP_POPULATE, fd,
			    data_pages[i]))
			return -ENOMEM;
		/* Present, so that faults say what the guest's say. */
		(void)*(volatile u8 *)(unsigned long)(DATA_BASE + data_pages[i]);
	}
	close(fd);
	memory.code = map_at(CODE_PAGE, CODE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, -1, 0);
	if (!memory.code ||
	    !map_at(STUB_PAGE, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, -1, 0) ||
	    !map_at(CTX, PAGE_SIZE, PROT_READ | PROT_WRITE, -1, 0))
		return -ENOMEM;
	memset(memory.code, 0xcc, CODE_PAGES * PAGE_SIZE);
	memcpy((void *)STUB_PAGE, native_exit, native_exit_end - native_exit);

	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL))
		return -errno;
	for (u32 i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);

	__asm__("cpuid" : "+a" (eax), "=b" (ebx), "+c" (ecx), "=d" (edx));
	can.xsave_mask = eax & 7;
	can.fsgs = getauxval(AT_HWCAP2) & 2;
	FIELD(CTX_FSGS, u32) = can.fsgs;
	FIELD(CTX_MXCSR, u32) = 0x1f80;
	can.compat = works_in(X86_MODE_32);
	can.ldt = can.compat && set_ldt(LDT_CODE16, CODE_BASE, 0xffff, true, false) &&
		  set_ldt(LDT_DATA, DATA_BASE, DATA_SIZE - 1, false, true) &&
		  set_ldt(LDT_STACK16, DATA_BASE, DATA_SIZE - 1, false, false) &&
		  works_in(X86_MODE_16);
	*mem = memory;
	*out = can;
	return 0;
}

static void set_segments(const struct test_case *t)
{
	u16 data = t->small_data ? LDT_SEL(LDT_DATA) : USER_DS;

	FIELD(CTX_DS, u16) = data;
	FIELD(CTX_ES, u16) = data;
	FIELD(CTX_SS, u16) = t->stack16 ? LDT_SEL(LDT_STACK16) : data;
	FIELD(CTX_SEL_FS, u16) = can.ldt ? LDT_SEL(LDT_DATA) : USER_DS;
	FIELD(CTX_SEL_GS, u16) = can.ldt ? LDT_SEL(LDT_DATA) : USER_DS;
}

u32 native_put_code(const struct test_case *t, u8 *code)
{
	u32 n = t->insn.len, target;

	memcpy(code, t->bytes, n);
	if (t->mode == X86_MODE_64) {
		target = STUB_PAGE - (CODE_START + n + 5);
		code[n++] = 0xe9;
		memcpy(code + n, &target, 4);
		return n + 4;
	}
	target = STUB_PAGE;
	if (t->mode == X86_MODE_16)
		code[n++] = 0x66;
	code[n++] = 0xea;
	memcpy(code + n, &target, 4);
	code[n + 4] = USER_CS64;
	code[n + 5] = 0;
	return n + 6;
}

/* Runs what is at the case's RIP; len bytes of it are the case's. */
static void enter(const struct test_case *t, u32 len, struct outcome *o)
{
	memcpy((void *)CTX_IN_GPR, t->in.gpr, sizeof(t->in.gpr));
	FIELD(CTX_IN_FLAGS, u64) = t->in.rflags;
	FIELD(CTX_TARGET, u64) = t->in.rip;
	FIELD(CTX_COMPAT, u32) = t->mode != X86_MODE_64;
	FIELD(CTX_FP, u32) = t->fp ? can.xsave_mask : 0;
	FIELD(CTX_IN_FS, u64) = t->in.fs_base;
	FIELD(CTX_IN_GS, u64) = t->in.gs_base;
	if (t->mode != X86_MODE_64) {
		set_segments(t);
		FIELD(CTX_TARGET, u32) = t->in.rip;
		FIELD(CTX_TARGET + 4, u16) =
			t->mode == X86_MODE_16 ? LDT_SEL(LDT_CODE16) : USER_CS32;
	}
	if (t->fp)
		memcpy((void *)CTX_IN_XSAVE, t->in.xsave, XSAVE_SIZE);

	sig.hit = 0;
	sig.active = 1;
	native_enter();
	sig.active = 0;

	memcpy(o->out.gpr, (void *)CTX_OUT_GPR, sizeof(o->out.gpr));
	o->out.rflags = FIELD(CTX_OUT_FLAGS, u64) & ~(u64)X86_RFLAGS_RF;
	o->out.fs_base = FIELD(CTX_OUT_FS, u64);
	o->out.gs_base = FIELD(CTX_OUT_GS, u64);
	if (t->fp)
		memcpy(o->out.xsave, (void *)CTX_OUT_XSAVE, XSAVE_SIZE);
	o->fault = false;
	o->vector = 0;
	o->error = 0;
	o->cr2 = 0;
	o->out.rip = t->in.rip + len;
	if (!sig.hit)
		return;
	/* Elsewhere than at the instructions: a branch got there. INT3's RIP is behind it. */
	o->out.rip = sig.trapno == X86_BP ? sig.rip - 1 : sig.rip;
	if (sig.trapno == X86_BP || o->out.rip - t->in.rip >= len)
		return;
	o->fault = true;
	o->vector = sig.trapno;
	if (sig.trapno == X86_PF || sig.trapno == X86_GP || sig.trapno == X86_SS ||
	    sig.trapno == X86_NP)
		o->error = sig.error;
	if (sig.trapno == X86_PF)
		o->cr2 = sig.cr2;
}

void native_run(const struct test_case *t, struct outcome *o)
{
	u8 *code = memory.code + (CODE_START - CODE_PAGE);
	u32 n = native_put_code(t, code);

	enter(t, t->insn.len, o);
	memset(code, 0xcc, n);
}

void native_run_pages(const struct test_case *t, const u8 *pages, u32 len, struct outcome *o)
{
	memcpy(memory.code, pages, CODE_PAGES * PAGE_SIZE);
	enter(t, len, o);
	memset(memory.code, 0xcc, CODE_PAGES * PAGE_SIZE);
}
