/* Functions that make descriptors. Where there are none left, because parked connections hold them,
 * those make room, and the call is made once more; so a program never meets a limit that it would
 * not have met without the pool.
 */

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "shim/libc.h"
#include "shim/memory.h"
#include "shim/process.h"
#include "shim/waits.h"

static int note_NUMBER(int number)
{
	return number < 0 ? number : process_opened(number);
}

/* A server that got its listening socket by exec() is known by what it accepts. */
static int note_ACCEPTED(int number)
{
	number = note_NUMBER(number);
	if (number >= 0)
		waits_note_listener(number);
	return number;
}

static int note_SET(int number)
{
	number = note_NUMBER(number);
	waits_note_set(number);
	return number;
}

static int note_PAIR(int result, int *numbers)
{
	if (result == 0)
		process_opened_pair(numbers);
	return result;
}

static FILE *note_STREAM(FILE *stream)
{
	/* Nobody has seen its number yet: glibc's struct_FILE.h. */
	if (stream)
		stream->_fileno = process_opened(stream->_fileno);
	return stream;
}

static DIR *note_DIRECTORY(DIR *directory)
{
	if (directory)
		process_forget(dirfd(directory));
	return directory;
}

/* Where parked connections were in the way of a lower number they are not any more. */
static DIR *lower_directory(DIR *directory, const char *path)
{
	if (!directory || process_opened_at_lowest(dirfd(directory)))
		return directory;
	closedir(directory);
	return libc()->opendir(path);
}

/* What is held back: pool/deferral.h. */
static void carry_out(void)
{
	if (deferral_any())
		fdtable_carry_out_before(-1);
}

/* Where it failed for want of descriptors, once more; and again, as another thread may have taken
 * what room there was, to park what it closes or to take what it connects. */
#define TRY(result, failed, call)                                                                  \
	int saved_errno = errno;                                                                   \
	__typeof__(call) result = call;                                                            \
	for (int tries = 0;                                                                        \
		__builtin_expect(failed, 0) && tries < TRIES_MOST && process_made_room();          \
		tries++) {                                                                         \
		result = call;                                                                     \
		if (!(failed))                                                                     \
			errno = saved_errno;                                                       \
	}

/* Those that may wait: for a connection, or for who opens the other end of a FIFO. */
#define BEFORE_NUMBER    (void)0
#define BEFORE_POINT     carry_out()
#define BEFORE_ACCEPTED  carry_out()
#define BEFORE_SET       (void)0
#define BEFORE_PAIR      (void)0
#define BEFORE_STREAM    carry_out()
#define BEFORE_DIRECTORY (void)0

#define FAILED_NUMBER    result < 0
#define FAILED_POINT     result < 0
#define FAILED_ACCEPTED  result < 0
#define FAILED_SET       result < 0
#define FAILED_PAIR      result < 0
#define FAILED_STREAM    !result
#define FAILED_DIRECTORY !result

#define RETURN_NUMBER    return note_NUMBER(result)
#define RETURN_POINT     return note_NUMBER(result)
#define RETURN_ACCEPTED  return note_ACCEPTED(result)
#define RETURN_SET       return note_SET(result)
#define RETURN_PAIR      return note_PAIR(result, numbers)
#define RETURN_STREAM    return note_STREAM(result)
#define RETURN_DIRECTORY return note_DIRECTORY(lower_directory(result, path))

#define BAD_NUMBER    process_bad_descriptor()
#define BAD_POINT     process_bad_descriptor_here()
#define BAD_ACCEPTED  process_bad_descriptor_here()
#define BAD_SET       process_bad_descriptor()
#define BAD_PAIR      process_bad_descriptor()
#define BAD_STREAM    NULL
#define BAD_DIRECTORY NULL

