#include "pool/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

bool endpoint_from(struct endpoint *endpoint, const struct sockaddr *address, socklen_t len)
{
	sa_family_t family;

	memset(endpoint, 0, sizeof(*endpoint));
	/* The kernel takes no more than that either: move_addr_to_kernel() in net/socket.c. */
	if (len < sizeof(family) || len > sizeof(struct sockaddr_storage))
		return false;
	/* The program may keep it anywhere, not aligned for a struct. */
	memcpy(&family, address, sizeof(family));
	switch (family) {
	case AF_INET: {
		struct sockaddr_in in;
		if (len < sizeof(in))
			return false;
		memcpy(&in, address, sizeof(in));
		endpoint->family = AF_INET;
		endpoint->port = in.sin_port;
		memcpy(endpoint->address, &in.sin_addr, sizeof(in.sin_addr));
		return true;
	}
	case AF_INET6: {
		struct sockaddr_in6 in6;
		if (len < sizeof(in6))
			return false;
		memcpy(&in6, address, sizeof(in6));
		endpoint->family = AF_INET6;
		endpoint->port = in6.sin6_port;
		endpoint->scope_id = in6.sin6_scope_id;
		endpoint->flow_info = in6.sin6_flowinfo;
		memcpy(endpoint->address, &in6.sin6_addr, sizeof(in6.sin6_addr));
		return true;
	}
	default:
		return false;
	}
}

socklen_t endpoint_to(const struct endpoint *endpoint, struct sockaddr_storage *address)
{
	if (endpoint->family == AF_INET) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = endpoint->port};
		memcpy(&in.sin_addr, endpoint->address, sizeof(in.sin_addr));
		memcpy(address, &in, sizeof(in));
		return sizeof(in);
	}
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6,
		.sin6_port = endpoint->port,
		.sin6_scope_id = endpoint->scope_id,
		.sin6_flowinfo = endpoint->flow_info,
	};
	memcpy(&in6.sin6_addr, endpoint->address, sizeof(in6.sin6_addr));
	memcpy(address, &in6, sizeof(in6));
	return sizeof(in6);
}

struct endpoint endpoint_key(const struct endpoint *endpoint)
{
	struct endpoint key = *endpoint;

	if (!key.name || key.apart)
		return key;
	key.family = 0;
	key.scope_id = key.flow_info = 0;
	memset(key.address, 0, sizeof(key.address));
	return key;
}

bool endpoint_bind(struct endpoint *endpoint, const struct endpoint *local)
{
	if (local->family == 0)
		return true;
	if (local->port != 0 || local->family != endpoint->family)
		return false;
	memcpy(endpoint->local_address, local->address, sizeof(local->address));
	return true;
}

static void add_ipv4(struct text *text, const uint8_t *address)
{
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			text_add(text, ".");
		text_add_number(text, address[i]);
	}
}

static void add_hex(struct text *text, unsigned group)
{
	bool begun = false;

	for (int shift = 12; shift >= 0; shift -= 4) {
		unsigned digit = group >> shift & 15;
		begun |= digit != 0 || shift == 0;
		if (begun)
			text_add_bytes(text, &"0123456789abcdef"[digit], 1);
	}
}

/* The longest run of two or more zero groups, the first of equals: RFC 5952 section 4.2. */
static void longest_zero_run(const unsigned *groups, int *start, int *length)
{
	*start = -1;
	*length = 1;
	for (int i = 0; i < 8; i++) {
		int run = 0;
		while (i + run < 8 && groups[i + run] == 0)
			run++;
		if (run > *length) {
			*start = i;
			*length = run;
		}
	}
}

static void add_ipv6(struct text *text, const uint8_t *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	unsigned groups[8];
	int start, length;

	if (memcmp(address, mapped, sizeof(mapped)) == 0) {
		text_add(text, "::ffff:");
		add_ipv4(text, address + 12);
		return;
	}
	for (int i = 0; i < 8; i++)
		groups[i] = (unsigned)address[2 * i] << 8 | address[2 * i + 1];
	longest_zero_run(groups, &start, &length);
	for (int i = 0; i < 8; i++) {
		if (i == start) {
			text_add(text, "::");
			i += length - 1;
			continue;
		}
		if (i > 0 && i != start + length)
			text_add(text, ":");
		add_hex(text, groups[i]);
	}
}

void endpoint_add_address(struct text *text, const struct endpoint *endpoint)
{
	if (endpoint->family == AF_INET) {
		add_ipv4(text, endpoint->address);
		return;
	}
	add_ipv6(text, endpoint->address);
	if (endpoint->scope_id) {
		text_add(text, "%");
		text_add_number(text, endpoint->scope_id);
	}
}

unsigned endpoint_port(const struct endpoint *endpoint)
{
	return ntohs(endpoint->port);
}
