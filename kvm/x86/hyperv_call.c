/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hyper-V's hypercalls (TLFS 3, 9.4, 10.5, 11.10): flushing of other processors' TLBs, interrupts to sets of
 * processors, signals, and what the VMM is asked: messages, the debugger.
 *
 * A call's parameters are in guest memory, or in registers ("fast"), the vector registers among them. The call's
 * number and its counts are one word, and its result is one.
 */
#include "kvm/x86/hyperv.h"
#include "kvm/x86/irqchip.h"
#include "kvm/x86/mem.h"

#define CALL_FLUSH_SPACE		0x0002
#define CALL_FLUSH_LIST			0x0003
#define CALL_NOTIFY_LONG_SPIN_WAIT	0x0008
#define CALL_SEND_IPI			0x000b
#define CALL_FLUSH_SPACE_EX		0x0013
#define CALL_FLUSH_LIST_EX		0x0014
#define CALL_SEND_IPI_EX		0x0015
#define CALL_POST_MESSAGE		0x005c
#define CALL_SIGNAL_EVENT		0x005d
#define CALL_POST_DEBUG_DATA		0x0069
#define CALL_RETRIEVE_DEBUG_DATA	0x006a
#define CALL_RESET_DEBUG_SESSION	0x006b

#define INPUT_FAST			BIT_ULL(16)
#define INPUT_RESERVED			0xf000f000f8000000ull
#define RESULT_REPS			32	/* how many repetitions are done */

#define STATUS_SUCCESS			0
#define STATUS_INVALID_CODE		2
#define STATUS_INVALID_INPUT		3
#define STATUS_INVALID_ALIGNMENT	4
#define STATUS_INVALID_PARAMETER	5
#define STATUS_ACCESS_DENIED		6
#define STATUS_OPERATION_DENIED		8
#define STATUS_INVALID_PORT		17

#define FLUSH_ALL_PROCESSORS		BIT_ULL(0)
#define SET_SPARSE			0	/* formats of a set of processors */
#define SET_ALL				1

#define CONNECTION_IDS			0x00ffffffull
#define CONNECTION_FLAG			0xffff00000000ull	/* which of an event's flags: there is one */

#define NR_XMM_WORDS			12	/* XMM0 to XMM5 */
#define BANK_VPS			64
#define NR_BANKS			((KVM_MAX_VCPUS + BANK_VPS - 1) / BANK_VPS)

struct call {
	struct kvm_vcpu *v;
	u64 input, in, out;		/* in, out: guest-physical addresses, or two words of parameters */
	u32 code, rep_count, rep_start;
	u32 variable;			/* words that follow the fixed parameters */
	bool fast;
};

/* Virtual processors: by bank of 64, of which only those in `valid` are told. */
struct vp_set {
	bool all;
	u64 valid;
	u64 bank[NR_BANKS];
};

/* ---- parameters ---- */

static u64 xmm_word(const struct kvm_vcpu *v, u32 n)
{
	return v->cpu.fpu.ymm[n / 2].q[n % 2];
}

/* The first n words of parameters. */
static bool get_params(const struct call *call, u64 *p, u32 n)
{
	if (!call->fast)
		return !kvm_read_guest(call->v, call->in, p, n * sizeof(*p));
	for (u32 i = 0; i < n; i++)
		p[i] = i == 0 ? call->in : i == 1 ? call->out : xmm_word(call->v, i - 2);
	return true;
}

static u32 count_bits(u64 x)
{
	u32 n = 0;

	for (; x; x &= x - 1)
		n++;
	return n;
}

/* The banks of a sparse set, which follow `fixed` words of parameters. */
static bool get_banks(const struct call *call, struct vp_set *set, u32 fixed)
{
	u64 words[NR_BANKS] = { 0 };
	u32 n = min(call->variable, (u32)NR_BANKS), at = 0;

	if (call->fast) {
		if (call->variable > NR_XMM_WORDS + 2 - fixed)
			return false;
		for (u32 i = 0; i < n; i++)
			words[i] = xmm_word(call->v, fixed - 2 + i);
	} else if (kvm_read_guest(call->v, call->in + fixed * sizeof(u64), words, n * sizeof(u64))) {
		return false;
	}
	for (u32 i = 0; i < NR_BANKS; i++)
		set->bank[i] = set->valid & BIT_ULL(i) ? words[at++] : 0;
	return true;
}

static bool in_set(const struct vp_set *set, struct kvm_vcpu *v)
{
	u32 vp = READ_ONCE(v->cpu.hv->vp_index);

	return set->all || (set->bank[vp / BANK_VPS] & BIT_ULL(vp % BANK_VPS));
}

