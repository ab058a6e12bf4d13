/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A program that knows nothing of libanykvm uses /dev/kvm in the ways that programs do. It is to be run by
 * `anykvm shim`; it runs itself again, for what happens over exec.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define assert_error(call, error)			\
	do {						\
		errno = 0;				\
		assert_int_equal(call, -1);		\
		assert_int_equal(errno, error);		\
	} while (0)

static int open_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void check_system(int fd)
{
	assert_int_equal(ioctl(fd, KVM_GET_API_VERSION, 0), KVM_API_VERSION);
}

static void test_paths(void **state)
{
	int dev = open("/dev", O_RDONLY | O_DIRECTORY), fd;
	FILE *f;

	check_system(fd = open("/dev/kvm", O_RDWR));
	assert_int_equal(close(fd), 0);
	check_system(fd = openat(dev, "kvm", O_RDWR));
	close(fd);
	check_system(fd = openat(-1, "/dev/kvm", O_RDWR));
	close(fd);
	check_system(fd = open("/dev/../dev//kvm", O_RDWR));
	close(fd);
	assert_int_equal(fchdir(dev), 0);
	check_system(fd = open("kvm", O_RDWR));
	close(fd);
	assert_int_equal(chdir("/"), 0);
	assert_error(open("kvm", O_RDWR), ENOENT);
	assert_error(open("/nowhere/kvm", O_RDWR), ENOENT);
	assert_error(open("/dev/kvm", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	assert_error(open("/dev/kvm", O_RDONLY | O_DIRECTORY), ENOTDIR);

	f = fopen("/dev/kvm", "r+");
	assert_non_null(f);
	check_system(fileno(f));
	fclose(f);
	close(dev);
}

static void test_looking(void **state)
{
	struct stat st;
	int fd;

	assert_int_equal(access("/dev/kvm", R_OK | W_OK), 0);
	assert_error(access("/dev/kvm", X_OK), EACCES);
	assert_int_equal(faccessat(AT_FDCWD, "/dev/kvm", R_OK, 0), 0);
	assert_int_equal(stat("/dev/kvm", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(st.st_rdev, makedev(10, 232));
	fd = open_kvm();
	memset(&st, 0, sizeof(st));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_rdev, makedev(10, 232));
	close(fd);
	/* The number is some other file's now. */
	assert_int_equal(open("/dev/null", O_RDONLY), fd);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_rdev, makedev(1, 3));
	close(fd);
}

/* The ring of coalesced MMIO is the VM's, and every vCPU shows it, however it is mapped. */
static void test_ring(void **state)
{
	int fd = open_kvm(), vm = ioctl(fd, KVM_CREATE_VM, 0);
	int page = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
	int size = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0), vcpu[2];
	char *map[2], *one;

	assert_true(vm >= 0 && page > 0 && size > page * 4096);
	for (int i = 0; i < 2; i++) {
		vcpu[i] = ioctl(vm, KVM_CREATE_VCPU, i);
		assert_true(vcpu[i] >= 0);
		map[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu[i], 0);
		assert_true(map[i] != MAP_FAILED);
	}
	strcpy(map[0], "first");
	strcpy(map[0] + page * 4096, "ring");
	assert_int_equal(map[1][0], 0);
	assert_string_equal(map[1] + page * 4096, "ring");
	one = mmap(NULL, 4096, PROT_READ, MAP_SHARED, vcpu[1], page * 4096);
	assert_true(one != MAP_FAILED);
	assert_string_equal(one, "ring");
	munmap(one, 4096);
	/* No vCPU's, whatever descriptor comes along. */
	one = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, vcpu[1], 0);
	assert_true(one != MAP_FAILED);
	assert_int_equal(one[page * 4096], 0);
	munmap(one, size);
	for (int i = 0; i < 2; i++) {
		munmap(map[i], size);
		close(vcpu[i]);
	}
	close(vm);
	close(fd);
}

static void test_no_file(void **state)
{
	int fd = open_kvm(), vm = ioctl(fd, KVM_CREATE_VM, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
	char byte = 0;

	assert_true(vm >= 0);
	assert_error(read(fd, &byte, 1), EINVAL);
	assert_error(write(fd, &byte, 1), EINVAL);
	assert_error(read(vm, &byte, 1), EINVAL);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLIN | POLLOUT);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(vm, F_GETFD), FD_CLOEXEC);
	close(vm);
	close(fd);
	fd = open("/dev/kvm", O_RDWR);
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	close(fd);
}

