/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ioctls of the KVM API: one table a kind of object, one row an ioctl. Meanings are those of Linux's
 * Documentation/virt/kvm/api.rst, errors those of its x86 code.
 */
#ifndef KVM_API_H
#define KVM_API_H

#include "kvm/core/kvm.h"

struct api_call {
	struct kvm *kvm;	/* NULL for the system object */
	struct kvm_vcpu *v;	/* NULL but for a vCPU */
	u64 arg;		/* as the caller gave it */
	void *data;		/* `in` bytes from the caller; `out` bytes go back unless the result is an error */
};

typedef long api_fn(struct api_call *c);

struct api_row {
	const char *name;
	u32 cmd;
	u16 in, out;		/* bytes behind arg; what is of variable length the handler copies itself */
	api_fn *fn;
};

/* API_ROW(number, sizes, handler) */
#define API_ROW(ioctl, ...)	{ #ioctl, ioctl, __VA_ARGS__ }
#define IN(type)		sizeof(type), 0
#define OUT(type)		0, sizeof(type)
#define INOUT(type)		sizeof(type), sizeof(type)
#define NONE			0, 0

/* The row's handler with its data copied in and out; `unknown` where there is no such row. */
long api_dispatch(const struct api_row *rows, u32 n, u32 cmd, struct api_call *c, long unknown);

/* ---- caps.c ---- */
long api_check_extension(struct kvm *kvm, u64 cap);	/* kvm NULL: asked of the system object */
long api_enable_vm_cap(struct kvm *kvm, const struct kvm_enable_cap *cap);
long api_enable_vcpu_cap(struct kvm_vcpu *v, const struct kvm_enable_cap *cap);

/* ---- cpuid.c, msrs.c: lists of variable length ---- */
long api_get_supported_cpuid(struct api_call *c);
long api_get_emulated_cpuid(struct api_call *c);
long api_get_supported_hv_cpuid(struct api_call *c);
long api_set_cpuid(struct api_call *c);
long api_set_cpuid2(struct api_call *c);
long api_get_cpuid2(struct api_call *c);
long api_get_msr_index_list(struct api_call *c);
long api_get_msr_feature_index_list(struct api_call *c);
long api_get_feature_msrs(struct api_call *c);
long api_get_msrs(struct api_call *c);
long api_set_msrs(struct api_call *c);

#endif
