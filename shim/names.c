/* getaddrinfo() and its elders: by which name an address was found. */

#include "shim/names.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "shim/libc.h"
#include "shim/process.h"

/* Who resolves a name connects next, as a rule in the same thread; so where one address goes by
 * several names, this tells which is meant. */
static _Thread_local const struct name *latest;

const struct name *names_latest(void)
{
	return latest;
}

/* Lower case, without a dot at the end (RFC 4343). Returns its length; 0 if it is too long. */
static size_t normalise(char *to, const char *host)
{
	size_t len = strnlen(host, NAME_TEXT_MAX + 2);

	if (len > 0 && host[len - 1] == '.')
		len--;
	if (len > NAME_TEXT_MAX)
		return 0;
	for (size_t i = 0; i < len; i++)
		to[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] + 'a' - 'A') : host[i];
	return len;
}

struct addresses {
	struct host_address list[NAME_ADDRESSES_MAX];
	unsigned count; /* of all, noted or not */
};

static void note_address(struct addresses *addresses, int family, const void *address)
{
	size_t size = family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
	unsigned i = addresses->count++;

	if (i >= NAME_ADDRESSES_MAX)
		return;
	memset(&addresses->list[i], 0, sizeof(addresses->list[i]));
	addresses->list[i].family = (uint16_t)family;
	memcpy(addresses->list[i].bytes, address, size);
}

static void learn(const char *host, const struct addresses *addresses)
{
	char text[NAME_TEXT_MAX];
	size_t len = normalise(text, host);

	if (len > 0 && addresses->count > 0)
		latest = pool_learn_name(
			&process_pool, text, len, addresses->list, addresses->count);
}

/* "10.0.0.1" and "::1" are resolved to themselves, and are no names. */
static bool is_name(const char *host)
{
	struct in6_addr address;

	return host && *host && !strchr(host, ':') && inet_pton(AF_INET, host, &address) != 1;
}

static void learn_list(const char *host, const struct addrinfo *list)
{
	struct addresses addresses = {.count = 0};
	const void *address = NULL;

	for (; list; list = list->ai_next) {
		const void *before = address;
		if (list->ai_family == AF_INET)
			address = &((const struct sockaddr_in *)(const void *)list->ai_addr)
					   ->sin_addr;
		else if (list->ai_family == AF_INET6)
			address = &((const struct sockaddr_in6 *)(const void *)list->ai_addr)
					   ->sin6_addr;
		else
			continue;
		size_t size = list->ai_family == AF_INET ? 4 : 16;
		/* Once for each type of socket. */
		if (!before || memcmp(before, address, size) != 0)
			note_address(&addresses, list->ai_family, address);
	}
	learn(host, &addresses);
}

static void learn_entry(const char *host, const struct hostent *entry)
{
	struct addresses addresses = {.count = 0};

	if (entry->h_addrtype != AF_INET && entry->h_addrtype != AF_INET6)
		return;
	for (char **address = entry->h_addr_list; *address; address++)
		note_address(&addresses, entry->h_addrtype, *address);
	learn(host, &addresses);
}

int getaddrinfo(const char *restrict host, const char *restrict service,
	const struct addrinfo *restrict hints, struct addrinfo **restrict list)
{
	int result = libc()->getaddrinfo(host, service, hints, list);

	if (result == EAI_SYSTEM && process_made_room())
		result = libc()->getaddrinfo(host, service, hints, list);
	if (result == 0 && is_name(host) && process_may_pool())
		learn_list(host, *list);
	return result;
}

static struct hostent *seen(const char *host, struct hostent *entry)
{
	if (entry && is_name(host) && process_may_pool())
		learn_entry(host, entry);
	return entry;
}

struct hostent *gethostbyname(const char *host)
{
	return seen(host, libc()->gethostbyname(host));
}

struct hostent *gethostbyname2(const char *host, int family)
{
	return seen(host, libc()->gethostbyname2(host, family));
}

int gethostbyname_r(const char *restrict host, struct hostent *restrict entry,
	char *restrict buffer, size_t size, struct hostent **restrict found, int *restrict error)
{
	int result = libc()->gethostbyname_r(host, entry, buffer, size, found, error);

	seen(host, result == 0 ? *found : NULL);
	return result;
}

int gethostbyname2_r(const char *restrict host, int family, struct hostent *restrict entry,
	char *restrict buffer, size_t size, struct hostent **restrict found, int *restrict error)
{
	int result = libc()->gethostbyname2_r(host, family, entry, buffer, size, found, error);

	seen(host, result == 0 ? *found : NULL);
	return result;
}
