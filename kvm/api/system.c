/* SPDX-License-Identifier: GPL-2.0-only */
/* ioctls of the system object: what open("/dev/kvm") gives. */
#include "kvm/api/api.h"
#include "kvm/x86/cpuid.h"

/* Machine check: IA32_MCG_CTL is there, and recovery from software errors. */
#define MCE_CAP_SUPPORTED	(BIT_ULL(8) | BIT_ULL(24))

static long get_api_version(struct api_call *c)
{
	return c->arg ? -EINVAL : KVM_API_VERSION;
}

static long vm_ioctl(void *vm, u32 cmd, u64 arg)
{
	return kvm_vm_ioctl(vm, cmd, arg);
}

static void vm_release(void *vm)
{
	kvm_put_vm(vm);
}

static const struct os_fd_ops vm_fd_ops = { .ioctl = vm_ioctl, .release = vm_release };

static long create_vm(struct api_call *c)
{
	struct os_fd *fd;
	struct kvm *kvm;
	int r;

	r = os_fd_prepare("kvm-vm", 0, &fd, NULL);
	if (r)
		return r;
	kvm = kvm_create_vm(c->arg, &r);
	if (!kvm) {
		os_fd_discard(fd);
		return r;
	}
	return os_fd_publish(fd, &vm_fd_ops, kvm);
}

static long check_extension(struct api_call *c)
{
	return api_check_extension(NULL, c->arg);
}

static long get_vcpu_mmap_size(struct api_call *c)
{
	return c->arg ? -EINVAL : (long)(KVM_VCPU_MMAP_PAGES * PAGE_SIZE);
}

static long get_mce_cap(struct api_call *c)
{
	*(u64 *)c->data = MCE_CAP_SUPPORTED;
	return 0;
}

/* KVM_X86_XCOMP_GUEST_SUPP: XCR0 bits that a guest may be shown. */
static long has_attr(struct api_call *c)
{
	const struct kvm_device_attr *a = c->data;

	if (a->flags || a->group)
		return -ENXIO;
	return a->attr == KVM_X86_XCOMP_GUEST_SUPP ? 0 : -ENXIO;
}

static long get_attr(struct api_call *c)
{
	const struct kvm_device_attr *a = c->data;
	u64 xcr0 = x86_supported_xcr0();
	long r = has_attr(c);

	return r ? r : os_copy_to_user(a->addr, &xcr0, sizeof(xcr0));
}

static const struct api_row rows[] = {
	API_ROW(KVM_GET_API_VERSION, NONE, get_api_version),
	API_ROW(KVM_CREATE_VM, NONE, create_vm),
	API_ROW(KVM_CHECK_EXTENSION, NONE, check_extension),
	API_ROW(KVM_GET_VCPU_MMAP_SIZE, NONE, get_vcpu_mmap_size),
	API_ROW(KVM_GET_SUPPORTED_CPUID, NONE, api_get_supported_cpuid),
	API_ROW(KVM_GET_EMULATED_CPUID, NONE, api_get_emulated_cpuid),
	API_ROW(KVM_GET_SUPPORTED_HV_CPUID, NONE, api_get_supported_hv_cpuid),
	API_ROW(KVM_GET_MSR_INDEX_LIST, NONE, api_get_msr_index_list),
	API_ROW(KVM_GET_MSR_FEATURE_INDEX_LIST, NONE, api_get_msr_feature_index_list),
	API_ROW(KVM_GET_MSRS, NONE, api_get_feature_msrs),
	API_ROW(KVM_X86_GET_MCE_CAP_SUPPORTED, OUT(u64), get_mce_cap),
	API_ROW(KVM_HAS_DEVICE_ATTR, IN(struct kvm_device_attr), has_attr),
	API_ROW(KVM_GET_DEVICE_ATTR, IN(struct kvm_device_attr), get_attr),
};

long kvm_system_ioctl(u32 cmd, u64 arg)
{
	struct api_call c = { .arg = arg };

	return api_dispatch(rows, ARRAY_SIZE(rows), cmd, &c, -EINVAL);
}
