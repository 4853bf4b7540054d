#include "shim/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "pool/layout.h"
#include "shim/fdtable.h"
#include "shim/keeper.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/raw.h"
#include "shim/status.h"

struct connection own_entries[OWN_COUNT];

static struct {
	_Atomic int number; /* one more, so that 0 is none */
	dev_t device;
	ino_t inode;
} files[OWN_COUNT];

static int number_of(enum own which)
{
	return atomic_load(&files[which].number) - 1;
}

/* Another thread may just have moved it elsewhere. */
static void lose(enum own which, int number)
{
	int expected = number + 1;

	if (number >= 0 && atomic_compare_exchange_strong(&files[which].number, &expected, 0))
		fdtable_change(number, &own_entries[which], NULL);
}

/* ---- identity ---- */

static bool ring(int set, int bell, bool on)
{
	struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.fd = -1};

	return RAW4(epoll_ctl, set, EPOLL_CTL_MOD, bell, &event) == 0;
}

/* All epoll sets are one inode for fstat(2); but this one has that eventfd in it, by that number.
 * And a set that is another one is not changed by the question. */
static bool ring_if_whole(bool on)
{
	int set = number_of(OWN_SET), bell = number_of(OWN_BELL);

	if (set < 0 || bell < 0)
		return false;
	if (ring(set, bell, on))
		return true;
	if (set == number_of(OWN_SET) && bell == number_of(OWN_BELL)) {
		lose(OWN_SET, set);
		lose(OWN_BELL, bell);
	}
	return false;
}

static bool is_file(enum own which, int number)
{
	struct stat found;

	return RAW2(fstat, number, &found) == 0 && found.st_dev == files[which].device &&
	       found.st_ino == files[which].inode;
}

int own_number(enum own which)
{
	int number = number_of(which);

	/* The number has been another file's in the table's eyes already. */
	if (number < 0 || fdtable_get(number) != &own_entries[which])
		return -1;
	if (which == OWN_PAGE ? is_file(which, number) : ring_if_whole(false))
		return number;
	lose(which, number);
	return -1;
}

bool own_ring(bool on)
{
	return own_number(OWN_SET) >= 0 && ring_if_whole(on);
}

bool own_hides(int fd, const struct connection *entry)
{
	enum own which = (enum own)(entry - own_entries);

	if (number_of(which) == fd && own_number(which) == fd)
		return true;
	fdtable_change(fd, &own_entries[which], NULL);
	return false;
}

/* ---- begin and end ---- */

static void enter(enum own which, int number)
{
	atomic_store(&own_entries[which].fd, -1);
	atomic_store(&own_entries[which].hidden, number);
	process_displace(number, &own_entries[which]);
}

/* On a number for which there may be an entry. */
static int to_hidden(int low)
{
	int number = os_move_to_hidden(low);

	if (number < 0 || os_may_hide(number))
		return number;
	RAW1(close, number);
	return -EMFILE;
}

static int keep_now(enum own which, int low)
{
	struct stat found;
	int number = to_hidden(low);

	if (number < 0)
		return number;
	RAW2(fstat, number, &found);
	files[which].device = found.st_dev;
	files[which].inode = found.st_ino;
	atomic_store(&files[which].number, number + 1);
	enter(which, number);
	return number;
}

int own_keep(enum own which, int low)
{
	if (low < 0)
		return low;
	if (!fdtable_begin_hiding()) {
		RAW1(close, low);
		return -EBUSY;
	}
	int number = keep_now(which, low);
	fdtable_end_hiding();
	return number;
}

/* Both are known before either has its entry, as they are known by each other. */
static bool open_set_now(void)
{
	struct epoll_event event = {.data.fd = -1};
	int set = to_hidden((int)RAW1(epoll_create1, EPOLL_CLOEXEC));
	int bell = to_hidden((int)RAW2(eventfd2, 1, EFD_CLOEXEC | EFD_NONBLOCK));

	if (set >= 0 && bell >= 0 && RAW4(epoll_ctl, set, EPOLL_CTL_ADD, bell, &event) == 0) {
		atomic_store(&files[OWN_BELL].number, bell + 1);
		atomic_store(&files[OWN_SET].number, set + 1);
		enter(OWN_BELL, bell);
		enter(OWN_SET, set);
		return true;
	}
	if (set >= 0)
		RAW1(close, set);
	if (bell >= 0)
		RAW1(close, bell);
	return false;
}

bool own_open_set(void)
{
	if (!fdtable_begin_hiding())
		return false;
	bool opened = open_set_now();
	fdtable_end_hiding();
	return opened;
}

static void close_now(enum own which, int number)
{
	lose(which, number);
	RAW1(close, number);
}

void own_close_set(void)
{
	int set = own_number(OWN_SET), bell = number_of(OWN_BELL);

	if (set < 0)
		return;
	close_now(OWN_SET, set);
	close_now(OWN_BELL, bell);
}

void own_close_page(void)
{
	int page = own_number(OWN_PAGE);

	if (page >= 0)
		close_now(OWN_PAGE, page);
}

unsigned own_give_way(void)
{
	bool set = own_number(OWN_SET) >= 0, page = own_number(OWN_PAGE) >= 0;

	if (set) {
		keeper_give_up();
		own_close_set();
	}
	if (page) {
		own_close_page();
		status_page_moved(-1);
	}
	return (set ? 2 : 0) + (page ? 1 : 0);
}

/* ---- to another number ---- */

/* The set knows it by its number. */
static bool move_bell(int from, int to)
{
	struct epoll_event event = {.data.fd = -1};
	int set = number_of(OWN_SET);

	if (RAW4(epoll_ctl, set, EPOLL_CTL_ADD, to, &event) < 0)
		return false;
	RAW4(epoll_ctl, set, EPOLL_CTL_DEL, from, NULL);
	return true;
}

/* Nothing is hidden while the caller replaces numbers, so nobody else opens one of ours meanwhile.
 */
static void move(enum own which, int from)
{
	int to = os_copy_to_hidden(from);
	bool moved = to >= 0 && os_may_hide(to) && (which != OWN_BELL || move_bell(from, to));

	if (moved) {
		atomic_store(&files[which].number, to + 1);
		enter(which, to);
		fdtable_change(from, &own_entries[which], NULL);
	} else {
		lose(which, from);
		if (to >= 0)
			RAW1(close, to);
	}
	RAW1(close, from);
	if (which == OWN_PAGE)
		status_page_moved(moved ? to : -1);
}

void own_make_way(int fd)
{
	for (enum own which = 0; which < OWN_COUNT; which++)
		if (number_of(which) == fd && own_number(which) == fd)
			move(which, fd);
}

HOT void own_after_fork_in_child(void)
{
	own_close_set();
	own_close_page();
}
