/* proto=raw and off: what rules prescribe for the connections of a service point. */
#include "tests/unit/program.h"

static void point_settings_of(long off, long proto)
{
	struct settings settings = settings_default();

	settings.point.off = off;
	settings.point.proto = proto;
	pool_with(settings);
}

static void check_books(void)
{
	expect_books_in_order();
}

TestSuite(raw, .fini = check_books);

static bool is_parked_after(const char *sent, const char *received)
{
	int fd = connected_to(1);

	if (sent)
		send_bytes(fd, sent, strlen(sent));
	if (received)
		receive_bytes(fd, received, strlen(received));
	close_socket(fd);
	return pool.parked_count == 1;
}

Test(raw, whatever_it_is_is_parked_where_a_rule_says_raw)
{
	static const char *const exchanges[][2] = {
		{"anything", "whatever"},
		{"\x16\x03\x01", "\x16\x03\x01"},
	};

	for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
		point_settings_of(0, PROTO_RAW);
		cr_expect(is_parked_after(exchanges[i][0], exchanges[i][1]), "%zu", i);
		cr_expect_str_eq(pool.points.used->protocol, "raw");
		point_settings_of(0, PROTO_AUTO);
		cr_expect_not(is_parked_after(exchanges[i][0], exchanges[i][1]), "%zu", i);
	}
}

/* S: the program sends, R: it receives. */
static enum refusal refusal_after(const char *steps)
{
	point_settings_of(0, PROTO_RAW);
	int fd = connected_to(1);

	for (; *steps; steps++)
		if (*steps == 'S')
			send_bytes(fd, "?", 1);
		else
			receive_bytes(fd, "!", 1);
	enum refusal refusal = connection_verdict(connection_on(fd), pool_fork_epoch(&pool));
	close_socket(fd);
	return refusal;
}

Test(raw, nobody_gets_the_answer_to_anothers_question)
{
	static const struct {
		const char *steps;
		enum refusal refusal;
	} exchanges[] = {
		{"", REFUSED_UNUSED},
		{"S", REFUSED_BUSY},
		{"SR", REFUSED_NOT},
		{"SSRR", REFUSED_NOT},
		{"SRS", REFUSED_BUSY},
		{"SRSR", REFUSED_NOT},
		{"R", REFUSED_SERVER_FIRST},
		{"RSR", REFUSED_SERVER_FIRST},
		{"RS", REFUSED_SERVER_FIRST},
	};

	for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
		cr_expect_eq(refusal_after(exchanges[i].steps), exchanges[i].refusal, "%s",
			exchanges[i].steps);
		cr_expect_eq(pool.parked_count, exchanges[i].refusal == REFUSED_NOT);
	}
}

Test(raw, an_answer_of_the_use_before_does_not_count)
{
	point_settings_of(0, PROTO_RAW);
	int fd = connected_to(1);

	exchange(fd);
	close_socket(fd);
	fd = connected_to(1);
	cr_expect_eq(pool.stats.reused, 1);
	send_bytes(fd, "?", 1);
	close_socket(fd);
	cr_expect_eq(pool.stats.refused[REFUSED_BUSY], 1);
}

Test(raw, the_kernel_has_the_last_word)
{
	point_settings_of(0, PROTO_RAW);
	int fd = connected_to(1);

	exchange(fd);
	fake_socket_on(fd)->info.tcpi_bytes_received = 1;
	close_socket(fd);
	cr_expect_eq(pool.stats.refused[REFUSED_LEDGER], 1);
}

Test(raw, http_is_http_also_where_its_first_bytes_are_not)
{
	point_settings_of(0, PROTO_HTTP);
	cr_expect_not(is_parked_after("\x01\x02", NULL));
	cr_expect_eq(pool.stats.refused[REFUSED_MALFORMED], 1);
	cr_expect(is_parked_after(REQUEST, ANSWER));
}

Test(raw, off_is_never_parked_and_never_taken)
{
	point_settings_of(1, PROTO_AUTO);
	cr_expect_not(is_parked_after(REQUEST, ANSWER));
	cr_expect_eq(pool.stats.refused[REFUSED_RULE], 1);
	point_settings_of(0, PROTO_AUTO);
	cr_expect(is_parked_after(REQUEST, ANSWER));
	pool.points.used->settings.off = 1;
	connected_to(1);
	cr_expect_eq(pool.stats.reused, 0);
}

Test(raw, each_service_points_connections_expire_in_its_own_time)
{
	point_settings_of(0, PROTO_AUTO);
	use_and_close(1);
	use_and_close(2);
	pool.points.used->settings.idle_ms = 10; /* number 2 was the last */
	pool.points_differ = true;
	fake.now_ms += 11;
	use_and_close(3);
	cr_expect_eq(pool.stats.discarded[DISCARDED_IDLE], 1);
	cr_expect_eq(pool.parked_count, 2);
}
