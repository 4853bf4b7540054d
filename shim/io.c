/* The calls that move bytes: the trackers see what they see, the ledger counts what they count.
 *
 * Each wrapper: enter the descriptor, call the real function, say what moved.
 */

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/sendfile.h>

#include "pool/layout.h"
#include "pool/renew.h"
#include "shim/io.h"
#include "shim/libc.h"
#include "shim/memory.h"
#include "shim/process.h"
#include "shim/renewal.h"
#include "shim/waits.h"

/* Flags that make a receiving call move no bytes of the stream, or bytes that are not of it. */
#define RECEIVES_NOTHING (MSG_PEEK)
#define RECEIVES_UNSEEN  (MSG_TRUNC) /* tcp(7): the bytes are thrown away */
#define RECEIVES_ODDLY   (MSG_OOB | MSG_ERRQUEUE)
#define SENT_MOST        0x7ffff000 /* MAX_RW_COUNT: what is more, the kernel cuts off or refuses */
#define SENDS_ODDLY      (MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN)

static bool note_moved(
	struct call call, enum direction direction, const struct iovec *vector, size_t total)
{
	if (direction == SENT && is_at_risk(call))
		return renew_sent(&process_pool, call, vector, total);
	return connection_moved(call, direction, vector, total);
}

COLD static void moved(
	struct call call, enum direction direction, const struct iovec *vector, ssize_t total)
{
	process_leave(call, total > 0 && note_moved(call, direction, vector, (size_t)total));
}

COLD static bool again_at_risk(
	struct call *call, int fd, int flags, const void *buf, ssize_t *result)
{
	const struct iovec vector = {
		.iov_base = (void *)buf,
		.iov_len = *result > 0 ? (size_t)*result : 0,
	};

	return renewal_after_receiving(call, fd, flags, &vector, result);
}

/* Is a call that received so much into a buffer of the program's to be made again? */
static inline bool again(struct call *call, int fd, int flags, const void *buf, ssize_t *result)
{
	return may_be_made_again(*call) && again_at_risk(call, fd, flags, buf, result);
}

COLD static void received(struct call call, const void *buf, ssize_t len, int flags)
{
	const struct iovec vector = {.iov_base = (void *)buf, .iov_len = (size_t)len};

	if (flags & RECEIVES_ODDLY)
		connection_refuse(call.connection, REFUSED_SPECIAL_IO);
	if (flags & (RECEIVES_NOTHING | RECEIVES_ODDLY))
		process_leave(call, false);
	else
		moved(call, RECEIVED, flags & RECEIVES_UNSEEN ? NULL : &vector, len);
}

static void sent_vector(struct call call, const struct iovec *vector, ssize_t len, int flags)
{
	if (flags & SENDS_ODDLY)
		connection_refuse(call.connection, REFUSED_SPECIAL_IO);
	moved(call, SENT, vector, len);
}

COLD static void sent(struct call call, const void *buf, ssize_t len, int flags)
{
	const struct iovec vector = {.iov_base = (void *)buf, .iov_len = (size_t)len};

	sent_vector(call, &vector, len, flags);
}

/* QUIT to redis, and the like: pool/deferral.h. Of one who sends it in pieces, or by a vector, it
 * is not held back. */
COLD static bool goodbye_is_deferred(
	struct call call, int fd, const void *buf, size_t len, int flags)
{
	if (!connection_may_say_goodbye(call.connection, len) ||
		flags & ~(MSG_NOSIGNAL | MSG_DONTWAIT) || !memory_is_readable(buf, len) ||
		!waits_allow_deferral() || !deferral_of_goodbye(&process_pool, call, fd, buf, len))
		return false;
	waits_check_deferral(call, fd);
	connection_leave(call);
	return true;
}

/* All that is sent on a connection at risk goes one of these ways. */
COLD static ssize_t send_at_risk(
	struct call call, int fd, const struct iovec *vector, size_t count, int flags)
{
	ssize_t result = renewal_send(&call, fd, vector, count, flags);

	sent_vector(call, vector, result, flags);
	return result;
}