static void test_other_files(void **state)
{
	char buf[4] = "";
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_error(ioctl(p[0], KVM_GET_API_VERSION, 0), ENOTTY);
	assert_int_equal(write(p[1], "abc", 3), 3);
	assert_int_equal(read(p[0], buf, 3), 3);
	assert_string_equal(buf, "abc");
	assert_int_equal(close(p[0]), 0);
	assert_int_equal(close(p[1]), 0);
	assert_error(close(p[1]), EBADF);
	assert_error(ioctl(p[1], KVM_GET_API_VERSION, 0), EBADF);
	assert_error(close(-1), EBADF);
	assert_error(read(-1, buf, 1), EBADF);
}

/* How many of the memfds that vCPUs are have mappings here. */
static int mapped_vcpus(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "kvm-vcpu") != NULL;
	fclose(f);
	return n;
}

static int vm_with_vcpu(int *vm)
{
	int fd = open_kvm(), vcpu;

	*vm = ioctl(fd, KVM_CREATE_VM, 0);
	assert_true(*vm >= 0);
	vcpu = ioctl(*vm, KVM_CREATE_VCPU, 0);
	assert_true(vcpu >= 0);
	close(fd);
	return vcpu;
}

/* Objects live as long as any copy of any of their descriptors, and no longer. */
static void test_copies(void **state)
{
	int vm, vcpu = vm_with_vcpu(&vm), other, file;
	struct kvm_mp_state mp;

	assert_int_equal(mapped_vcpus(), 1);
	other = dup(vcpu);
	close(vcpu);
	assert_int_equal(ioctl(other, KVM_GET_MP_STATE, &mp), 0);
	vcpu = fcntl(other, F_DUPFD_CLOEXEC, 100);
	assert_true(vcpu >= 100);
	close(other);
	assert_int_equal(ioctl(vcpu, KVM_GET_MP_STATE, &mp), 0);
	assert_int_equal(dup2(vcpu, 200), 200);
	close(vcpu);
	assert_int_equal(ioctl(200, KVM_GET_MP_STATE, &mp), 0);
	close(vm);
	assert_int_equal(mapped_vcpus(), 1);
	/* Its last descriptor goes by another taking its number. */
	file = open("/dev/null", O_RDWR);
	assert_int_equal(dup2(file, 200), 200);
	assert_int_equal(mapped_vcpus(), 0);
	assert_error(ioctl(200, KVM_GET_MP_STATE, &mp), ENOTTY);
	close(200);
	close(file);
}

static void mark(int vcpu, unsigned long long mark)
{
	struct kvm_regs regs = { .rax = mark, .rflags = 2 };

	assert_int_equal(ioctl(vcpu, KVM_SET_REGS, &regs), 0);
}

static unsigned long long marked(int vcpu)
{
	struct kvm_regs regs = { 0 };

	assert_int_equal(ioctl(vcpu, KVM_GET_REGS, &regs), 0);
	return regs.rax;
}

/* What a number was is remembered; whatever gives it another meaning is noticed. */
static void test_numbers(void **state)
{
	int vm[2], vcpu[2] = { vm_with_vcpu(&vm[0]), vm_with_vcpu(&vm[1]) }, n, status;
	struct kvm_regs regs;
	pid_t child;

	mark(vcpu[0], 10);
	mark(vcpu[1], 11);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(i & 1 ? dup3(vcpu[i & 1], 300, O_CLOEXEC) : dup2(vcpu[i & 1], 300), 300);
		assert_int_equal(marked(300), 10 + (i & 1));
		assert_int_equal(marked(vcpu[i & 1]), 10 + (i & 1));
	}
	assert_int_equal(dup2(vm[0], 300), 300);
	assert_error(ioctl(300, KVM_GET_REGS, &regs), ENOTTY);
	assert_int_equal(dup2(vcpu[0], 300), 300);
	assert_int_equal(marked(300), 10);
	close(300);
	assert_error(ioctl(300, KVM_GET_REGS, &regs), EBADF);

	n = dup(vcpu[0]);
	assert_int_equal(marked(n), 10);
	close(n);
	assert_int_equal(dup(vcpu[1]), n);
	assert_int_equal(marked(n), 11);
	/* Closed behind our back: whoever comes next is asked. */
	syscall(SYS_close, n);
	assert_int_equal(fcntl(vcpu[0], F_DUPFD, n), n);
	assert_int_equal(marked(n), 10);
	assert_int_equal(close_range(n, n, 0), 0);
	assert_error(ioctl(n, KVM_GET_REGS, &regs), EBADF);

	/* A child's numbers are its own, though it shares our memory. */
	assert_int_equal(marked(vcpu[1]), 11);
	child = vfork();
	if (!child)
		_exit(dup2(vcpu[0], vcpu[1]) != vcpu[1]);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(marked(vcpu[1]), 11);

	for (int i = 0; i < 2; i++) {
		close(vcpu[i]);
		close(vm[i]);
	}
	assert_int_equal(mapped_vcpus(), 0);
}