/* ---- TLBs ---- */

static bool flush_this(void *set, struct kvm_vcpu *v)
{
	return in_set(set, v);
}

/* Whatever the addresses and the address space, all is flushed: so every repetition is done. */
static u64 flush(const struct call *call, bool ex)
{
	struct vp_set set = { 0 };
	u64 p[4] = { 0 };		/* address space, flags; then a mask, or a set's format and its banks */

	if (!get_params(call, p, ex ? 4 : 3))
		return STATUS_INVALID_INPUT;
	if (!ex) {
		set.valid = 1;
		set.bank[0] = p[2];
		/* No processor at all: some guests mean every one by it. */
		set.all = (p[1] & FLUSH_ALL_PROCESSORS) || !p[2];
	} else {
		set.all = p[2] != SET_SPARSE;
		set.valid = p[3];
		if (call->variable != count_bits(set.valid))
			return STATUS_INVALID_INPUT;
		if (!set.all && !get_banks(call, &set, 4))
			return STATUS_INVALID_INPUT;
	}
	if (in_set(&set, call->v))
		kvm_make_own_request(call->v, KVM_REQ_TLB_FLUSH);
	kvm_request_some_and_wait(call->v->kvm, KVM_REQ_TLB_FLUSH, call->v, flush_this, &set);
	return STATUS_SUCCESS | (u64)call->rep_count << RESULT_REPS;
}

/* ---- interrupts ---- */

static u64 send_ipi(const struct call *call, bool ex)
{
	struct vp_set set = { 0 };
	struct kvm_vcpu *v;
	u64 p[3] = { 0 };		/* vector; then a mask, or a set's format and its banks */
	u32 vector, i;

	if (!call->v->cpu.lapic || !get_params(call, p, ex ? 3 : 2))
		return STATUS_INVALID_INPUT;
	vector = (u32)p[0];
	if (!ex) {
		if (call->fast && p[0] >> 32)
			return STATUS_INVALID_INPUT;
		set.valid = 1;
		set.bank[0] = p[1];
	} else {
		set.all = p[1] == SET_ALL;
		set.valid = p[2];
		if (call->variable != count_bits(set.valid))
			return STATUS_INVALID_INPUT;
		if (!set.all && !call->variable)
			return STATUS_SUCCESS;
		if (!set.all && !get_banks(call, &set, 3))
			return STATUS_INVALID_INPUT;
	}
	if (vector < 0x10 || vector > 0xff)
		return STATUS_INVALID_INPUT;
	kvm_for_each_vcpu(v, call->v->kvm, i)
		if (in_set(&set, v))
			kvm_lapic_raise(v, vector);
	return STATUS_SUCCESS;
}

/* ---- signals ---- */

struct hv_connection {
	struct hv_connection *next;
	u32 id;
	struct os_eventfd *event;
};

/* Where the connection is, or would be; hv->lock is held. */
static struct hv_connection **find(struct kvm_hv *hv, u32 id)
{
	struct hv_connection **at = &hv->connections;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static int assign(struct kvm_hv *hv, u32 id, int fd)
{
	struct hv_connection *new = os_alloc(sizeof(*new)), **at;
	int r;

