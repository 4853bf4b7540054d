#include "pool/proof.h"
#include "tests/unit/fake_os.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define SENT     100
#define RECEIVED 200

static struct connection connection;
static int fd;

/* A connection that may be parked: everything sent was acknowledged, everything received seen. */
static void setup(void)
{
	fd = fake_socket();
	connection_reset(&connection, AF_INET, 0, 0);
	connection.sent = SENT;
	connection.received = RECEIVED;
	connection.cookie = fake_socket_on(fd)->cookie;
	fake_socket_on(fd)->info = (struct tcp_info){
		.tcpi_state = FAKE_ESTABLISHED,
		.tcpi_bytes_acked = SENT + 1,
		.tcpi_bytes_received = RECEIVED,
	};
}

TestSuite(proof, .init = setup);

Test(proof, the_cookie_is_the_kernels_and_zero_if_there_is_none)
{
	cr_expect_eq(proof_cookie(&fake_os, fd), fake_socket_on(fd)->cookie);
	cr_expect_eq(proof_cookie(&fake_os, fd + 1), 0);
	fake.error[FAKE_GET_OPTION] = -ENOTSOCK;
	cr_expect_eq(proof_cookie(&fake_os, fd), 0);
}

Test(proof, a_connection_was_made_if_its_syn_was_acknowledged)
{
	static const struct {
		const char *claim;
		uint8_t state;
		uint64_t acked;
		bool expected;
	} rows[] = {
		{"established", FAKE_ESTABLISHED, 1, true},
		{"closed by the peer since", FAKE_CLOSE_WAIT, 101, true},
		{"reset since", FAKE_CLOSE, 1, true},
		{"refused", FAKE_CLOSE, 0, false},
		{"still under way", FAKE_SYN_SENT, 0, false},
		{"still under way, with data acknowledged by an earlier life", FAKE_SYN_SENT, 1,
			false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		fake_socket_on(fd)->info.tcpi_state = rows[i].state;
		fake_socket_on(fd)->info.tcpi_bytes_acked = rows[i].acked;
		cr_expect_eq(proof_connected(&fake_os, fd), rows[i].expected, "%s", rows[i].claim);
	}
	fake.error[FAKE_GET_OPTION] = -ENOTSOCK;
	cr_expect_not(proof_connected(&fake_os, fd));
}

Test(proof, a_clean_connection_may_be_parked)
{
	cr_expect_eq(proof_before_parking(&fake_os, &connection, fd), REFUSED_NOT);
}

struct ledger_row {
	const char *claim;
	uint8_t state;
	uint64_t acked, received;
	uint32_t unacked, unsent;
	enum refusal expected;
};

Test(proof, every_byte_that_the_kernel_counts_must_have_been_seen)
{
	static const struct ledger_row rows[] = {
		{"all is well", FAKE_ESTABLISHED, SENT + 1, RECEIVED, 0, 0, REFUSED_NOT},
		{"more received than seen", FAKE_ESTABLISHED, SENT + 1, RECEIVED + 1, 0, 0,
			REFUSED_LEDGER},
		{"less received than seen", FAKE_ESTABLISHED, SENT + 1, RECEIVED - 1, 0, 0,
			REFUSED_LEDGER},
		{"more sent than seen", FAKE_ESTABLISHED, SENT + 2, RECEIVED, 0, 0, REFUSED_LEDGER},
		{"less sent than seen", FAKE_ESTABLISHED, SENT, RECEIVED, 0, 0, REFUSED_LEDGER},
		{"the SYN counts as one", FAKE_ESTABLISHED, SENT, RECEIVED, 0, 0, REFUSED_LEDGER},
		{"a segment is unacknowledged", FAKE_ESTABLISHED, SENT + 1, RECEIVED, 1, 0,
			REFUSED_LEDGER},
		{"a byte is unsent", FAKE_ESTABLISHED, SENT + 1, RECEIVED, 0, 1, REFUSED_LEDGER},
		{"the peer sent a FIN", FAKE_CLOSE_WAIT, SENT + 1, RECEIVED, 0, 0, REFUSED_CLOSING},
		{"the peer reset it", FAKE_CLOSE, SENT + 1, RECEIVED, 0, 0, REFUSED_CLOSING},
		{"it is still being made", FAKE_SYN_SENT, SENT + 1, RECEIVED, 0, 0,
			REFUSED_CLOSING},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		fake_socket_on(fd)->info = (struct tcp_info){
			.tcpi_state = rows[i].state,
			.tcpi_bytes_acked = rows[i].acked,
			.tcpi_bytes_received = rows[i].received,
			.tcpi_unacked = rows[i].unacked,
			.tcpi_notsent_bytes = rows[i].unsent,
		};
		enum refusal refusal = proof_before_parking(&fake_os, &connection, fd);
		cr_expect_eq(
			refusal, rows[i].expected, "%s: %s", rows[i].claim, refusal_word(refusal));
	}
}

Test(proof, a_kernel_that_does_not_know_the_unsent_bytes_proves_nothing)
{
	socklen_t needed = offsetof(struct tcp_info, tcpi_notsent_bytes) + sizeof(uint32_t);

	fake_socket_on(fd)->info_size = needed;
	cr_expect_eq(proof_before_parking(&fake_os, &connection, fd), REFUSED_NOT);
	fake_socket_on(fd)->info_size = needed - 1;
	cr_expect_eq(proof_before_parking(&fake_os, &connection, fd), REFUSED_LEDGER);
	cr_expect_not(proof_connected(&fake_os, fd));
}

Test(proof, a_kernel_that_does_not_say_tcp_info_proves_nothing)
{
	fake.error[FAKE_GET_OPTION] = -EOPNOTSUPP;
	fake.skip[FAKE_GET_OPTION] = 1;
	cr_expect_eq(proof_before_parking(&fake_os, &connection, fd), REFUSED_LEDGER);
}

Test(proof, another_socket_on_the_number_is_not_this_connection)
{
	struct tcp_info clean = fake_socket_on(fd)->info;

	fake_replace(fd);
	fake_socket_on(fd)->info = clean;
	cr_expect_eq(proof_before_parking(&fake_os, &connection, fd), REFUSED_IDENTITY);
}

Test(proof, without_a_cookie_there_is_no_identity)
{
	connection.cookie = 0;
	cr_expect_eq(proof_before_parking(&fake_os, &connection, fd), REFUSED_IDENTITY);
	fake.error[FAKE_GET_OPTION] = -ENOPROTOOPT;
	cr_expect_eq(proof_before_parking(&fake_os, &connection, fd), REFUSED_IDENTITY,
		"no cookie is not equal to no cookie");
}

Test(proof, a_connection_that_signals_is_not_parked)
{
	fake_socket_on(fd)->status_flags |= O_ASYNC;
	cr_expect_eq(proof_before_parking(&fake_os, &connection, fd), REFUSED_ASYNC_OWNER);
	fake_socket_on(fd)->status_flags &= ~O_ASYNC;
	fake.error[FAKE_GET_STATUS_FLAGS] = -EBADF;
	cr_expect_eq(proof_before_parking(&fake_os, &connection, fd), REFUSED_ASYNC_OWNER);
}

Test(proof, only_a_quiet_connection_is_reused)
{
	static const struct {
		const char *claim;
		int peek;
		bool expected;
		enum discard why;
	} rows[] = {
		{"quiet", -EAGAIN, true, 0},
		{"a byte came that nobody asked for", 1, false, DISCARDED_UNSOLICITED},
		{"the peer closed it", 0, false, DISCARDED_DEAD},
		{"the peer reset it", -ECONNRESET, false, DISCARDED_DEAD},
		{"it timed out", -ETIMEDOUT, false, DISCARDED_DEAD},
	};

	atomic_store(&connection.hidden, fd);
	for (size_t i = 0; i < COUNT(rows); i++) {
		enum discard why = 0;

		fake_socket_on(fd)->peek = rows[i].peek;
		cr_expect_eq(proof_before_reuse(&fake_os, &connection, &why), rows[i].expected,
			"%s", rows[i].claim);
		cr_expect_eq(why, rows[i].why, "%s: %s", rows[i].claim, discard_word(why));
	}
}

Test(proof, one_that_somebody_else_used_while_it_was_parked_is_not_reused)
{
	enum discard why = 0;

	atomic_store(&connection.hidden, fd);
	fake_socket_on(fd)->info.tcpi_bytes_received++;
	cr_expect_not(proof_before_reuse(&fake_os, &connection, &why));
	cr_expect_eq(why, DISCARDED_LEDGER);
	fake_socket_on(fd)->info.tcpi_bytes_received--;
	fake_socket_on(fd)->info.tcpi_bytes_acked++;
	cr_expect_not(proof_before_reuse(&fake_os, &connection, &why));
	cr_expect_eq(why, DISCARDED_LEDGER);
}

Test(proof, a_fresh_socket_is_one_that_was_not_connected)
{
	fake_socket_on(fd)->info.tcpi_state = FAKE_CLOSE;
	cr_expect(proof_fresh(&fake_os, &connection, fd));
	fake_socket_on(fd)->info.tcpi_state = FAKE_ESTABLISHED;
	cr_expect_not(proof_fresh(&fake_os, &connection, fd));
	fake_socket_on(fd)->info.tcpi_state = FAKE_CLOSE;
	fake_replace(fd);
	cr_expect_not(proof_fresh(&fake_os, &connection, fd));
}

Test(proof, a_hidden_number_that_is_another_socket_or_none_is_not_looked_into)
{
	enum discard why = 0;

	atomic_store(&connection.hidden, fd);
	fake_replace(fd);
	cr_expect_not(proof_before_reuse(&fake_os, &connection, &why));
	cr_expect_eq(why, DISCARDED_IDENTITY);
	fake_close(fd);
	cr_expect_not(proof_before_reuse(&fake_os, &connection, &why));
	cr_expect_eq(why, DISCARDED_IDENTITY);
	cr_expect_eq(fake.calls[FAKE_PEEK], 0);
}