/* mov $'!', %al; out %al, $0x10; hlt, in real mode at 1000h. */
static void test_guest(void **state)
{
	static const unsigned char code[] = { 0xb0, '!', 0xe6, 0x10, 0xf4 };
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = 0x1000, .memory_size = 0x1000 };
	int vm, vcpu = vm_with_vcpu(&vm), fd = open_kvm();
	size_t size = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_sregs sregs;
	struct kvm_run *run;
	void *memory;

	memory = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(memory, code, sizeof(code));
	slot.userspace_addr = (uintptr_t)memory;
	assert_int_equal(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot), 0);
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	assert_ptr_not_equal(run, MAP_FAILED);
	assert_int_equal(ioctl(vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.cs.base = sregs.cs.selector = 0;
	assert_int_equal(ioctl(vcpu, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(ioctl(vcpu, KVM_SET_REGS, &regs), 0);
	assert_int_equal(ioctl(vcpu, KVM_RUN, 0), 0);
	assert_int_equal(run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(*((char *)run + run->io.data_offset), '!');
	assert_int_equal(ioctl(vcpu, KVM_RUN, 0), 0);
	assert_int_equal(run->exit_reason, KVM_EXIT_HLT);

	/* The mapping keeps the vCPU when its descriptor goes, as with Linux. */
	close(vcpu);
	close(vm);
	assert_int_equal(run->exit_reason, KVM_EXIT_HLT);
	assert_int_equal(munmap(run, size), 0);
	munmap(memory, 0x1000);
	close(fd);
}

/* ---- other processes ---- */

/* What another process finds behind descriptors of this one. 0: all as it should be. */
static int look(int sys, int vm, int vcpu)
{
	struct kvm_mp_state mp;
	int mine;

	if (ioctl(sys, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return 1;
	if (ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY) != -1 || errno != EIO)
		return 2;
	if (ioctl(vcpu, KVM_GET_MP_STATE, &mp) != -1 || errno != EIO)
		return 3;
	/* What it makes of the system object is its own. */
	mine = ioctl(sys, KVM_CREATE_VM, 0);
	if (mine < 0 || ioctl(mine, KVM_CREATE_VCPU, 0) < 0)
		return 4;
	if (close(vcpu) || close(vm) || close(sys))
		return 5;
	return 0;
}

static void join(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_fork(void **state)
{
	int vm, vcpu = vm_with_vcpu(&vm), fd = open_kvm();
	struct kvm_mp_state mp;
	pid_t pid = fork();

	if (!pid)
		_exit(look(fd, vm, vcpu));
	join(pid);
	assert_int_equal(ioctl(vcpu, KVM_GET_MP_STATE, &mp), 0);
	close(vcpu);
	close(vm);
	close(fd);
	assert_int_equal(mapped_vcpus(), 0);
}

static void run_self(const char *mode, int a, int b, int c, int d)
{
	char args[4][16];
	pid_t pid;

	snprintf(args[0], sizeof(args[0]), "%d", a);
	snprintf(args[1], sizeof(args[1]), "%d", b);
	snprintf(args[2], sizeof(args[2]), "%d", c);
	snprintf(args[3], sizeof(args[3]), "%d", d);
	pid = fork();
	if (!pid) {
		execl("/proc/self/exe", "shim-test", mode, args[0], args[1], args[2], args[3], NULL);
		_exit(127);
	}
	join(pid);
}

static void test_exec(void **state)
{
	int vm, vcpu = vm_with_vcpu(&vm), closed = open_kvm(), fd = open("/dev/kvm", O_RDWR);
	struct kvm_mp_state mp;

	assert_int_equal(fcntl(vm, F_SETFD, 0), 0);
	assert_int_equal(fcntl(vcpu, F_SETFD, 0), 0);
	run_self("inherit", fd, vm, vcpu, closed);
	assert_int_equal(ioctl(vcpu, KVM_GET_MP_STATE, &mp), 0);
	close(closed);
	close(vcpu);
	close(vm);
	close(fd);
}

static int inherited(char **argv)
{
	if (fcntl(atoi(argv[5]), F_GETFD) != -1)
		return 10;
	return look(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
}

union rights {
	char space[CMSG_SPACE(3 * sizeof(int))];
	struct cmsghdr align;
};

static void send_fds(int socket, const int fds[3])
{
	union rights rights = { .space = { 0 } };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof(rights),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(3 * sizeof(int));
	memcpy(CMSG_DATA(c), fds, 3 * sizeof(int));
	assert_int_equal(sendmsg(socket, &m, 0), 1);
}

static int received(char **argv)
{
	union rights rights = { .space = { 0 } };
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof(rights),
	};
	int fds[3];

	if (recvmsg(atoi(argv[2]), &m, 0) != 1 || !CMSG_FIRSTHDR(&m))
		return 20;
	memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fds));
	return look(fds[0], fds[1], fds[2]);
}

static void test_socket(void **state)
{
	int vm, vcpu = vm_with_vcpu(&vm), fd = open_kvm(), pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	send_fds(pair[0], (int [3]){ fd, vm, vcpu });
	run_self("receive", pair[1], 0, 0, 0);
	close(vcpu);
	close(vm);
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

/* ---- the trace ---- */

/* Every request of KVM's kind, on every kind of object, with pointers to nowhere and to the end of a page. */
static int bad_pointers(char **argv)
{
	int fd = open("/dev/kvm", O_RDWR), vm = ioctl(fd, KVM_CREATE_VM, 0);
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0), fds[] = { fd, vm, vcpu };
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *pointers[] = { NULL, (void *)1, (void *)-8, page + 4096 - 4 };

	mprotect(page + 4096, 4096, PROT_NONE);
	for (int nr = 0; nr < 256; nr++) {
		for (unsigned int dir = 0; dir < 4; dir++) {
			static const unsigned int sizes[] = { 0, 4, 8, 16, 24, 32, 64, 72, 128, 312, 4096 };

			for (size_t i = 0; i < 4 * sizeof(sizes) / sizeof(sizes[0]); i++) {
				unsigned long request = _IOC(dir, KVMIO, nr, sizes[i / 4]);

				/* Nothing that may sleep, or that makes descriptors without end. */
				if (request == KVM_RUN || request == KVM_CREATE_VM)
					continue;
				for (int f = 0; f < 3; f++)
					ioctl(fds[f], request, pointers[i % 4]);
			}
		}
	}
	ioctl(vcpu, KVM_SET_MP_STATE, &(struct kvm_mp_state){ KVM_MP_STATE_RUNNABLE });
	ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD);
	/* No memory at the reset vector: a read from there. */
	ioctl(vcpu, KVM_RUN, 0);
	return 0;
}

static void assert_traced(const char *text, const char *what)
{
	if (!strstr(text, what))
		fail_msg("no '%s' in the trace", what);
}

static void test_trace(void **state)
{
	char path[] = "/tmp/shim-test.XXXXXX", *text;
	int file = mkstemp(path);
	struct stat st;

	assert_true(file >= 0);
	setenv("ANYKVM_TRACE", path, 1);
	run_self("bad-pointers", 0, 0, 0, 0);
	unsetenv("ANYKVM_TRACE");
	assert_int_equal(fstat(file, &st), 0);
	text = calloc(1, st.st_size + 1);
	assert_non_null(text);
	assert_int_equal(read(file, text, st.st_size), st.st_size);
	unlink(path);
	close(file);

	assert_traced(text, "open(\"/dev/kvm\") = ");
	assert_traced(text, "KVM_CREATE_VM, 0) = ");
	assert_traced(text, "KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) = 1\n");
	assert_traced(text, "KVM_SET_USER_MEMORY_REGION, 0x1) = -14 (Bad address)\n");
	assert_traced(text, "KVM_SET_MP_STATE, {mp_state=KVM_MP_STATE_RUNNABLE}) = 0\n");
	assert_traced(text, "KVM_RUN) = 0 {KVM_EXIT_");
	free(text);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_looking),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_ring),
		cmocka_unit_test(test_other_files),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_guest),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_trace),
	};

	if (argc > 5) {
		if (!strcmp(argv[1], "inherit"))
			return inherited(argv);
		if (!strcmp(argv[1], "receive"))
			return received(argv);
		return bad_pointers(argv);
	}
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