COLD static ssize_t send_buffer_at_risk(
	struct call call, int fd, const void *buf, size_t len, int flags)
{
	ssize_t result = renewal_send_buffer(&call, fd, buf, len, flags);

	sent(call, buf, result, flags);
	return result;
}

/* ---- receiving ---- */

/* Where the bytes of a receiving call go. A copy, as what is received may overwrite the program's
 * own vector. */
struct places {
	struct iovec vector[8];
	size_t count;
	bool known; /* else there are more, or the memory is not there, as the kernel will say */
};

COLD static void note_places(struct places *places, const struct iovec *vector, size_t count)
{
	places->known =
		count > 0 && count <= 8 && memory_is_readable(vector, count * sizeof(*vector));
	places->count = count;
	for (size_t i = 0; places->known && i < count; i++)
		places->vector[i] = vector[i];
}

ssize_t read(int fd, void *buf, size_t len)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	ssize_t result;
	do
		result = libc()->read(fd, buf, len);
	while (again(&call, fd, 0, buf, &result));
	if (call.connection)
		received(call, buf, result, 0);
	return result;
}

INTERPOSED_AS(read, __read);

ssize_t __read_chk(int fd, void *buf, size_t len, size_t room)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	ssize_t result;
	do
		result = libc()->__read_chk(fd, buf, len, room);
	while (again(&call, fd, 0, buf, &result));
	if (call.connection)
		received(call, buf, result, 0);
	return result;
}

/* The vector for what was received; NULL where it was not seen, or where the program has changed
 * its own meanwhile. */
COLD static const struct iovec *places_of(const struct places *places, ssize_t received)
{
	size_t room = 0;

	if (!places->known)
		return NULL;
	for (size_t i = 0; i < places->count; i++)
		room += places->vector[i].iov_len;
	return received > 0 && (size_t)received > room ? NULL : places->vector;
}

ssize_t readv(int fd, const struct iovec *vector, int count)
{
	struct call call = fdtable_enter(fd);
	struct places places;

	if (call.hidden)
		return process_bad_descriptor_here();
	if (!call.connection)
		return libc()->readv(fd, vector, count);
	note_places(&places, vector, (size_t)count);
	ssize_t result;
	do
		result = libc()->readv(fd, vector, count);
	while (renewed_after_receiving(&call, fd, 0, places_of(&places, result), &result));
	moved(call, RECEIVED, places_of(&places, result), result);
	return result;
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	ssize_t result;
	do
		result = libc()->recv(fd, buf, len, flags);
	while (again(&call, fd, flags, buf, &result));
	if (call.connection)
		received(call, buf, result, flags);
	return result;
}

COLD ssize_t __recv_chk(int fd, void *buf, size_t len, size_t room, int flags)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	ssize_t result;
	do
		result = libc()->__recv_chk(fd, buf, len, room, flags);
	while (again(&call, fd, flags, buf, &result));
	if (call.connection)
		received(call, buf, result, flags);
	return result;
}

ssize_t recvfrom(int fd, void *restrict buf, size_t len, int flags, struct sockaddr *restrict from,
	socklen_t *restrict from_len)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	ssize_t result;
	do
		result = libc()->recvfrom(fd, buf, len, flags, from, from_len);
	while (again(&call, fd, flags, buf, &result));
	if (call.connection)
		received(call, buf, result, flags);
	return result;
}

COLD ssize_t __recvfrom_chk(int fd, void *restrict buf, size_t len, size_t room, int flags,
	struct sockaddr *restrict from, socklen_t *restrict from_len)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	ssize_t result;
	do
		result = libc()->__recvfrom_chk(fd, buf, len, room, flags, from, from_len);
	while (again(&call, fd, flags, buf, &result));
	if (call.connection)
		received(call, buf, result, flags);
	return result;
}

COLD static void received_message(
	struct call call, const struct places *places, ssize_t len, int flags)
{
	if (flags & RECEIVES_ODDLY)
		connection_refuse(call.connection, REFUSED_SPECIAL_IO);
	if (len <= 0 || flags & (RECEIVES_NOTHING | RECEIVES_ODDLY))
		return;
	const struct iovec *vector = flags & RECEIVES_UNSEEN ? NULL : places_of(places, len);
	if (connection_moved(call, RECEIVED, vector, (size_t)len))
		pool_release(&process_pool, call.connection);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	struct call call = fdtable_enter(fd);
	struct places places = {.known = false};

