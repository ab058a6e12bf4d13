/* SPDX-License-Identifier: GPL-2.0-only */
/* Network backends: what they share. See net.h. */
#include "vmm/net/net.h"

#include <assert.h>
#include <errno.h>

void net_attach(struct net_backend *backend, const struct net_front *front, void *front_data)
{
	backend->front_data = front_data;
	backend->front = front;
	for (unsigned int i = 0; i < backend->queues; i++)
		backend->ops->accept_input(backend, i);
}

#ifndef HAVE_SLIRP
int net_user_create(struct loop *loop, const struct net_config *config,
		    struct net_backend **backend, struct vmm_error *error)
{
	return vmm_fail(error, -ENOTSUP, "--net user: this anykvm was built without libslirp: "
			"install libslirp-dev and libglib2.0-dev and build again, or give "
			"--net tap or --net passt");
}
#endif

int net_create(struct loop *loop, const struct net_config *config, struct net_backend **backend,
	       struct vmm_error *error)
{
	const char *kind = config->kind == NET_USER ? "user" :
			   config->kind == NET_SOCKET ? "socket" : "passt";

	if (config->queues > NET_MAX_QUEUES)
		return vmm_fail(error, -EINVAL, "--net: queues=%u: give 1 to %u", config->queues,
				NET_MAX_QUEUES);
	if (config->queues > 1 && config->kind != NET_TAP)
		return vmm_fail(error, -EINVAL, "--net %s: queues=%u: only a tap device has more "
				"than one", kind, config->queues);
	if (config->mtu && (config->mtu < NET_MIN_MTU || config->mtu > NET_MAX_MTU))
		return vmm_fail(error, -EINVAL, "--net: mtu=%u: give %u to %u", config->mtu,
				NET_MIN_MTU, NET_MAX_MTU);
	switch (config->kind) {
	case NET_USER:
		return net_user_create(loop, config, backend, error);
	case NET_TAP:
		return net_tap_create(loop, config, backend, error);
	case NET_SOCKET:
	case NET_PASST:
		return net_stream_create(loop, config, backend, error);
	case NET_NONE:
		break;
	}
	assert(!"a network device without a network");
	return -EINVAL;
}
