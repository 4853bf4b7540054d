#include "shim/renewal.h"

#include <errno.h>
#include <limits.h>

#include "pool/renew.h"
#include "shim/libc.h"
#include "shim/memory.h"
#include "shim/process.h"

/* More than any head of a request that says for whom it is. */
#define LOOKED_AT 4096
#define PIECES    8

/* What came of it, for the program: true: the call is to be made again. */
static bool conclude(int answer, int saved_errno, ssize_t *result)
{
	errno = saved_errno;
	if (answer == RENEW_AGAIN)
		return true;
	if (answer < 0) {
		errno = -answer;
		*result = -1;
	}
	return false;
}

bool renewal_after_receiving(
	struct call call, int fd, int flags, const struct iovec *vector, ssize_t *result)
{
	int saved_errno = errno, answer;
	bool not_to_wait = flags & MSG_DONTWAIT;

	if (flags & (MSG_OOB | MSG_ERRQUEUE) || !process_may_pool())
		return conclude(RENEW_NOT, saved_errno, result);
	if (*result < 0 && saved_errno != ECONNRESET && saved_errno != EPIPE)
		return conclude(RENEW_NOT, saved_errno, result);
	if (*result > 0) {
		size_t len = vector ? vector->iov_len : 0;
		answer = renew_after_answer(&process_pool, call, fd,
			vector ? vector->iov_base : NULL,
			len < (size_t)*result ? len : (size_t)*result, not_to_wait);
	} else {
		answer = renew_after_failure(&process_pool, call, fd, not_to_wait);
	}
	return conclude(answer, saved_errno, result);
}

/* As much of the vector as is looked at; the kernel has not said yet that it is there. */
static size_t readable(const struct iovec *vector, size_t count, struct iovec *looked_at)
{
	size_t room = LOOKED_AT, pieces = 0;

	for (; pieces < count && pieces < PIECES && room > 0; pieces++) {
		if (!memory_is_readable(&vector[pieces], sizeof(*vector)))
			break;
		struct iovec piece = vector[pieces];
		if (piece.iov_len > room)
			piece.iov_len = room;
		if (piece.iov_len > 0 && !memory_is_readable(piece.iov_base, piece.iov_len))
			break;
		looked_at[pieces] = piece;
		room -= piece.iov_len;
	}
	return pieces;
}

static int look_before_sending(
	struct call call, int fd, const struct iovec *vector, size_t count, int flags)
{
	struct iovec looked_at[PIECES];
	size_t pieces = readable(vector, count, looked_at);

	return renew_before_sending(
		&process_pool, call, fd, looked_at, pieces, flags & MSG_DONTWAIT);
}

bool renewal_before_sending(struct call call, int fd)
{
	int saved_errno = errno;
	ssize_t result = 0;

	if (process_may_pool())
		conclude(look_before_sending(call, fd, NULL, 0, 0), saved_errno, &result);
	return result == 0;
}

ssize_t renewal_send(struct call call, int fd, const struct iovec *vector, size_t count, int flags)
{
	const struct msghdr message = {.msg_iov = (struct iovec *)vector, .msg_iovlen = count};
	int saved_errno = errno;
	ssize_t result = 0;

	if (!process_may_pool())
		return libc()->sendmsg(fd, &message, flags);
	conclude(look_before_sending(call, fd, vector, count, flags), saved_errno, &result);
	while (result == 0) {
		/* A signal is not for a failure that the program does not see. */
		result = libc()->sendmsg(fd, &message, flags | MSG_NOSIGNAL);
		if (result >= 0 || (errno != EPIPE && errno != ECONNRESET && errno != ENOTSOCK))
			return result;
		/* Somebody has put a file there, unseen; then this was write(), as like as not. */
		if (errno == ENOTSOCK && flags == 0) {
			errno = saved_errno;
			return libc()->writev(fd, vector, (int)count);
		}
		int error = errno;
		int answer = is_at_risk(call) ? renew_after_failure(&process_pool, call, fd,
							flags & MSG_DONTWAIT)
					      : RENEW_NOT;
		if (conclude(answer, error, &result))
			result = 0;
		else if (answer == RENEW_NOT && error == EPIPE && !(flags & MSG_NOSIGNAL))
			return libc()->sendmsg(fd, &message, flags);
	}
	return result;
}