	if (call.hidden)
		return process_bad_descriptor_here();
	if (!call.connection) {
		process_ensure_room_for_many();
		return libc()->recvmsg(fd, message, flags);
	}
	if (memory_is_readable(message, sizeof(*message)))
		note_places(&places, message->msg_iov, message->msg_iovlen);
	ssize_t result;
	do
		result = libc()->recvmsg(fd, message, flags);
	while (renewed_after_receiving(&call, fd, flags, places_of(&places, result), &result));
	received_message(call, &places, result, flags);
	connection_leave(call);
	return result;
}

/* As renewed_after_receiving(): the first message is what came first. */
COLD static bool renewed_after_message(
	struct call *call, int fd, int flags, const struct mmsghdr *messages, int *result)
{
	ssize_t some = *result > 0 ? (ssize_t)messages[0].msg_len : *result;
	bool again = renewed_after_receiving(call, fd, flags, NULL, &some);

	if (some < 0)
		*result = -1;
	return again;
}

COLD int recvmmsg(
	int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
	static const struct places unseen = {.known = false};
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	if (!call.connection)
		process_ensure_room_for_many();
	int result = libc()->recvmmsg(fd, messages, count, flags, timeout);
	if (!call.connection)
		return result;
	while (is_at_risk(call) && renewed_after_message(&call, fd, flags, messages, &result))
		result = libc()->recvmmsg(fd, messages, count, flags, timeout);
	/* Nobody uses it on TCP, so nobody is worse off for it. */
	for (int i = 0; i < result; i++)
		received_message(call, &unseen, messages[i].msg_len, flags);
	connection_leave(call);
	return result;
}

/* ---- sending ---- */

ssize_t write(int fd, const void *buf, size_t len)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	if (call.connection && goodbye_is_deferred(call, fd, buf, len, 0))
		return (ssize_t)len;
	if (is_at_risk(call) && len <= SENT_MOST)
		return send_buffer_at_risk(call, fd, buf, len, 0);
	ssize_t result = libc()->write(fd, buf, len);
	if (call.connection)
		sent(call, buf, result, 0);
	return result;
}

INTERPOSED_AS(write, __write);

ssize_t writev(int fd, const struct iovec *vector, int count)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	if (is_at_risk(call) && count > 0 && count <= IOV_MAX)
		return send_at_risk(call, fd, vector, (size_t)count, 0);
	ssize_t result = libc()->writev(fd, vector, count);
	if (call.connection)
		moved(call, SENT, vector, result);
	return result;
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	if (call.connection && goodbye_is_deferred(call, fd, buf, len, flags))
		return (ssize_t)len;
	if (is_at_risk(call) && len <= SENT_MOST && !(flags & SENDS_ODDLY))
		return send_buffer_at_risk(call, fd, buf, len, flags);
	ssize_t result = libc()->send(fd, buf, len, flags);
	if (call.connection)
		sent(call, buf, result, flags);
	return result;
}

INTERPOSED_AS(send, __send);

ssize_t sendto(
	int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t to_len)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	/* On a connection TCP does not look at an address, but at whether it is there. */
	if (call.connection && !to && goodbye_is_deferred(call, fd, buf, len, flags))
		return (ssize_t)len;
	if (is_at_risk(call) && len <= SENT_MOST && !(flags & SENDS_ODDLY) &&
		(!to || to_len == 0 || memory_is_readable(to, to_len)))
		return send_buffer_at_risk(call, fd, buf, len, flags);
	ssize_t result = libc()->sendto(fd, buf, len, flags, to, to_len);
	if (call.connection)
		sent(call, buf, result, flags);
	return result;
}

