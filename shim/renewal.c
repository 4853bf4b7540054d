#include "shim/renewal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "pool/renew.h"
#include "shim/libc.h"
#include "shim/memory.h"
#include "shim/process.h"

/* More than any head of a request that says for whom it is. */
#define LOOKED_AT 16384
#define PIECES    16

#define PAGE        4096
#define STATUS_LINE 12 /* "HTTP/1.1 408" */

/* The call goes on with the connection that has taken the place of its own. Where that was closed,
 * and the number may be anything, false. */
static bool go_on(struct call *call, int fd)
{
	struct call next = fdtable_enter(fd);

	if (!next.connection)
		return false;
	if (!connection_succeeds(next.connection, *call)) {
		connection_leave(next);
		return false;
	}
	connection_leave(*call);
	next.saved_errno = call->saved_errno;
	*call = next;
	/* What has failed the program does not see. */
	errno = call->saved_errno;
	return true;
}

/* What came of it, for the program. true: the call is to be made again. */
static bool conclude(struct call *call, int fd, int answer, int saved_errno, ssize_t *result)
{
	errno = saved_errno;
	if (answer == RENEW_AGAIN)
		return go_on(call, fd);
	if (answer < 0) {
		errno = -answer;
		*result = -1;
	}
	return false;
}

/* The first bytes of what was received. */
static size_t gather(uint8_t *line, const struct iovec *vector, size_t received)
{
	size_t len = 0;

	if (received > STATUS_LINE)
		received = STATUS_LINE;
	for (; len < received; vector++) {
		size_t more = vector->iov_len < received - len ? vector->iov_len : received - len;
		if (more > 0)
			memcpy(line + len, vector->iov_base, more);
		len += more;
	}
	return len;
}

bool renewal_after_receiving(
	struct call *call, int fd, int flags, const struct iovec *vector, ssize_t *result)
{
	int saved_errno = errno, answer;
	bool not_to_wait = flags & MSG_DONTWAIT;

	if (flags & (MSG_OOB | MSG_ERRQUEUE) || !process_is_on() ||
		(*result < 0 && saved_errno != ECONNRESET && saved_errno != EPIPE &&
			saved_errno != ENOTCONN)) {
		errno = saved_errno;
		return false;
	}
	if (*result > 0 && !connection_is_current(*call))
		return false;
	if (*result > 0) {
		uint8_t line[STATUS_LINE];
		/* Where the bytes are thrown away they are not in the buffer: tcp(7), MSG_TRUNC. */
		bool seen = vector && !(flags & MSG_TRUNC);
		/* What is only looked at is still to be read. */
		size_t len = flags & MSG_PEEK ? 0
			     : seen           ? gather(line, vector, (size_t)*result)
					      : (size_t)*result;
		answer = renew_after_answer(
			&process_pool, *call, fd, seen ? line : NULL, len, not_to_wait);
	} else {
		answer = renew_after_failure(&process_pool, *call, fd, not_to_wait);
	}
	return conclude(call, fd, answer, saved_errno, result);
}

int renewal_while_waiting(int fd, long wait_ms)
{
	struct call call = fdtable_enter(fd);
	int saved_errno = errno, answer = RENEW_NOT;

	if (is_at_risk(call) && process_may_pool())
		answer = renew_while_waiting(&process_pool, call, fd, wait_ms);
	if (call.connection)
		connection_leave(call);
	errno = saved_errno;
	/* Nor does it say how a new connection has failed: who uses the socket will be told. */
	return answer < 0 ? RENEW_NOT : answer;
}

/* Page by page. */
static bool is_readable(const void *memory, size_t len)
{
	const char *bytes = memory;

	for (size_t some; len > 0; bytes += some, len -= some) {
		some = len < PAGE ? len : PAGE;
		if (!memory_is_readable(bytes, some))
			return false;
	}
	return true;
}

/* As much of the vector as is looked at; the kernel has not said yet that it is there. */
static size_t readable(const struct iovec *vector, size_t count, struct iovec *looked_at)
{
	size_t room = LOOKED_AT, pieces = 0;

	for (; pieces < count && room > 0; pieces++) {
		struct iovec *piece = &looked_at[pieces];
		*piece = vector[pieces];
		if (piece->iov_len > room)
			piece->iov_len = room;
		if (!is_readable(piece->iov_base, piece->iov_len))
			break;
		room -= piece->iov_len;
	}
	return pieces;
}

/* What the call is to send; nothing is known of it where count is 0. true: go on; the call may be
 * on another connection now. */
static bool look_before_sending(
	struct call *call, int fd, const struct iovec *looked_at, size_t count, int flags)
{
	int saved_errno = errno;
	ssize_t result = 0;
	int answer = renew_before_sending(
		&process_pool, *call, fd, looked_at, count, flags & MSG_DONTWAIT);

	conclude(call, fd, answer, saved_errno, &result);
	return result == 0;
}

bool renewal_before_sending(struct call *call, int fd)
{
	return !process_is_on() || look_before_sending(call, fd, NULL, 0, 0);
}

/* The connection has failed, with this error: true if the call is to be made again. Else errno says
 * how it has failed; -1 is the result. */
static bool renewed_after_sending(struct call *call, int fd, int flags, int error)
{
	ssize_t result = -1;

	errno = error;
	return renewed_after_receiving(call, fd, flags & MSG_DONTWAIT, NULL, &result);
}

static ssize_t send_and_renew(
	struct call *call, int fd, const struct iovec *vector, size_t count, int flags)
{
	const struct msghdr message = {.msg_iov = (struct iovec *)vector, .msg_iovlen = count};
	int saved_errno = errno;

	for (;;) {
		/* A signal is not for a failure that the program does not see. */
		ssize_t result = libc()->sendmsg(fd, &message, flags | MSG_NOSIGNAL);
		int error = errno;
		/* Somebody has put a file there, unseen, or a sandbox knows write() only: then that
		 * was it, as like as not. */
		if (result < 0 && flags == 0 && (error == ENOTSOCK || error == EPERM)) {
			errno = saved_errno;
			return libc()->writev(fd, vector, (int)count);
		}
		if (result >= 0 || (error != EPIPE && error != ECONNRESET))
			return result;
		if (renewed_after_sending(call, fd, flags, error)) {
			errno = saved_errno;
			continue;
		}
		if (errno != EPIPE || flags & MSG_NOSIGNAL)
			return -1;
		return libc()->sendmsg(fd, &message, flags);
	}
}

ssize_t renewal_send_buffer(struct call *call, int fd, const void *buf, size_t len, int flags)
{
	const struct iovec vector = {.iov_base = (void *)buf, .iov_len = len};
	struct iovec looked_at;

	if (process_is_on() &&
		!look_before_sending(call, fd, &looked_at, readable(&vector, 1, &looked_at), flags))
		return -1;
	return send_and_renew(call, fd, &vector, 1, flags);
}

ssize_t renewal_send(struct call *call, int fd, const struct iovec *vector, size_t count, int flags)
{
	struct iovec looked_at[PIECES];
	size_t pieces = count < PIECES ? count : PIECES;

	pieces = memory_is_readable(vector, pieces * sizeof(*vector))
			 ? readable(vector, pieces, looked_at)
			 : 0;
	if (process_is_on() && !look_before_sending(call, fd, looked_at, pieces, flags))
		return -1;
	return send_and_renew(call, fd, vector, count, flags);
}
