/* getaddrinfo() and its elders: by which name an address was found. */

#include "shim/names.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "pool/look_ups.h"
#include "shim/libc.h"
#include "shim/process.h"

static _Thread_local struct look_ups look_ups;

const struct name *names_latest(const struct endpoint *endpoint)
{
	return look_ups_use(&look_ups, endpoint);
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

/* "10.0.0.1" and "::1" are resolved to themselves, and are no names. */
static bool is_name(const char *host)
{
	struct in6_addr address;

	return !strchr(host, ':') && inet_pton(AF_INET, host, &address) != 1;
}

/* What is being learned: one part of the answer after the other. */
struct lesson {
	const char *host;
	const struct name *name;
	bool begun;
	struct answer answer;
};

static void begin(struct lesson *lesson)
{
	char text[NAME_TEXT_MAX];
	size_t len = normalise(text, lesson->host);

	lesson->begun = true;
	lesson->name = &name_itself;
	if (is_name(lesson->host))
		lesson->name = pool_learn_name(&process_pool, text, len, &lesson->answer);
	look_ups_note(&look_ups, lesson->name, &lesson->answer);
}

static void learn(struct lesson *lesson)
{
	if (lesson->answer.count == 0)
		return;
	if (!lesson->begun)
		begin(lesson);
	else if (lesson->name != &name_itself)
		pool_learn_more(&process_pool, lesson->name, &lesson->answer);
	lesson->answer.count = 0;
}

static void add_address(struct lesson *lesson, int family, const void *bytes)
{
	const struct host_address address = host_address(family, bytes);

	if (answer_add(&lesson->answer, &address))
		return;
	lesson->answer.more = true;
	learn(lesson);
	answer_add(&lesson->answer, &address);
}

static const void *address_in(const struct addrinfo *info)
{
	const void *address = info->ai_addr;

	if (info->ai_family == AF_INET)
		return &((const struct sockaddr_in *)address)->sin_addr;
	if (info->ai_family == AF_INET6)
		return &((const struct sockaddr_in6 *)address)->sin6_addr;
	return NULL;
}

static unsigned family_of(int family, const void *bytes)
{
	const struct host_address address = host_address(family, bytes);

	return host_address_family(&address);
}

static void learn_list(const char *host, const struct addrinfo *list, unsigned families)
{
	struct lesson lesson = {.host = host, .answer.families = families};
	const struct addrinfo *info;

	/* Whatever was asked for, of these it was answered. */
	for (info = list; info; info = info->ai_next)
		if (address_in(info))
			lesson.answer.families |= family_of(info->ai_family, address_in(info));
	for (info = list; info; info = info->ai_next)
		if (address_in(info))
			add_address(&lesson, info->ai_family, address_in(info));
	learn(&lesson);
}

static void learn_entry(const char *host, const struct hostent *entry)
{
	struct lesson lesson = {.host = host};

	if (entry->h_addrtype != AF_INET && entry->h_addrtype != AF_INET6)
		return;
	for (char **address = entry->h_addr_list; *address; address++)
		lesson.answer.families |= family_of(entry->h_addrtype, *address);
	for (char **address = entry->h_addr_list; *address; address++)
		add_address(&lesson, entry->h_addrtype, *address);
	learn(&lesson);
}

/* Those that getaddrinfo() asks for whatever the machine has. By AI_ADDRCONFIG it asks for those
 * that are configured, and without hints, too: getaddrinfo(3). */
static unsigned families_asked(const struct addrinfo *hints)
{
	if (!hints)
		return 0;
	if (hints->ai_family == AF_INET)
		return FAMILY_IPV4;
	if (hints->ai_family == AF_INET6)
		return FAMILY_IPV6;
	return hints->ai_flags & AI_ADDRCONFIG ? 0 : FAMILY_IPV4 | FAMILY_IPV6;
}

int getaddrinfo(const char *restrict host, const char *restrict service,
	const struct addrinfo *restrict hints, struct addrinfo **restrict list)
{
	int result = libc()->getaddrinfo(host, service, hints, list);

	if (result == EAI_SYSTEM && process_made_room())
		result = libc()->getaddrinfo(host, service, hints, list);
	if (result == 0 && host && process_may_pool())
		learn_list(host, *list, families_asked(hints));
	return result;
}

static struct hostent *seen(const char *host, struct hostent *entry)
{
	if (entry && host && process_may_pool())
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