void io_note_passed_descriptors(const struct msghdr *message)
{
	/* CMSG_NXTHDR() wants it so, but changes nothing. */
	struct msghdr *control = (struct msghdr *)message;
	const char *end = (const char *)message->msg_control + message->msg_controllen;

	for (struct cmsghdr *header = CMSG_FIRSTHDR(control); header;
		header = CMSG_NXTHDR(control, header)) {
		/* Where the kernel has not looked, or not yet. */
		if (header->cmsg_len < CMSG_LEN(0) ||
			header->cmsg_len > (size_t)(end - (const char *)header))
			return;
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		const int *numbers = (const int *)(void *)CMSG_DATA(header);
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			struct call passed = fdtable_enter(numbers[i]);
			if (!passed.connection)
				continue;
			connection_refuse(passed.connection, REFUSED_DUPLICATED);
			connection_leave(passed);
		}
	}
}

/* A message has been sent, so the kernel has read all of it. */
static void sent_message(struct call call, const struct msghdr *message, ssize_t len, int flags)
{
	if (message->msg_controllen > 0)
		io_note_passed_descriptors(message);
	if (!call.connection)
		return;
	/* Ancillary data to a TCP socket asks for time stamps and the like. */
	if (flags & SENDS_ODDLY || message->msg_controllen > 0)
		connection_refuse(call.connection, REFUSED_SPECIAL_IO);
	if (len > 0 && note_moved(call, SENT, message->msg_iov, (size_t)len))
		pool_release(&process_pool, call.connection);
}

/* What is nothing but a vector can be sent once more. */
COLD static ssize_t sendmsg_of(struct call *call, int fd, const struct msghdr *message, int flags)
{
	bool plain = is_at_risk(*call) && memory_is_readable(message, sizeof(*message)) &&
		     (!message->msg_name || message->msg_namelen == 0 ||
			     memory_is_readable(message->msg_name, message->msg_namelen)) &&
		     message->msg_controllen == 0 && message->msg_iovlen > 0 &&
		     !(flags & SENDS_ODDLY);

	return plain ? renewal_send(call, fd, message->msg_iov, message->msg_iovlen, flags)
		     : libc()->sendmsg(fd, message, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	ssize_t result = sendmsg_of(&call, fd, message, flags);
	if (result >= 0)
		sent_message(call, message, result, flags);
	if (call.connection)
		connection_leave(call);
	return result;
}

COLD int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor_here();
	if (is_at_risk(call) && !renewal_before_sending(&call, fd)) {
		connection_leave(call);
		return -1;
	}
	int result = libc()->sendmmsg(fd, messages, count, flags);
	for (int i = 0; i < result; i++)
		sent_message(call, &messages[i].msg_hdr, messages[i].msg_len, flags);
	if (call.connection)
		connection_leave(call);
	return result;
}

/* ---- unseen ---- */

ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
	struct call call = fdtable_enter(out);

	if (call.hidden)
		return process_bad_descriptor();
	if (is_at_risk(call) && !renewal_before_sending(&call, out)) {
		connection_leave(call);
		return -1;
	}
	ssize_t result = libc()->sendfile(out, in, offset, count);
	if (call.connection)
		moved(call, SENT, NULL, result);
	return result;
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t count)
{
	struct call call = fdtable_enter(out);

	if (call.hidden)
		return process_bad_descriptor();
	if (is_at_risk(call) && !renewal_before_sending(&call, out)) {
		connection_leave(call);
		return -1;
	}
	ssize_t result = libc()->sendfile64(out, in, offset, count);
	if (call.connection)
		moved(call, SENT, NULL, result);
	return result;
}

COLD ssize_t splice(
	int in, off64_t *in_offset, int out, off64_t *out_offset, size_t len, unsigned flags)
{
	struct call from = fdtable_enter(in), to = fdtable_enter(out);
	bool may_send = !is_at_risk(to) || renewal_before_sending(&to, out);
	ssize_t result = -1;

	if (from.hidden || to.hidden)
		process_bad_descriptor_here();
	else if (may_send)
		do
			result = libc()->splice(in, in_offset, out, out_offset, len, flags);
		while (renewed_after_receiving(&from, in, 0, NULL, &result));
	if (from.connection)
		moved(from, RECEIVED, NULL, result);
	if (to.connection)
		moved(to, SENT, NULL, result);
	return result;
}