	if (!new)
		return -ENOMEM;
	new->id = id;
	r = os_eventfd_get(fd, &new->event);
	if (r) {
		os_free(new);
		return r;
	}
	os_mutex_lock(&hv->lock);
	at = find(hv, id);
	r = *at ? -EEXIST : 0;
	if (!r)
		*at = new;
	os_mutex_unlock(&hv->lock);
	if (r) {
		os_eventfd_put(new->event);
		os_free(new);
	}
	return r;
}

static int deassign(struct kvm_hv *hv, u32 id)
{
	struct hv_connection **at, *old;

	os_mutex_lock(&hv->lock);
	at = find(hv, id);
	old = *at;
	if (old)
		*at = old->next;
	os_mutex_unlock(&hv->lock);
	if (!old)
		return -ENOENT;
	os_eventfd_put(old->event);
	os_free(old);
	return 0;
}

int kvm_hv_eventfd(struct kvm *kvm, const struct kvm_hyperv_eventfd *args)
{
	if ((args->flags & ~(u32)KVM_HYPERV_EVENTFD_DEASSIGN) || (args->conn_id & ~(u32)CONNECTION_IDS))
		return -EINVAL;
	if (args->flags & KVM_HYPERV_EVENTFD_DEASSIGN)
		return deassign(kvm->arch.hv, args->conn_id);
	return assign(kvm->arch.hv, args->conn_id, args->fd);
}

void kvm_hv_drop_connections(struct kvm_hv *hv)
{
	struct hv_connection *p;

	while ((p = hv->connections)) {
		hv->connections = p->next;
		os_eventfd_put(p->event);
		os_free(p);
	}
}

static u64 signal_event(struct call *call)
{
	struct kvm_hv *hv = call->v->kvm->arch.hv;
	struct hv_connection *p;

	if (!call->fast) {
		if ((call->in & 7) || kvm_read_guest(call->v, call->in, &call->in, sizeof(call->in)))
			return STATUS_INVALID_ALIGNMENT;
	}
	if (call->in & CONNECTION_FLAG)
		return STATUS_INVALID_PORT;
	if (call->in & ~CONNECTION_IDS)
		return STATUS_INVALID_INPUT;
	os_mutex_lock(&hv->lock);
	p = *find(hv, call->in);
	if (p)
		os_eventfd_signal(p->event, 1);
	os_mutex_unlock(&hv->lock);
	return p ? STATUS_SUCCESS : STATUS_INVALID_PORT;
}

/* ---- calls ---- */

bool kvm_hv_calls_enabled(const struct kvm_vcpu *v)
{
	return unlikely(v->cpu.hv->enabled) && READ_ONCE(v->kvm->arch.hv->guest_os_id);
}

static bool allowed(const struct call *call)
{
	const struct kvm_hv_vcpu *hv = call->v->cpu.hv;
	u32 hints = 0;

	if (!hv->enforce_cpuid)
		return true;
	switch (call->code) {
	case CALL_NOTIFY_LONG_SPIN_WAIT:
		return hv->hints_ebx && hv->hints_ebx != ~0u;
	case CALL_POST_MESSAGE:
		return hv->features_ebx & HV_POST_MESSAGES;
	case CALL_SIGNAL_EVENT:
		return hv->features_ebx & HV_SIGNAL_EVENTS;
	case CALL_POST_DEBUG_DATA:
	case CALL_RETRIEVE_DEBUG_DATA:
	case CALL_RESET_DEBUG_SESSION:
		/* Without a debugger there is no such call, rather than one that is denied. */
		return !kvm_hv_debugger_allowed(call->v) || (hv->features_ebx & HV_DEBUGGING);
	case CALL_FLUSH_SPACE_EX:
	case CALL_FLUSH_LIST_EX:
		hints = HV_HINT_EX_MASKS;
		__attribute__((fallthrough));
	case CALL_FLUSH_SPACE:
	case CALL_FLUSH_LIST:
		hints |= HV_HINT_REMOTE_TLB_FLUSH;
		break;
	case CALL_SEND_IPI_EX:
		hints = HV_HINT_EX_MASKS;
		__attribute__((fallthrough));
	case CALL_SEND_IPI:
		hints |= HV_HINT_CLUSTER_IPI;
		break;
	}
	return (hv->hints_eax & hints) == hints;
}

static bool takes_xmm(u32 code)
{
	return code == CALL_FLUSH_SPACE || code == CALL_FLUSH_LIST || code == CALL_FLUSH_SPACE_EX ||
	       code == CALL_FLUSH_LIST_EX || code == CALL_SEND_IPI_EX;
}

static int finish(struct x86_cpu *c, u64 result)
{
	kvm_count(c->vcpu, KVM_STAT_HYPERCALLS);
	if (c->mode == X86_MODE_64) {
		c->regs[X86_RAX] = result;
	} else {
		c->regs[X86_RDX] = result >> 32;
		c->regs[X86_RAX] = (u32)result;
	}
	return X86_DONE;
}

/* The VMM's to answer. */
static int ask(const struct call *call)
{
	struct kvm_run *run = call->v->run;
	int r = x86_ask_vmm(&call->v->cpu, X86_WAIT_HV_HYPERCALL);

	if (r != X86_EXIT)
		return r;
	run->exit_reason = KVM_EXIT_HYPERV;
	memset(&run->hyperv, 0, sizeof(run->hyperv));
	run->hyperv.type = KVM_EXIT_HYPERV_HCALL;
	run->hyperv.u.hcall.input = call->input;
	run->hyperv.u.hcall.params[0] = call->in;
	run->hyperv.u.hcall.params[1] = call->out;
	return X86_EXIT;
}

static u32 low(const struct x86_cpu *c, int reg)
{
	return (u32)c->regs[reg];
}

static void decode(struct kvm_vcpu *v, struct call *call)
{
	const struct x86_cpu *c = &v->cpu;

	call->v = v;
	if (c->mode == X86_MODE_64) {
		call->input = c->regs[X86_RCX];
		call->in = c->regs[X86_RDX];
		call->out = c->regs[X86_R8];
	} else {
		call->input = (u64)low(c, X86_RDX) << 32 | low(c, X86_RAX);
		call->in = (u64)low(c, X86_RBX) << 32 | low(c, X86_RCX);
		call->out = (u64)low(c, X86_RDI) << 32 | low(c, X86_RSI);
	}
	call->code = call->input & 0xffff;
	call->fast = call->input & INPUT_FAST;
	call->variable = call->input >> 17 & 0x3ff;
	call->rep_count = call->input >> 32 & 0xfff;
	call->rep_start = call->input >> 48 & 0xfff;
}

/* How many parameters and repetitions a call may have. */
static bool well_formed(const struct call *call)
{
	bool repeated = call->rep_count || call->rep_start;

	switch (call->code) {
	case CALL_FLUSH_LIST:
		return !call->variable && call->rep_count && !call->rep_start;
	case CALL_FLUSH_LIST_EX:
		return call->rep_count && !call->rep_start;
	case CALL_FLUSH_SPACE_EX:
	case CALL_SEND_IPI_EX:
		return !repeated;
	case CALL_FLUSH_SPACE:
	case CALL_SEND_IPI:
	case CALL_NOTIFY_LONG_SPIN_WAIT:
	case CALL_SIGNAL_EVENT:
	case CALL_POST_MESSAGE:
		return !repeated && !call->variable;
	default:
		return true;
	}
}

/* True: *result is what the call gives. False: the VMM is to be asked. */
static bool serve(struct call *call, u64 *result)
{
	struct kvm_vcpu *v = call->v;

	*result = STATUS_SUCCESS;
	switch (call->code) {
	case CALL_NOTIFY_LONG_SPIN_WAIT:
		os_yield();
		return true;
	case CALL_FLUSH_SPACE:
	case CALL_FLUSH_LIST:
		*result = flush(call, false);
		return true;
	case CALL_FLUSH_SPACE_EX:
	case CALL_FLUSH_LIST_EX:
		*result = flush(call, true);
		return true;
	case CALL_SEND_IPI:
		*result = send_ipi(call, false);
		return true;
	case CALL_SEND_IPI_EX:
		*result = send_ipi(call, true);
		return true;
	case CALL_SIGNAL_EVENT:
		*result = signal_event(call);
		if (*result != STATUS_INVALID_PORT)
			return true;
		__attribute__((fallthrough));	/* the VMM may know the connection */
	case CALL_POST_MESSAGE:
		*result = STATUS_INVALID_INPUT;
		return !v->cpu.hv->synic_active;
	case CALL_POST_DEBUG_DATA:
	case CALL_RETRIEVE_DEBUG_DATA:
	case CALL_RESET_DEBUG_SESSION:
		*result = call->fast && call->code != CALL_RESET_DEBUG_SESSION ? STATUS_INVALID_PARAMETER :
			  !kvm_hv_debugger_allowed(v) ? STATUS_INVALID_CODE :
			  READ_ONCE(v->kvm->arch.hv->debug_options) & HV_SYNDBG_USE_HYPERCALLS ? STATUS_SUCCESS :
			  STATUS_OPERATION_DENIED;
		return *result != STATUS_SUCCESS;
	default:
		*result = STATUS_INVALID_CODE;
		return true;
	}
}

int kvm_hv_hypercall(struct kvm_vcpu *v)
{
	struct x86_cpu *c = &v->cpu;
	struct call call;
	bool refused;
	u64 result;

	if (x86_vmm_answered(c, &result, &refused))
		return finish(c, result);
	if (c->cpl != 0 || !x86_protected(c))
		return x86_raise(c, X86_UD);
	decode(v, &call);
	if (!allowed(&call))
		return finish(c, STATUS_ACCESS_DENIED);
	if (call.input & INPUT_RESERVED)
		return finish(c, STATUS_INVALID_INPUT);
	if (call.fast && takes_xmm(call.code) && c->hv->enforce_cpuid && !(c->hv->features_edx & HV_XMM_INPUT))
		return x86_raise(c, X86_UD);
	if (!well_formed(&call))
		return finish(c, STATUS_INVALID_INPUT);
	return serve(&call, &result) ? finish(c, result) : ask(&call);
}
