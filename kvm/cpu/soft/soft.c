// SPDX-License-Identifier: GPL-2.0-only
/* The software processor as the core sees it: its table of operations, and set-up. */
#include "kvm/cpu/soft/inspect.h"
#include "kvm/cpu/soft/jit/jit.h"
#include "kvm/cpu/soft/soft.h"

static int soft_vm_create(struct kvm *kvm)
{
	struct soft_vm *vm = os_alloc(sizeof(*vm));
	int r;

	if (!vm)
		return -ENOMEM;
	r = soft_get_options(&vm->options);
	if (!r && vm->options.stats)
		r = soft_stats_start(&vm->stats);
	if (!r)
		r = x86_decoder_init(&vm->decoder, soft_host_exec);
	if (r)
		goto out_free;
	r = soft_vector_vm_create(&vm->vector);
	if (r)
		goto out_decoder;
	kvm->cpu = vm;
	kvm->arch.decoder = &vm->decoder;
	return 0;

out_decoder:
	x86_decoder_free(&vm->decoder);
out_free:
	soft_stats_free(&vm->stats);
	os_free(vm);
	return r;
}

static void soft_vm_destroy(struct kvm *kvm)
{
	struct soft_vm *vm = kvm->cpu;

	if (vm->options.stats)
		soft_stats_show(kvm);
	soft_stats_free(&vm->stats);
	soft_vector_vm_destroy(&vm->vector);
	x86_decoder_free(&vm->decoder);
	os_free(vm);
	kvm->cpu = NULL;
	kvm->arch.decoder = NULL;
}

static int soft_vcpu_create(struct kvm_vcpu *v)
{
	struct soft_vcpu *s = os_alloc_large(sizeof(*s));
	struct soft_vm *vm = v->kvm->cpu;
	/* Of what both have together: address space only. */
	size_t most = ALIGN_UP(vm->options.code_cache / 4 * 3, PAGE_SIZE);
	int r;

	if (!s)
		return -ENOMEM;
	r = vm->options.stats ? soft_stats_start(&s->stats) : 0;
	if (!r)
		r = soft_icache_init(&s->icache, vm->options.jit ? most : vm->options.code_cache);
	if (r) {
		soft_stats_free(&s->stats);
		os_free_large(s, sizeof(*s));
		return r;
	}
	v->cpu.soft = s;
	v->cpu.decoder = v->kvm->arch.decoder;
	v->cpu.vector = vm->vector;
	s->vm = vm;
	s->trace = vm->options.trace;
	v->cpu.show_events = s->trace & SOFT_TRACE_EXCEPTIONS;
	if (vm->options.jit) {
		s->jit = jit_create(&v->cpu, most);
		if (!s->jit) {
			soft_icache_free(&s->icache);
			soft_stats_free(&s->stats);
			os_free_large(s, sizeof(*s));
			v->cpu.soft = NULL;
			return -ENOMEM;
		}
	}
	/* v is not counted yet. */
	WRITE_ONCE(vm->share, max(vm->options.code_cache / (v->kvm->nr_vcpus + 1), (u64)SOFT_SHARE_MIN));
	return 0;
}

static void soft_vcpu_destroy(struct kvm_vcpu *v)
{
	struct soft_vcpu *s = v->cpu.soft;

	if (s->stats.rows)
		soft_stats_add(v);
	soft_stats_free(&s->stats);
	jit_destroy(s->jit);
	soft_icache_free(&s->icache);
	os_free_large(s, sizeof(*s));
	v->cpu.soft = NULL;
}

static void soft_features_changed(struct kvm_vcpu *v)
{
	soft_icache_drop_all(&v->cpu);
}

static void soft_drop_code(struct kvm_vcpu *v, const u8 *host)
{
	if (!host) {
		soft_icache_drop_all(&v->cpu);
		x86_tlb_flush_all(&v->cpu);
		return;
	}
	soft_icache_drop_page(&v->cpu, (u64)host);
	/* The next fetch from the page has to announce again that code is made from it. */
	x86_tlb_drop_host_page(&v->cpu, host);
}

const struct kvm_cpu_ops soft_cpu_ops = {
	.name = "soft",
	.vm_create = soft_vm_create,
	.vm_destroy = soft_vm_destroy,
	.vcpu_create = soft_vcpu_create,
	.vcpu_destroy = soft_vcpu_destroy,
	.run = soft_run,
	.features_changed = soft_features_changed,
	.drop_code = soft_drop_code,
};