#define OPENER(how, of, returns, name, parameters, arguments)                                      \
	returns name parameters                                                                    \
	{                                                                                          \
		BEFORE_##how;                                                                      \
		if (process_hides(of))                                                             \
			return BAD_##how;                                                          \
		TRY(result, FAILED_##how, libc()->name arguments)                                  \
		RETURN_##how;                                                                      \
	}
#include "shim/openers.inc"
#undef OPENER

/* Such a path does not need the directory that it is relative to: open(2). */
static bool is_absolute(const char *path)
{
	return memory_is_readable(path, sizeof(uint64_t)) && *path == '/';
}

/* As glibc does, but for the question whether there is a mode: it is passed on in any case, and the
 * kernel does not look at it unless it makes a file. */
#define OPEN(name, of, parameters, arguments)                                                      \
	int name parameters                                                                        \
	{                                                                                          \
		va_list rest;                                                                      \
                                                                                                   \
		carry_out();                                                                       \
		if (process_hides(of) && !is_absolute(path))                                       \
			return process_bad_descriptor_here();                                      \
		va_start(rest, flags);                                                             \
		mode_t mode = va_arg(rest, mode_t);                                                \
		va_end(rest);                                                                      \
		TRY(result, FAILED_NUMBER, libc()->name arguments)                                 \
		return note_NUMBER(result);                                                        \
	}

#define REOPEN(name)                                                                               \
	FILE *name(const char *restrict path, const char *restrict mode, FILE *restrict stream)    \
	{                                                                                          \
		reopen(stream);                                                                    \
		return libc()->name(path, mode, stream);                                           \
	}

/* It opens the new file before it gives up the number of the old one, and closes the stream where
 * it fails. */
static void reopen(FILE *stream)
{
	int saved_errno = errno;
	int fd = stream ? fileno_unlocked(stream) : -1;

	errno = saved_errno;
	if (fd >= 0)
		process_forget(fd);
	if (process_pool.parked_count > 0)
		process_ensure_room();
}

REOPEN(freopen)
REOPEN(freopen64)

OPEN(open, -1, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, -1, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))
OPEN(openat64, at, (int at, const char *path, int flags, ...), (at, path, flags, mode))

/* What failed has left a name in place of the six X that were before the suffix. */
static bool restore_template(char *name, int suffix_len)
{
	if (!process_made_room())
		return false;
	memset(name + strlen(name) - (size_t)suffix_len - 6, 'X', 6);
	return true;
}

#define MAKE_TEMPORARY(name_, parameters, suffix_len, arguments)                                   \
	int name_ parameters                                                                       \
	{                                                                                          \
		int saved_errno = errno, result = libc()->name_ arguments;                         \
		if (result < 0 && restore_template(name, suffix_len)) {                            \
			result = libc()->name_ arguments;                                          \
			if (result >= 0)                                                           \
				errno = saved_errno;                                               \
		}                                                                                  \
		return note_NUMBER(result);                                                        \
	}

MAKE_TEMPORARY(mkstemp, (char *name), 0, (name))
MAKE_TEMPORARY(mkstemp64, (char *name), 0, (name))
MAKE_TEMPORARY(mkostemp, (char *name, int flags), 0, (name, flags))
MAKE_TEMPORARY(mkostemp64, (char *name, int flags), 0, (name, flags))
MAKE_TEMPORARY(mkstemps, (char *name, int suffix_len), suffix_len, (name, suffix_len))
MAKE_TEMPORARY(mkstemps64, (char *name, int suffix_len), suffix_len, (name, suffix_len))
MAKE_TEMPORARY(
	mkostemps, (char *name, int suffix_len, int flags), suffix_len, (name, suffix_len, flags))
MAKE_TEMPORARY(
	mkostemps64, (char *name, int suffix_len, int flags), suffix_len, (name, suffix_len, flags))

INTERPOSED_AS(open, __open);
INTERPOSED_AS(open64, __open64);
INTERPOSED_AS(pipe, __pipe);
INTERPOSED_AS(fopen, _IO_fopen);
