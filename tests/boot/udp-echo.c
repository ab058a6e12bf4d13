/* SPDX-License-Identifier: GPL-2.0-only */
/* For a guest without a C library: sends each datagram to a port back to where it came from. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	static char buffer[65536];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	in.sin_port = htons((unsigned short)(argc > 1 ? atoi(argv[1]) : 7));
	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)))
		return 1;
	for (;;) {
		socklen_t size = sizeof(in);
		ssize_t n = recvfrom(fd, buffer, sizeof(buffer), 0, (struct sockaddr *)&in, &size);

		if (n < 0)
			return 1;
		sendto(fd, buffer, (size_t)n, 0, (struct sockaddr *)&in, size);
	}
}
