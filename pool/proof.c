#include "pool/proof.h"

#include <asm/socket.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>

#include "pool/reset.h"

/* The kernel's numbers: include/net/tcp_states.h, not exported where linux/tcp.h is used. */
#define STATE_ESTABLISHED 1
#define STATE_SYN_SENT    2
#define STATE_CLOSE       7

uint64_t proof_cookie(const struct pool_os *os, int fd)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	if (os->get_option(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) < 0)
		return 0;
	return cookie;
}

static bool tcp_info(const struct pool_os *os, int fd, struct tcp_info *info)
{
	socklen_t size = sizeof(*info);

	/* tcpi_notsent_bytes is the youngest member used here: Linux 4.6. */
	return os->get_option(fd, IPPROTO_TCP, TCP_INFO, info, &size) == 0 &&
	       size >= offsetof(struct tcp_info, tcpi_notsent_bytes) +
			       sizeof(info->tcpi_notsent_bytes);
}

bool proof_fresh(const struct pool_os *os, const struct connection *fresh, int fd)
{
	struct tcp_info info;

	return proof_cookie(os, fd) == fresh->cookie && tcp_info(os, fd, &info) &&
	       info.tcpi_state == STATE_CLOSE;
}

bool proof_connected(const struct pool_os *os, int fd)
{
	struct tcp_info info;

	/* A connection that was made has had its SYN acknowledged, whatever became of it. */
	return tcp_info(os, fd, &info) && info.tcpi_state != STATE_SYN_SENT &&
	       info.tcpi_bytes_acked > 0;
}

struct proof_flow proof_flow(const struct pool_os *os, const struct connection *connection, int fd)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);

	/* tcpi_bytes_retrans is the youngest member used here: Linux 4.19. */
	if (os->get_option(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ||
		size < offsetof(struct tcp_info, tcpi_bytes_retrans) +
				sizeof(info.tcpi_bytes_retrans))
		return (struct proof_flow){.open = false};
	/* What was written is what was sent, once, and what waits to be. */
	uint64_t written = info.tcpi_bytes_sent - info.tcpi_bytes_retrans + info.tcpi_notsent_bytes;
	return (struct proof_flow){
		.all_sent_seen = written == connection->sent,
		/* The SYN is counted, too: see check_ledger(). */
		.heard = info.tcpi_bytes_acked > connection->sent_before + 1,
		.open = info.tcpi_state == STATE_ESTABLISHED,
		/* So is the peer's FIN: tcp_data_queue() in net/ipv4/tcp_input.c. */
		.quiet = info.tcpi_bytes_received == connection->received ||
			 (info.tcpi_state != STATE_ESTABLISHED &&
				 info.tcpi_bytes_received == connection->received + 1),
	};
}

/* confirmed: the server has acknowledged all; else it is going to be asked for an answer, which
 * will say so. */
static enum refusal check_ledger(
	const struct pool_os *os, const struct connection *connection, int fd, bool confirmed)
{
	struct tcp_info info;

	if (!tcp_info(os, fd, &info))
		return REFUSED_LEDGER;
	if (info.tcpi_state != STATE_ESTABLISHED)
		return REFUSED_CLOSING;
	/* tcpi_bytes_acked counts the SYN as one: RFC 4898, tcpEStatsAppHCThruOctetsAcked, and
	 * tcp_ack() in net/ipv4/tcp_input.c. */
	bool balanced = info.tcpi_bytes_received == connection->received &&
			(confirmed ? info.tcpi_bytes_acked == connection->sent + 1
				   : proof_flow(os, connection, fd).all_sent_seen);
	bool settled = !confirmed || (info.tcpi_unacked == 0 && info.tcpi_notsent_bytes == 0);
	return balanced && settled ? REFUSED_NOT : REFUSED_LEDGER;
}

enum refusal proof_before_parking(
	const struct pool_os *os, const struct connection *connection, int fd)
{
	if (connection->cookie == 0 || proof_cookie(os, fd) != connection->cookie)
		return REFUSED_IDENTITY;
	int flags = os->get_status_flags(fd);
	if (flags < 0 || flags & O_ASYNC)
		return REFUSED_ASYNC_OWNER;
	return check_ledger(os, connection, fd, !reset_helps(connection));
}

bool proof_before_reuse(
	const struct pool_os *os, const struct connection *connection, enum discard *why)
{
	int hidden = atomic_load_explicit(&connection->hidden, memory_order_relaxed);

	if (proof_cookie(os, hidden) != connection->cookie) {
		*why = DISCARDED_IDENTITY;
		return false;
	}
	int next = os->peek(hidden);
	if (next != -EAGAIN) {
		*why = next > 0 ? DISCARDED_UNSOLICITED : DISCARDED_DEAD;
		return false;
	}
	/* A second holder, that was made unseen, may have used it. */
	if (check_ledger(os, connection, hidden, true) == REFUSED_NOT)
		return true;
	*why = DISCARDED_LEDGER;
	return false;
}
