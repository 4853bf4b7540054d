/* An endpoint: where a connection goes, and from where; the key of a service point. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "pool/text.h"

/* Compared and hashed as bytes: always made by endpoint_from(), which leaves no byte unset.
 *
 * Another network namespace is another world: the shim drops the pool where the program changes its
 * namespace. */
struct endpoint {
	const struct name *name; /* by which the program found the address; NULL: not known */
	uint16_t family;         /* AF_INET or AF_INET6; an IPv4-mapped address is AF_INET6 */
	uint16_t port;           /* network byte order */
	uint32_t scope_id, flow_info;
	uint8_t address[16];
	uint8_t local_address[16]; /* what the program bound the socket to; zero: nothing */
	/* 1: a service point of its own, not that of the name's other addresses, as there are rules
	 * for this address. */
	uint32_t apart;
};

/* Reads no more than len bytes of address. false if it is no complete AF_INET or AF_INET6
 * address: the kernel may then say what it thinks of it. */
bool endpoint_from(struct endpoint *endpoint, const struct sockaddr *address, socklen_t len);

/* The address that it was made from. Returns its length. */
socklen_t endpoint_to(const struct endpoint *endpoint, struct sockaddr_storage *address);

/* The key of its service point: a name stands for all of its addresses but those apart. */
struct endpoint endpoint_key(const struct endpoint *endpoint);

/* Adds the local address that the program bound. false if it chose a port too, or another family
 * than the endpoint's. */
bool endpoint_bind(struct endpoint *endpoint, const struct endpoint *local);

/* "192.0.2.1", "2001:db8::1" (RFC 5952), "fe80::1%3" */
void endpoint_add_address(struct text *text, const struct endpoint *endpoint);

/* 80, in host byte order */
unsigned endpoint_port(const struct endpoint *endpoint);
