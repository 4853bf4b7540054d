#include "pool/options.h"

#include <asm/socket.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/time.h>

enum option_kind { FIXED, COPIED, IGNORED, BARRED };

static enum option_kind kind_of(int level, int name)
{
	static const struct {
		int level, name;
		enum option_kind kind;
	} table[] = {
#define OPTION(level, name, kind) {level, name, kind},
#include "pool/options.inc"
#undef OPTION
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].level == level && table[i].name == name)
			return table[i].kind;
	return FIXED;
}

static struct option *find(const struct options *options, int level, int name)
{
	for (unsigned i = 0; i < options->count; i++)
		if (options->entries[i].level == level && options->entries[i].name == name)
			return (struct option *)&options->entries[i];
	return NULL;
}

static bool same_value(const struct option *a, const struct option *b)
{
	return a->size == b->size && memcmp(a->value, b->value, a->size) == 0;
}

/* SO_LINGER switched off is what every socket has; switched on, close() is asked to wait or to
 * reset the connection, and must be a real close. */
static bool lingers(int level, int name, const void *value, socklen_t size)
{
	struct linger linger;

	if (level != SOL_SOCKET || name != SO_LINGER)
		return false;
	if (size < sizeof(linger))
		return true;
	memcpy(&linger, value, sizeof(linger));
	return linger.l_onoff != 0;
}

static socklen_t size_of(int level, int name)
{
	bool is_timeout = level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO);

	return is_timeout ? sizeof(struct timeval) : sizeof(int);
}

static struct option *find_or_add(struct options *options, int level, int name)
{
	struct option *option = find(options, level, name);

	if (option || options->count == OPTIONS_MAX)
		return option;
	option = &options->entries[options->count++];
	*option = (struct option){.level = level, .name = name};
	return option;
}

bool options_record(struct options *options, int level, int name, const void *value, socklen_t size,
	bool connected)
{
	enum option_kind kind = kind_of(level, name);
	socklen_t own_size = size_of(level, name);

	if (kind == IGNORED || (level == SOL_SOCKET && name == SO_LINGER))
		return !lingers(level, name, value, size);
	/* The kernel reads as much as the option needs of a value that is said to be longer. */
	if (kind == BARRED || size < own_size || (kind == FIXED && size != own_size))
		return false;
	struct option before = {0};
	const struct option *known = find(options, level, name);
	if (known)
		before = *known;
	struct option *option = find_or_add(options, level, name);
	if (!option)
		return false;
	option->size = (uint8_t)own_size;
	memcpy(option->value, value, own_size);
	if (level == IPPROTO_TCP && name == TCP_NODELAY)
		options->lends_nodelay = false;
	return kind != FIXED || !connected || same_value(option, &before);
}

bool options_have(const struct options *options, int level, int name, int value)
{
	const struct option *option = find(options, level, name);

	return option && option->size == sizeof(value) &&
	       memcmp(option->value, &value, sizeof(value)) == 0;
}

long options_timeout_ms(const struct options *options, int name)
{
	const struct option *option = find(options, SOL_SOCKET, name);
	struct timeval time;

	if (!option || option->size != sizeof(time))
		return 0;
	memcpy(&time, option->value, sizeof(time));
	if (time.tv_sec < 0 || time.tv_sec > INT32_MAX / 1000)
		return 0;
	return time.tv_sec * 1000 + (time.tv_usec + 999) / 1000;
}

/* Every option of one that cannot be changed stands in other with the same value. */
static bool fixed_ones_are_in(const struct options *one, const struct options *other)
{
	for (unsigned i = 0; i < one->count; i++) {
		const struct option *option = &one->entries[i];
		if (kind_of(option->level, option->name) != FIXED)
			continue;
		const struct option *twin = find(other, option->level, option->name);
		if (!twin || !same_value(option, twin))
			return false;
	}
	return true;
}

bool options_match(const struct options *parked, const struct options *fresh)
{
	return fixed_ones_are_in(parked, fresh) && fixed_ones_are_in(fresh, parked);
}

static int copy_from_socket(const struct pool_os *os, int from, int to, const struct option *option)
{
	uint8_t value[OPTION_VALUE_MAX];
	socklen_t size = sizeof(value);
	int error = os->get_option(from, option->level, option->name, value, &size);

	return error < 0 ? error : os->set_option(to, option->level, option->name, value, size);
}

static bool is_nodelay(const struct option *option)
{
	return option->level == IPPROTO_TCP && option->name == TCP_NODELAY;
}

static int set_wanted(const struct pool_os *os, int parked_fd, const struct options *parked,
	const struct options *fresh)
{
	for (unsigned i = 0; i < fresh->count; i++) {
		const struct option *wanted = &fresh->entries[i];
		const struct option *has = find(parked, wanted->level, wanted->name);
		if (has && same_value(has, wanted))
			continue;
		int error = os->set_option(
			parked_fd, wanted->level, wanted->name, wanted->value, wanted->size);
		if (error < 0)
			return error;
	}
	return 0;
}

int options_set_all(const struct pool_os *os, int fd, const struct options *options)
{
	static const struct options none = {.count = 0};

	return set_wanted(os, fd, &none, options);
}

static int undo_left_over(const struct pool_os *os, int parked_fd, const struct options *parked,
	int fresh_fd, const struct options *fresh)
{
	for (unsigned i = 0; i < parked->count; i++) {
		const struct option *left_over = &parked->entries[i];
		if (is_nodelay(left_over) || find(fresh, left_over->level, left_over->name))
			continue;
		int error = copy_from_socket(os, fresh_fd, parked_fd, left_over);
		if (error < 0)
			return error;
	}
	return 0;
}

int options_apply(const struct pool_os *os, int parked_fd, struct options *parked, int fresh_fd,
	const struct options *fresh)
{
	static const int on = 1;
	bool lend = !find(fresh, IPPROTO_TCP, TCP_NODELAY);
	int error = set_wanted(os, parked_fd, parked, fresh);

	if (error == 0)
		error = undo_left_over(os, parked_fd, parked, fresh_fd, fresh);
	if (error == 0 && lend && !parked->lends_nodelay)
		error = os->set_option(parked_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (error < 0)
		return error;
	*parked = *fresh;
	parked->lends_nodelay = lend;
	return 0;
}
