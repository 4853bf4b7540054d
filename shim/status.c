#include "shim/status.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "pool/layout.h"
#include "pool/status_page.h"
#include "shim/log.h"
#include "shim/os.h"
#include "shim/own.h"
#include "shim/process.h"
#include "shim/raw.h"

static char directory[PATH_MAX];

/* 0: the process has no page and has not tried; 1: it has one, or could not have one. */
static _Atomic uint32_t begun;
static struct status_page *mapped;

bool status_want(const char *name)
{
	size_t len = strlen(name);

	if (name[0] != '/' || len >= sizeof(directory))
		return false;
	memcpy(directory, name, len + 1);
	return true;
}

/* ---- the page ---- */

/* Nobody can make it shorter, and so have the process killed when it writes there. */
static bool seal(int fd)
{
	return RAW2(ftruncate, fd, sizeof(struct status_page)) == 0 &&
	       RAW3(fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
}

static struct status_page *map_page(int fd)
{
	long result = seal(fd) ? RAW6(mmap, NULL, sizeof(struct status_page),
					 PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
			       : -1;

	return result < 0 ? NULL : (struct status_page *)result;
}

/* ---- the entry ---- */

/* Nobody else may have put anything there, or take anything away. */
static bool is_private(int dir)
{
	struct stat found;

	return RAW2(fstat, dir, &found) == 0 && found.st_uid == (uid_t)RAW0(geteuid) &&
	       !(found.st_mode & (S_IWGRP | S_IWOTH));
}

static int open_directory(void)
{
	int dir = (int)RAW4(
		openat, AT_FDCWD, directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);

	if (dir < 0)
		return dir;
	if (is_private(dir))
		return dir;
	RAW1(close, dir);
	return -EPERM;
}

struct entry_name {
	char text[16];
};

static struct entry_name own_name(void)
{
	struct entry_name name;
	struct text text = {.data = name.text, .size = sizeof(name.text) - 1};

	text_add_number(&text, RAW0(getpid));
	name.text[text.len] = '\0';
	return name;
}

/* What has that name already is of this process before execve(2), or of one that had its number
 * before. */
static int create_entry(int dir, const char *name)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = (int)RAW4(openat, dir, name, flags, 0600);

	if (fd != -EEXIST)
		return fd;
	RAW3(unlinkat, dir, name, 0);
	return (int)RAW4(openat, dir, name, flags, 0600);
}

static bool write_entry(int dir, int page)
{
	const struct entry_name name = own_name();
	char data[64];
	struct text text = {.data = data, .size = sizeof(data)};
	int fd = create_entry(dir, name.text);

	if (fd < 0)
		return false;
	text_add(&text, "sppool 1 ");
	text_add_number(&text, page);
	text_add(&text, "\n");
	bool written = RAW3(write, fd, data, text.len) == (long)text.len;
	RAW1(close, fd);
	return written;
}

/* ---- begin and end ---- */

static bool show_page(int dir)
{
	int low = (int)RAW2(memfd_create, "sppool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct status_page *page = low < 0 ? NULL : map_page(low);
	int fd = own_keep(OWN_PAGE, low);

	if (page && fd >= 0 && write_entry(dir, fd)) {
		mapped = page;
		status_open(&process_pool, page, (uint32_t)RAW0(getpid));
		return true;
	}
	if (page)
		RAW2(munmap, page, sizeof(*page));
	if (fd >= 0)
		own_close_page();
	return false;
}

static void open_page(void)
{
	int dir = open_directory();

	if (dir < 0 || !show_page(dir))
		log_line(1, "SP_STATUS_DIR: ", directory,
			dir == -EPERM ? " is not this user's own, for no other to write to"
				      : " cannot be used",
			NULL);
	if (dir >= 0)
		RAW1(close, dir);
}

void status_begin(void)
{
	if (!directory[0] || atomic_load_explicit(&begun, memory_order_relaxed) ||
		atomic_exchange(&begun, 1))
		return;
	/* A handler that jumped out of here would leave descriptors behind. */
	uint64_t signals = real_os.block_signals();
	open_page();
	real_os.restore_signals(signals);
}

static void remove_entry(int dir)
{
	const struct entry_name name = own_name();

	RAW3(unlinkat, dir, name.text, 0);
}

void status_end(void)
{
	if (!mapped || !process_may_pool())
		return;
	int dir = open_directory();
	if (dir < 0)
		return;
	remove_entry(dir);
	RAW1(close, dir);
}

void status_page_moved(int number)
{
	int dir = open_directory();

	if (dir < 0)
		return;
	if (number < 0 || !write_entry(dir, number))
		remove_entry(dir);
	RAW1(close, dir);
}

HOT void status_after_fork_in_child(void)
{
	if (mapped)
		RAW2(munmap, mapped, sizeof(*mapped));
	mapped = NULL;
	atomic_store(&begun, 0);
}
