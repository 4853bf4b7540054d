#include "tests/unit/conversations.h"

#include "pool/trackers/memcached.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define KEY_50  "0123456789012345678901234567890123456789abcdefghij"
#define KEY_250 KEY_50 KEY_50 KEY_50 KEY_50 KEY_50

/* ---- text ---- */

struct exchange_row {
	const char *command;
	const char *answers[10]; /* every one that it may have, errors aside */
};

#define STORING  "STORED\r\n", "NOT_STORED\r\n", "EXISTS\r\n", "NOT_FOUND\r\n"
#define COUNTING "0\r\n", "18446744073709551615\r\n", "NOT_FOUND\r\n"
#define STATS    "END\r\n", "STAT pid 1\r\nSTAT version 1.6.18 (x)\r\nEND\r\n"

/* clang-format off */
static const struct exchange_row exchanges[] = {
	{"get a\r\n", {"END\r\n", "VALUE a 0 2\r\nhi\r\nEND\r\n"}},
	{"get a b " KEY_250 "\r\n", {
		"END\r\n", "VALUE a 0 2\r\nhi\r\nEND\r\n",
		"VALUE a 4294967295 0\r\n\r\nVALUE " KEY_250 " 1 5\r\nEND\r\n\r\nEND\r\n"}},
	{"get  a \r\n", {"END\r\n"}},
	{"get a\n", {"END\r\n"}},
	{"get \xc3\xa4\r\n", {"END\r\n", "VALUE \xc3\xa4 0 1\r\nx\r\nEND\r\n"}},
	{"gets a\r\n", {"END\r\n", "VALUE a 0 2 18446744073709551615\r\nhi\r\nEND\r\n"}},
	{"gat 0 a b\r\n", {"END\r\n", "VALUE a 0 2\r\nhi\r\nEND\r\n"}},
	{"gats -1 a\r\n", {"END\r\n", "VALUE a 0 2 7\r\nhi\r\nEND\r\n"}},
	{"set a 0 0 2\r\nhi\r\n", {STORING}},
	{"set a 4294967295 2147483647 0\r\n\r\n", {STORING}},
	{"set a 0 -1 9\nget a\r\n\r\n\r\n", {STORING}},
	{"add a 0 0 2\r\nhi\r\n", {STORING}},
	{"replace a 0 0 2\r\nhi\r\n", {STORING}},
	{"append a 0 0 2\r\nhi\r\n", {STORING}},
	{"prepend a 0 0 2\r\nhi\r\n", {STORING}},
	{"cas a 0 0 2 18446744073709551615\r\nhi\r\n", {STORING}},
	{"delete a\r\n", {"DELETED\r\n", "NOT_FOUND\r\n"}},
	{"delete a 0\r\n", {"DELETED\r\n", "NOT_FOUND\r\n"}},
	{"incr a 1\r\n", {COUNTING}},
	{"decr a 18446744073709551615\r\n", {COUNTING}},
	{"touch a 100\r\n", {"TOUCHED\r\n", "NOT_FOUND\r\n"}},
	{"flush_all\r\n", {"OK\r\n"}},
	{"flush_all 10\r\n", {"OK\r\n"}},
	{"verbosity 1\r\n", {"OK\r\n"}},
	{"version\r\n", {"VERSION 1.6.18\r\n"}},
	{"stats\r\n", {STATS}},
	{"stats items\r\n", {STATS}},
	{"stats slabs\r\n", {STATS}},
	{"stats settings\r\n", {STATS}},
	{"stats sizes\r\n", {STATS}},
	{"stats conns\r\n", {STATS}},
	{"stats reset\r\n", {"RESET\r\n"}},
	{"mg a\r\n", {"HD\r\n", "EN\r\n", "VA 2\r\nhi\r\n"}},
	{"mg YQ== b k v O12 s t\r\n", {
		"HD f0\r\n", "EN kYQ== b O12\r\n", "VA 4 kYQ== b O12 s4 t-1 W\r\nHD\r\n\r\n"}},
	{"ms a 2\r\nhi\r\n", {"HD\r\n", "NS\r\n", "EX\r\n", "NF O1\r\n"}},
	{"ms a 0 T30 ME c\r\n\r\n", {"HD c5\r\n", "NS\r\n", "EX\r\n", "NF\r\n"}},
	{"md a I T30\r\n", {"HD\r\n", "NF\r\n", "EX\r\n"}},
	{"ma a N0 J5 D2 v\r\n", {
		"HD\r\n", "NF\r\n", "NS\r\n", "EX\r\n", "VA 1 t5\r\n7\r\n"}},
	{"me a\r\n", {"EN\r\n", "ME a exp=-1 la=2 cas=3 fetch=no cls=1 size=66\r\n"}},
	{"me YQ== b\r\n", {"EN\r\n", "ME YQ== exp=-1\r\n"}},
	{"mn\r\n", {"MN\r\n"}},
};

static const char *const every_answer[] = {
	"END\r\n", "VALUE a 0 2\r\nhi\r\nEND\r\n", "VALUE a 0 2 7\r\nhi\r\nEND\r\n", STORING,
	"DELETED\r\n", "TOUCHED\r\n", "OK\r\n", "VERSION 1.6.18\r\n",
	"STAT pid 1\r\nSTAT version 1.6.18 (x)\r\nEND\r\n", "RESET\r\n", "HD\r\n", "EN\r\n",
	"NF\r\n", "NS\r\n", "EX\r\n", "VA 2\r\nhi\r\n", "ME a exp=-1\r\n", "MN\r\n", "0\r\n",
};
/* clang-format on */

static struct conversation exchange_of(const char *command, const char *answer, const char *verdict)
{
	return (struct conversation){
		command, {{'>', command, strlen(command)}, {'<', answer, strlen(answer)}}, verdict};
}

static struct tracker_facts facts_of(const void *state)
{
	return memcached_tracker.facts(state);
}

static const char *verdict_word(const void *state)
{
	return refusal_word(memcached_tracker.verdict(state));
}

static void tell(void *state, char direction, const char *bytes)
{
	feed_piece(&memcached_tracker, state, direction, bytes, strlen(bytes));
}

Test(memcached, every_command_is_over_with_any_answer_that_it_may_have)
{
	for (size_t i = 0; i < COUNT(exchanges); i++) {
		for (size_t j = 0; exchanges[i].answers[j]; j++) {
			const struct conversation told =
				exchange_of(exchanges[i].command, exchanges[i].answers[j], "none");

			expect_verdict_however_cut(&memcached_tracker, &told);
		}
	}
}

/* What comes before the last byte is not enough, and a byte more is too much. */
Test(memcached, an_answer_ends_where_it_ends)
{
	for (size_t i = 0; i < COUNT(exchanges); i++) {
		for (size_t j = 0; exchanges[i].answers[j]; j++) {
			struct conversation told =
				exchange_of(exchanges[i].command, exchanges[i].answers[j], "busy");
			const size_t whole = told.steps[1].len;

			for (told.steps[1].len = 0; told.steps[1].len < whole; told.steps[1].len++)
				expect_verdict(
					&memcached_tracker, &told, (struct cut){.piece = SIZE_MAX});
			told.steps[1].len = whole;
			told.steps[2] = (struct step)RECEIVED("E");
			told.verdict = "unsolicited";
			expect_verdict_however_cut(&memcached_tracker, &told);
		}
	}
}

/* The same answer with another's number of fields is another answer. */
static bool may_have(const struct exchange_row *row, const char *answer)
{
	const size_t word = strcspn(answer, " \r");
	const bool value = strncmp(answer, "VALUE", 5) == 0;
	const bool cas = strstr(answer, " 7\r") != NULL,
		   wants_cas = strchr(row->command, 's') && row->command[0] == 'g';

	if (value)
		return row->command[0] == 'g' && cas == wants_cas;
	for (size_t i = 0; row->answers[i]; i++) {
		if (strncmp(row->answers[i], answer, word + 1) == 0 ||
			(word <= 2 && strncmp(row->answers[i], answer, word) == 0 &&
				strchr(" \r", row->answers[i][word])))
			return true;
	}
	return false;
}

Test(memcached, no_command_has_anothers_answer)
{
	unsigned others = 0;

	for (size_t i = 0; i < COUNT(exchanges); i++) {
		for (size_t j = 0; j < COUNT(every_answer); j++) {
			struct conversation told =
				exchange_of(exchanges[i].command, every_answer[j], "malformed");

			if (may_have(&exchanges[i], every_answer[j]))
				continue;
			expect_verdict_however_cut(&memcached_tracker, &told);
			others++;
		}
	}
	cr_expect_gt(others, COUNT(exchanges) * 10);
}

Test(memcached, after_an_error_the_connection_is_not_used_again)
{
	static const char *const errors[] = {"ERROR\r\n", "CLIENT_ERROR bad data chunk\r\n",
		"SERVER_ERROR object too large for cache\r\n", "ERROR", "CLIENT_ERROR unauthent"};

	for (size_t i = 0; i < COUNT(exchanges); i++) {
		for (size_t j = 0; j < COUNT(errors); j++) {
			struct conversation told = exchange_of(exchanges[i].command, errors[j],
				strchr(errors[j], '\n') || strchr(errors[j], ' ')
					? "unknown_command"
					: "busy");

			expect_verdict_however_cut(&memcached_tracker, &told);
			told.steps[2] = (struct step)SENT("mn\r\n");
			told.steps[3] = (struct step)RECEIVED("MN\r\n");
			told.verdict = j == 3 ? "malformed" : "unknown_command";
			expect_verdict_however_cut(&memcached_tracker, &told);
		}
	}
}

/* clang-format off */
static const struct conversation refused_commands[] = {
	{"watch", {SENT("watch fetchers\r\n")}, "unknown_command"},
	{"shutdown", {SENT("shutdown\r\n")}, "unknown_command"},
	{"lru_crawler", {SENT("lru_crawler metadump all\r\n")}, "unknown_command"},
	{"slabs", {SENT("slabs reassign 1 2\r\n")}, "unknown_command"},
	{"a word longer than any", {SENT("cache_memlimit 8\r\n")}, "unknown_command"},
	{"lru", {SENT("lru mode flat\r\n")}, "unknown_command"},
	{"extstore", {SENT("extstore item_size 1\r\n")}, "unknown_command"},
	{"refresh_certs", {SENT("refresh_certs\r\n")}, "unknown_command"},
	{"misbehave", {SENT("misbehave\r\n")}, "unknown_command"},
	{"bget", {SENT("bget a\r\n")}, "unknown_command"},
	{"a meta command that there is not", {SENT("mz a\r\n")}, "unknown_command"},
	{"the beginning of a word", {SENT("ge a\r\n")}, "unknown_command"},
	{"a word and more", {SENT("getx a\r\n")}, "unknown_command"},
	{"upper case", {SENT("GET a\r\n")}, "malformed"},
	{"an empty line", {SENT("\r\n")}, "unknown_command"},
	{"a space first", {SENT(" get a\r\n")}, "unknown_command"},
	{"after a good one", {
		SENT("get a\r\n"), RECEIVED("END\r\n"), SENT("watch\r\n"), RECEIVED("OK\r\n")},
		"unknown_command"},
	{"statistics in detail", {SENT("stats detail on\r\n")}, "unknown_command"},
	{"a dump", {SENT("stats cachedump 1 1\r\n")}, "unknown_command"},
	{"two subjects", {SENT("stats items slabs\r\n")}, "malformed"},
	{"TLS", {SENT("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")}, "malformed"},
	{"HTTP", {SENT("GET / HTTP/1.1\r\n")}, "malformed"},
	{"RESP", {SENT("*1\r\n$4\r\nPING\r\n")}, "malformed"},
	{"quit", {SENT("quit\r\n")}, "said_goodbye"},
	{"quit with arguments", {SENT("quit now\r\n")}, "malformed"},
	{"quit after a command", {
		SENT("get a\r\n"), RECEIVED("END\r\n"), SENT("quit\r\n")}, "said_goodbye"},
	{"quit before an answer", {
		SENT("get a\r\nquit\r\n"), RECEIVED("END\r\n")}, "said_goodbye"},
	{"what follows quit", {SENT("quit\r\nwatch\r\n\xff")}, "said_goodbye"},
};

static const struct conversation malformed_commands[] = {
	{"no key", {SENT("get\r\n")}, "malformed"},
	{"no key but a space", {SENT("get \r\n")}, "malformed"},
	{"a key of 251 bytes", {SENT("get " KEY_250 "x\r\n")}, "malformed"},
	{"the second key of 251 bytes", {SENT("get a " KEY_250 "x\r\n")}, "malformed"},
	{"a tab", {SENT("get a\tb\r\n")}, "malformed"},
	{"a NUL", {SENT("get a\0b\r\n")}, "malformed"},
	{"a CR", {SENT("get a\rb\r\n")}, "malformed"},
	{"two CRs", {SENT("get a\r\r\n")}, "malformed"},
	{"DEL", {SENT("get \x7f\r\n")}, "malformed"},
	{"gat without a key", {SENT("gat 0\r\n")}, "malformed"},
	{"gat without a time", {SENT("gat a b\r\n")}, "malformed"},
	{"a command that takes no arguments", {SENT("mn a\r\n")}, "malformed"},
	{"a version of something", {SENT("version 1\r\n")}, "malformed"},
	{"set without a length", {SENT("set a 0 0\r\n")}, "malformed"},
	{"set with a word for a length", {SENT("set a 0 0 noreply\r\n")}, "malformed"},
	{"flags that are no number", {SENT("set a x 0 2\r\nhi\r\n")}, "malformed"},
	{"flags below zero", {SENT("set a -1 0 2\r\nhi\r\n")}, "malformed"},
	{"flags beyond 32 bits", {SENT("set a 4294967296 0 2\r\nhi\r\n")}, "malformed"},
	{"a time that is none", {SENT("set a 0 x 2\r\nhi\r\n")}, "malformed"},
	{"a time that is only a sign", {SENT("set a 0 - 2\r\nhi\r\n")}, "malformed"},
	{"a time with two signs", {SENT("set a 0 --1 2\r\nhi\r\n")}, "malformed"},
	{"a time with a plus", {SENT("set a 0 +1 2\r\nhi\r\n")}, "malformed"},
	{"a time beyond 32 bits", {SENT("set a 0 2147483648 2\r\nhi\r\n")}, "malformed"},
	{"a length below zero", {SENT("set a 0 0 -1\r\nhi\r\n")}, "malformed"},
	{"a length beyond what there can be", {SENT("set a 0 0 2147483646\r\n")}, "length"},
	{"a length beyond 64 bits", {SENT("set a 0 0 18446744073709551618\r\n")}, "malformed"},
	{"an argument too many", {SENT("set a 0 0 2 x\r\nhi\r\n")}, "malformed"},
	{"half of noreply", {SENT("set a 0 0 2 nore\r\nhi\r\n")}, "malformed"},
	{"noreply and more", {SENT("set a 0 0 2 noreplyx\r\nhi\r\n")}, "malformed"},
	{"noreply twice", {SENT("set a 0 0 2 noreply noreply\r\nhi\r\n")}, "malformed"},
	{"something after noreply", {SENT("delete a noreply 0\r\n")}, "malformed"},
	{"noreply where there is none", {SENT("version noreply\r\n")}, "malformed"},
	{"no noreply for meta commands", {SENT("md a 0\r\n")}, "malformed"},
	{"cas without its number", {SENT("cas a 0 0 2\r\nhi\r\n")}, "malformed"},
	{"cas with noreply for its number", {SENT("cas a 0 0 2 noreply\r\nhi\r\n")}, "malformed"},
	{"the time of delete", {SENT("delete a 1\r\n")}, "malformed"},
	{"incr by no number", {SENT("incr a b\r\n")}, "malformed"},
	{"incr below zero", {SENT("incr a -1\r\n")}, "malformed"},
	{"incr beyond 64 bits", {SENT("incr a 18446744073709551616\r\n")}, "malformed"},
	{"verbosity of nothing", {SENT("verbosity noreply\r\n")}, "malformed"},
	{"ms without a length", {SENT("ms a\r\n")}, "malformed"},
	{"ms with the length of old", {SENT("ms a S2\r\nhi\r\n")}, "malformed"},
	{"a flag that is no letter", {SENT("mg a 1\r\n")}, "malformed"},
	{"me with a flag", {SENT("me a v\r\n")}, "malformed"},
	{"me with b twice", {SENT("me a bb\r\n")}, "malformed"},
	{"data that is too long", {SENT("set a 0 0 2\r\nhiX\r\n")}, "malformed"},
	{"data that is too short", {SENT("set a 0 0 4\r\nhi\r\nget a\r\n")}, "malformed"},
	{"data that ends without CR", {SENT("set a 0 0 2\r\nhi\n")}, "malformed"},
	{"data that ends without LF", {SENT("set a 0 0 2\r\nhi\rx")}, "malformed"},
};

static const struct conversation odd_answers[] = {
	{"a server that speaks first", {RECEIVED("ERROR Too many open connections\r\n")},
		"unsolicited"},
	{"an answer to nothing", {
		SENT("mn\r\n"), RECEIVED("MN\r\n"), RECEIVED("MN\r\n")}, "unsolicited"},
	{"an answer while the line is sent", {SENT("get a"), RECEIVED("E")}, "early_response"},
	{"an answer while the data is sent", {
		SENT("set a 0 0 5\r\nhi"), RECEIVED("SERVER_ERROR object too large\r\n")},
		"early_response"},
	{"lower case", {SENT("get a\r\n"), RECEIVED("end\r\n")}, "malformed"},
	{"a binary answer", {SENT("get a\r\n"), RECEIVED("\x81")}, "malformed"},
	{"an error of redis", {SENT("get a\r\n"), RECEIVED("-ERR\r\n")}, "malformed"},
	{"the beginning of a word", {SENT("get a\r\n"), RECEIVED("EN\r\n")}, "malformed"},
	{"a word and more", {SENT("get a\r\n"), RECEIVED("ENDS\r\n")}, "malformed"},
	{"a word longer than any", {SENT("get a\r\n"), RECEIVED("CLIENT_ERRORS")}, "malformed"},
	{"an empty line", {SENT("get a\r\n"), RECEIVED("\r\n")}, "malformed"},
	{"a line without CR", {SENT("get a\r\n"), RECEIVED("END\n")}, "malformed"},
	{"a line with more in it", {SENT("get a\r\n"), RECEIVED("END x\r\n")}, "malformed"},
	{"a CR that is none", {SENT("get a\r\n"), RECEIVED("END\rx")}, "malformed"},
	{"a value without its length", {
		SENT("get a\r\n"), RECEIVED("VALUE a 0\r\n")}, "malformed"},
	{"a value whose length is none", {
		SENT("get a\r\n"), RECEIVED("VALUE a 0 x\r\n")}, "malformed"},
	{"a value whose length is too great", {
		SENT("get a\r\n"), RECEIVED("VALUE a 0 2147483646\r\n")}, "length"},
	{"a value that is too long", {
		SENT("get a\r\n"), RECEIVED("VALUE a 0 2\r\nhix")}, "malformed"},
	{"a value that goes on after CR", {
		SENT("get a\r\n"), RECEIVED("VALUE a 0 2\r\nhi\rx")}, "malformed"},
	{"a number to get", {SENT("get a\r\n"), RECEIVED("1\r\n")}, "malformed"},
	{"a number with a letter", {SENT("incr a 1\r\n"), RECEIVED("1A\r\n")}, "malformed"},
	{"a letter with a number", {SENT("incr a 1\r\n"), RECEIVED("A1\r\n")}, "malformed"},
	{"a number beyond 64 bits", {
		SENT("incr a 1\r\n"), RECEIVED("18446744073709551616\r\n")}, "malformed"},
	{"two numbers", {SENT("incr a 1\r\n"), RECEIVED("1 1\r\n")}, "malformed"},
	{"a flag that is no letter", {SENT("mg a\r\n"), RECEIVED("HD 1\r\n")}, "malformed"},
	{"a control byte in a statistic", {
		SENT("stats\r\n"), RECEIVED("STAT a \x01\r\nEND\r\n")}, "malformed"},
};

static const struct conversation pipelines[] = {
	{"two commands, one answer", {SENT("mn\r\nmn\r\n"), RECEIVED("MN\r\n")}, "busy"},
	{"two commands, two answers", {SENT("mn\r\nmn\r\n"), RECEIVED("MN\r\nMN\r\n")}, "none"},
	{"two commands, three answers", {
		SENT("mn\r\nmn\r\n"), RECEIVED("MN\r\nMN\r\nMN\r\n")}, "unsolicited"},
	{"different ones, in their order", {
		SENT("get a\r\nset a 0 0 1\r\nx\r\nversion\r\nincr a 1\r\n"),
		RECEIVED("VALUE a 0 5\r\nEND\r\n\r\nEND\r\nSTORED\r\nVERSION 1\r\n5\r\n")}, "none"},
	{"different ones, in another order", {
		SENT("get a\r\nversion\r\n"), RECEIVED("VERSION 1\r\nEND\r\n")}, "malformed"},
	{"a value where statistics are due", {
		SENT("get a\r\nstats\r\n"), RECEIVED("VALUE a 0 1\r\nx\r\nSTAT a b\r\n")},
		"malformed"},
	{"an answer to the first while the second is sent", {
		SENT("get a\r\nset a 0 0 5\r\nhe"), RECEIVED("END\r\n"), SENT("llo\r\n"),
		RECEIVED("STORED\r\n")}, "none"},
	{"half a line", {SENT("get a\r\nge"), RECEIVED("END\r\n")}, "busy"},
	{"half an answer", {SENT("mn\r\n"), RECEIVED("M"), SENT("mn\r\n"),
		RECEIVED("N\r\nMN\r\n")}, "none"},
	{"a command after the exchange", {SENT("mn\r\n"), RECEIVED("MN\r\n"), SENT("m")}, "busy"},
};

static const struct conversation silences[] = {
	{"noreply", {SENT("set a 0 0 2 noreply\r\nhi\r\n")}, "state"},
	{"noreply of them all", {
		SENT("add a 0 0 1 noreply\r\nx\r\nreplace a 0 0 1 noreply\r\nx\r\n"
		     "append a 0 0 1 noreply\r\nx\r\nprepend a 0 0 1 noreply\r\nx\r\n"
		     "cas a 0 0 1 5 noreply\r\nx\r\ndelete a noreply\r\ndelete a 0 noreply\r\n"
		     "incr a 1 noreply\r\ndecr a 1 noreply\r\ntouch a 0 noreply\r\n"
		     "flush_all noreply\r\nflush_all 0 noreply\r\nverbosity 1 noreply\r\n")},
		"state"},
	{"a key of that name is none", {
		SENT("delete noreply\r\n"), RECEIVED("NOT_FOUND\r\n")}, "none"},
	{"an answer after noreply", {
		SENT("set a 0 0 2 noreply\r\nhi\r\n"), SENT("mn\r\n"), RECEIVED("MN\r\n")}, "none"},
	{"noreply after an answer", {
		SENT("mn\r\n"), SENT("delete a noreply\r\n"), RECEIVED("MN\r\n")}, "state"},
	{"noreply before and after", {
		SENT("delete a noreply\r\nmn\r\ndelete a noreply\r\n"), RECEIVED("MN\r\n")}, "state"},
	{"an answer to noreply", {
		SENT("delete a noreply\r\n"), RECEIVED("DELETED\r\n")}, "unsolicited"},
	{"an answer to noreply where another is due", {
		SENT("delete a noreply\r\nmn\r\n"), RECEIVED("DELETED\r\n")}, "malformed"},
	{"an error after noreply", {
		SENT("delete a noreply\r\n"), RECEIVED("ERROR\r\n")}, "unknown_command"},
	{"a noreply in sending", {SENT("set a 0 0 2 noreply\r\nhi\r")}, "busy"},
	{"a quiet get", {SENT("mg a v q\r\n")}, "state"},
	{"a quiet get that is answered", {
		SENT("mg a v q\r\n"), RECEIVED("VA 2\r\nhi\r\n")}, "none"},
	{"a quiet get whose answer is not all there", {
		SENT("mg a v q\r\n"), RECEIVED("VA 2\r\nh")}, "busy"},
	{"a quiet get twice answered", {
		SENT("mg a v q\r\n"), RECEIVED("HD\r\nHD\r\n")}, "unsolicited"},
	{"quiet gets, some answered, and the end", {
		SENT("mg a v q k\r\nmg b v q k\r\nmg c v q k\r\nmn\r\n"),
		RECEIVED("VA 1 kb\r\nx\r\nMN\r\n")}, "none"},
	{"quiet gets without the end", {
		SENT("mg a v q k\r\nmg b v q k\r\nmn\r\n"), RECEIVED("VA 1 kb\r\nx\r\n")}, "busy"},
	{"the first of two quiet ones has answered, or the second", {
		SENT("mg a q\r\nmg b q\r\n"), RECEIVED("HD\r\n")}, "state"},
	{"more answers than quiet commands", {
		SENT("mg a q\r\nmg b q\r\nmn\r\n"), RECEIVED("HD\r\nHD\r\nHD\r\n")}, "malformed"},
	{"an answer that the one that must have one may not have had", {
		SENT("mg a q\r\nmg b\r\n"), RECEIVED("HD\r\n")}, "busy"},
	{"an answer that passes by quiet ones", {
		SENT("mg a q\r\nms a 1 q\r\nx\r\nmd a q\r\nma a q\r\nget a\r\n"),
		RECEIVED("NS\r\nEX\r\nVA 1\r\n5\r\nEND\r\n")}, "none"},
	{"an answer that passes by one that must have one", {
		SENT("md a q\r\nmg b\r\nmd a q\r\n"), RECEIVED("NF\r\nNF\r\n")}, "malformed"},
	{"a key that looks like it", {SENT("mg q\r\n"), RECEIVED("EN\r\n")}, "none"},
};

static const struct conversation unseen[] = {
	{"data", {SENT("set a 0 0 5\r\n"), SENT_UNSEEN(5), SENT("\r\n"),
		RECEIVED("STORED\r\n")}, "authenticated"},
	{"data once it is known that no login is wanted", {
		SENT("mn\r\n"), RECEIVED("MN\r\n"), SENT("set a 0 0 5\r\n"), SENT_UNSEEN(5),
		SENT("\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"the end of data", {SENT("set a 0 0 5\r\n"), SENT_UNSEEN(7)}, "unseen"},
	{"a command", {SENT_UNSEEN(7)}, "unseen"},
	{"a key", {SENT("get "), SENT_UNSEEN(1)}, "unseen"},
	{"a value", {SENT("get a\r\n"), RECEIVED("VALUE a 0 5\r\n"), RECEIVED_UNSEEN(5),
		RECEIVED("\r\nEND\r\n")}, "none"},
	{"the value of a meta command", {SENT("mg a v\r\n"), RECEIVED("VA 5\r\n"),
		RECEIVED_UNSEEN(4), RECEIVED("x\r\n")}, "none"},
	{"the end of a value", {SENT("get a\r\n"), RECEIVED("VALUE a 0 5\r\n"),
		RECEIVED_UNSEEN(7)}, "unseen"},
	{"an answer", {SENT("get a\r\n"), RECEIVED_UNSEEN(5)}, "unseen"},
	{"an answer to nothing", {RECEIVED_UNSEEN(5)}, "unseen"},
};

#define LONG_50  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG_254 LONG_50 LONG_50 LONG_50 LONG_50 LONG_50 "xxxx"

static const struct conversation logins[] = {
	{"a user and a password", {
		SENT("set x 0 0 9\r\nuser pass\r\n"), RECEIVED("STORED\r\n")}, "authenticated"},
	{"before it is answered it may be no login", {
		SENT("set x 0 0 9\r\nuser pass\r\n")}, "busy"},
	{"and more words", {
		SENT("set x 0 0 10\r\n a  b  c d\r\n"), RECEIVED("STORED\r\n")}, "authenticated"},
	{"a password with a colon", {
		SENT("set x 0 0 5\r\na b:c\r\n"), RECEIVED("STORED\r\n")}, "authenticated"},
	{"the longest words", {
		SENT("set x 0 0 509\r\n" LONG_254 " " LONG_254 "\r\n"), RECEIVED("STORED\r\n")},
		"authenticated"},
	{"a user longer than any", {
		SENT("set x 0 0 257\r\nx" LONG_254 " y\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"a password longer than any", {
		SENT("set x 0 0 257\r\ny x" LONG_254 "\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"a user with a colon", {
		SENT("set x 0 0 8\r\n{\"a\": 1}\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"a user in two lines", {
		SENT("set x 0 0 5\r\na\nb c\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"a password in two lines", {
		SENT("set x 0 0 5\r\na b\nc\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"a password that ends in CR", {
		SENT("set x 0 0 4\r\na b\r\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"a user with CR", {
		SENT("set x 0 0 5\r\na\rb c\r\n"), RECEIVED("STORED\r\n")}, "authenticated"},
	{"a word", {SENT("set x 0 0 4\r\nword\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"a word and a space", {SENT("set x 0 0 5\r\nword \r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"a space and a word", {SENT("set x 0 0 5\r\n word\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"nothing", {SENT("set x 0 0 0\r\n\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"spaces", {SENT("set x 0 0 3\r\n   \r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"a login is not stored conditionally", {
		SENT("set x 0 0 3\r\na b\r\n"), RECEIVED("NOT_STORED\r\n")}, "authenticated"},
	{"nor by other commands", {
		SENT("add x 0 0 3\r\na b\r\n"), RECEIVED("STORED\r\n")}, "none"},
	{"after an answer it is none", {
		SENT("get x\r\n"), RECEIVED("END\r\n"), SENT("set x 0 0 3\r\na b\r\n"),
		RECEIVED("STORED\r\n")}, "none"},
	{"after a command whose answer comes before it is none", {
		SENT("get x\r\nset x 0 0 3\r\na b\r\n"), RECEIVED("END\r\nSTORED\r\n")}, "none"},
	{"after a value that can be no login it is none", {
		SENT("set x 0 0 1\r\na\r\nset x 0 0 3\r\na b\r\n"),
		RECEIVED("STORED\r\nSTORED\r\n")}, "none"},
	{"after noreply it is one", {
		SENT("delete x noreply\r\n"), SENT("set x 0 0 3\r\na b\r\n"),
		RECEIVED("STORED\r\n")}, "authenticated"},
	{"one that is not right", {
		SENT("set x 0 0 3\r\na b\r\n"),
		RECEIVED("CLIENT_ERROR authentication failure\r\n")}, "unknown_command"},
	{"what comes after a login", {
		SENT("set x 0 0 3\r\na b\r\n"), RECEIVED("STORED\r\n"), SENT("get x\r\n"),
		RECEIVED("END\r\n")}, "authenticated"},
	{"noreply is no answer to a login", {
		SENT("set x 0 0 3 noreply\r\na b\r\n"), RECEIVED("STORED\r\n")}, "authenticated"},
	{"nor is what comes after it", {
		SENT("set x 0 0 3 noreply\r\na b\r\n"), SENT("set y 0 0 1\r\nx\r\n"),
		RECEIVED("STORED\r\n")}, "authenticated"},
	{"noreply that is not answered is none", {
		SENT("set x 0 0 3 noreply\r\na b\r\n"), SENT("get x\r\n"),
		RECEIVED("END\r\n")}, "none"},
	{"noreply that is answered though nothing wants a login", {
		SENT("get x\r\n"), SENT("set x 0 0 3 noreply\r\na b\r\n"), RECEIVED("END\r\n"),
		RECEIVED("STORED\r\n")}, "authenticated"},
};
/* clang-format on */

#define EXPECT_VERDICTS(table)                                                                     \
	for (size_t i = 0; i < COUNT(table); i++)                                                  \
	expect_verdict_however_cut(&memcached_tracker, &(table)[i])

Test(memcached, unknown_commands_and_goodbyes_are_refused)
{
	EXPECT_VERDICTS(refused_commands);
}

Test(memcached, malformed_commands_are_refused)
{
	EXPECT_VERDICTS(malformed_commands);
}

Test(memcached, odd_answers_are_refused)
{
	EXPECT_VERDICTS(odd_answers);
}

Test(memcached, pipelines_are_answered_in_order)
{
	EXPECT_VERDICTS(pipelines);
}

Test(memcached, silence_is_known_only_by_a_later_answer)
{
	EXPECT_VERDICTS(silences);
}

Test(memcached, only_data_may_move_unseen)
{
	EXPECT_VERDICTS(unseen);
}

Test(memcached, a_set_that_may_be_a_login_binds_the_connection)
{
	EXPECT_VERDICTS(logins);
}

Test(memcached, nothing_is_unused)
{
	static const struct conversation nothing = {"nothing at all", {{0}}, "unused"};

	expect_verdict(&memcached_tracker, &nothing, (struct cut){.piece = SIZE_MAX});
}

Test(memcached, lines_are_bounded)
{
	static char line[70000];
	_Alignas(max_align_t) uint8_t state[TRACKER_STATE_MAX] = {0};

	for (size_t i = 0; i < sizeof(line); i++)
		line[i] = i % 100 ? 'k' : ' ';
	memcpy(line, "get ", 4);
	memcpy(line + 60000, "\r\n", 3);
	tell(state, '>', line);
	cr_expect_str_eq(verdict_word(state), "busy");
	tell(state, '<', "END\r\n");
	cr_expect_str_eq(verdict_word(state), "none", "many keys");

	memcpy(line + 60000, "kkk", 3);
	line[69999] = '\0';
	tell(state, '>', line);
	cr_expect_str_eq(verdict_word(state), "length", "too many keys");

	memset(state, 0, sizeof(state));
	line[2100] = '\0';
	memcpy(line, "mg a  ", 6);
	tell(state, '>', line);
	cr_expect_str_eq(verdict_word(state), "length", "too many flags");

	memset(state, 0, sizeof(state));
	memcpy(line, "STAT a", 6);
	tell(state, '>', "stats\r\n");
	tell(state, '<', line);
	cr_expect_str_eq(verdict_word(state), "length", "too long a statistic");
}

/* Commands of one kind are counted together; how many kinds may alternate is bounded. */
Test(memcached, more_than_can_be_remembered_is_refused_not_forgotten)
{
	_Alignas(max_align_t) uint8_t state[TRACKER_STATE_MAX] = {0};

	for (unsigned i = 0; i < 100000; i++)
		tell(state, '>', "mn\r\n");
	for (unsigned i = 0; i < 100000; i++) {
		cr_assert_str_eq(verdict_word(state), "busy", "%u", i);
		tell(state, '<', "MN\r\n");
	}
	cr_expect_str_eq(verdict_word(state), "none");

	for (unsigned i = 0; i < 10; i++)
		tell(state, '>', "mn\r\nversion\r\n");
	for (unsigned i = 0; i < 10; i++)
		tell(state, '<', "MN\r\nVERSION 1\r\n");
	cr_expect_str_eq(verdict_word(state), "none");

	for (unsigned i = 0; i < 11; i++)
		tell(state, '>', "mn\r\nversion\r\n");
	for (unsigned i = 0; i < 11; i++)
		tell(state, '<', "MN\r\nVERSION 1\r\n");
	cr_expect_str_eq(verdict_word(state), "busy");
	cr_expect(facts_of(state).lost);
}

/* ---- binary ---- */

/* A message, its head and three bytes after that the lengths of which are less than 256. */
#define REQUEST(opcode, key, extras, body)                                                         \
	"\x80" opcode "\0" key extras "\0\0\0\0\0\0" body "\0\0\0\x07\0\0\0\0\0\0\0\0"
#define ANSWER_STATUS(opcode, key, extras, status, body)                                           \
	"\x81" opcode "\0" key extras "\0\0" status "\0\0\0" body "\0\0\0\x07\0\0\0\0\0\0\0\x05"
#define ANSWER(opcode, key, extras, body) ANSWER_STATUS(opcode, key, extras, "\0", body)
#define DONE(opcode)                      ANSWER(opcode, "\0", "\0", "\0")
#define MISSED(opcode)                    ANSWER_STATUS(opcode, "\0", "\0", "\x01", "\x09") "Not found"

#define GET_A      REQUEST("\0", "\x01", "\0", "\x01") "a"
#define GETQ_A     REQUEST("\x09", "\x01", "\0", "\x01") "a"
#define GETKQ_A    REQUEST("\x0d", "\x01", "\0", "\x01") "a"
#define SET_A      REQUEST("\x01", "\x01", "\x08", "\x0b") "\0\0\0\0\0\0\0\0ahi"
#define SETQ_A     REQUEST("\x11", "\x01", "\x08", "\x0b") "\0\0\0\0\0\0\0\0ahi"
#define NOOP       REQUEST("\x0a", "\0", "\0", "\0")
#define STAT_ALL   REQUEST("\x10", "\0", "\0", "\0")
#define HIT        ANSWER("\0", "\0", "\x04", "\x06") "\0\0\0\0hi"
#define HIT_Q      ANSWER("\x09", "\0", "\x04", "\x06") "\0\0\0\0hi"
#define HIT_KQ     ANSWER("\x0d", "\x01", "\x04", "\x07") "\0\0\0\0ahi"
#define STAT_LINE  ANSWER("\x10", "\x03", "\0", "\x05") "pid12"
#define INCR(code) REQUEST(code, "\x01", "\x14", "\x15") "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a"

/* clang-format off */
static const struct conversation binary[] = {
	{"get", {SENT(GET_A), RECEIVED(HIT)}, "none"},
	{"get, missed", {SENT(GET_A), RECEIVED(MISSED("\0"))}, "none"},
	{"getk", {SENT(REQUEST("\x0c", "\x01", "\0", "\x01") "a"),
		RECEIVED(ANSWER("\x0c", "\x01", "\x04", "\x07") "\0\0\0\0ahi")}, "none"},
	{"set", {SENT(SET_A), RECEIVED(DONE("\x01"))}, "none"},
	{"set, exists", {SENT(SET_A),
		RECEIVED(ANSWER_STATUS("\x01", "\0", "\0", "\x02", "\x02") "no")}, "none"},
	{"set of nothing", {SENT(REQUEST("\x01", "\x01", "\x08", "\x09") "\0\0\0\0\0\0\0\0a"),
		RECEIVED(DONE("\x01"))}, "none"},
	{"add", {SENT(REQUEST("\x02", "\x01", "\x08", "\x0b") "\0\0\0\0\0\0\0\0ahi"),
		RECEIVED(DONE("\x02"))}, "none"},
	{"replace", {SENT(REQUEST("\x03", "\x01", "\x08", "\x0b") "\0\0\0\0\0\0\0\0ahi"),
		RECEIVED(MISSED("\x03"))}, "none"},
	{"append", {SENT(REQUEST("\x0e", "\x01", "\0", "\x03") "ahi"),
		RECEIVED(ANSWER_STATUS("\x0e", "\0", "\0", "\x05", "\0"))}, "none"},
	{"prepend", {SENT(REQUEST("\x0f", "\x01", "\0", "\x03") "ahi"),
		RECEIVED(DONE("\x0f"))}, "none"},
	{"delete", {SENT(REQUEST("\x04", "\x01", "\0", "\x01") "a"),
		RECEIVED(DONE("\x04"))}, "none"},
	{"increment", {SENT(INCR("\x05")),
		RECEIVED(ANSWER("\x05", "\0", "\0", "\x08") "\0\0\0\0\0\0\0\x01")}, "none"},
	{"decrement, not a number", {SENT(INCR("\x06")),
		RECEIVED(ANSWER_STATUS("\x06", "\0", "\0", "\x06", "\x02") "no")}, "none"},
	{"flush", {SENT(REQUEST("\x08", "\0", "\0", "\0")), RECEIVED(DONE("\x08"))}, "none"},
	{"flush in a while", {SENT(REQUEST("\x08", "\0", "\x04", "\x04") "\0\0\0\x05"),
		RECEIVED(DONE("\x08"))}, "none"},
	{"no-op", {SENT(NOOP), RECEIVED(DONE("\x0a"))}, "none"},
	{"version", {SENT(REQUEST("\x0b", "\0", "\0", "\0")),
		RECEIVED(ANSWER("\x0b", "\0", "\0", "\x05") "1.6.1")}, "none"},
	{"touch", {SENT(REQUEST("\x1c", "\x01", "\x04", "\x05") "\0\0\0\0a"),
		RECEIVED(ANSWER("\x1c", "\0", "\x04", "\x04") "\0\0\0\0")}, "none"},
	{"gat", {SENT(REQUEST("\x1d", "\x01", "\x04", "\x05") "\0\0\0\0a"),
		RECEIVED(ANSWER("\x1d", "\0", "\x04", "\x06") "\0\0\0\0hi")}, "none"},
	{"gatk", {SENT(REQUEST("\x23", "\x01", "\x04", "\x05") "\0\0\0\0a"),
		RECEIVED(ANSWER("\x23", "\x01", "\x04", "\x07") "\0\0\0\0ahi")}, "none"},
	{"statistics", {SENT(STAT_ALL), RECEIVED(STAT_LINE STAT_LINE DONE("\x10"))}, "none"},
	{"statistics without their end", {SENT(STAT_ALL), RECEIVED(STAT_LINE)}, "busy"},
	{"statistics of nothing", {SENT(REQUEST("\x10", "\x01", "\0", "\x01") "x"),
		RECEIVED(MISSED("\x10"))}, "none"},
	{"something else within statistics", {SENT(STAT_ALL NOOP),
		RECEIVED(STAT_LINE DONE("\x0a"))}, "malformed"},
	{"the first byte", {SENT("\x80")}, "busy"},
	{"a header", {SENT(REQUEST("\0", "\x01", "\0", "\x01"))}, "busy"},
	{"without its answer", {SENT(GET_A)}, "busy"},
	{"an answer's header", {SENT(GET_A), RECEIVED(ANSWER("\0", "\0", "\x04", "\x06"))}, "busy"},
	{"two, of which one is answered", {SENT(GET_A NOOP), RECEIVED(HIT)}, "busy"},
	{"two, in order", {SENT(GET_A NOOP), RECEIVED(HIT DONE("\x0a"))}, "none"},
	{"two, out of order", {SENT(GET_A NOOP), RECEIVED(DONE("\x0a") HIT)}, "malformed"},
	{"one answer too many", {SENT(GET_A), RECEIVED(HIT HIT)}, "unsolicited"},
	{"an answer first", {RECEIVED(HIT)}, "unsolicited"},
	{"an answer before its request is sent", {
		SENT("\x80"), RECEIVED("\x81")}, "early_response"},
};

static const struct conversation binary_silences[] = {
	{"a quiet set", {SENT(SETQ_A)}, "state"},
	{"a quiet set that fails", {SENT(SETQ_A), RECEIVED(MISSED("\x11"))}, "none"},
	{"a quiet set that is answered twice", {
		SENT(SETQ_A), RECEIVED(MISSED("\x11") MISSED("\x11"))}, "unsolicited"},
	{"a quiet set, and a no-op", {SENT(SETQ_A NOOP), RECEIVED(DONE("\x0a"))}, "none"},
	{"a no-op, and a quiet set", {SENT(NOOP SETQ_A), RECEIVED(DONE("\x0a"))}, "state"},
	{"quiet gets and a no-op", {
		SENT(GETKQ_A GETKQ_A GETKQ_A NOOP), RECEIVED(HIT_KQ HIT_KQ DONE("\x0a"))}, "none"},
	{"quiet gets, and no end yet", {
		SENT(GETKQ_A GETKQ_A NOOP), RECEIVED(HIT_KQ)}, "busy"},
	{"quiet gets, and a get", {SENT(GETQ_A GETQ_A GET_A), RECEIVED(HIT_Q HIT)}, "none"},
	{"a quiet answer after the get", {
		SENT(GETQ_A GET_A), RECEIVED(HIT HIT_Q)}, "unsolicited"},
	{"a quiet answer for another", {SENT(GETQ_A GET_A), RECEIVED(HIT_KQ)}, "malformed"},
	{"an answer of the loud kind to a quiet one", {
		SENT(GETQ_A NOOP), RECEIVED(HIT)}, "malformed"},
	{"every quiet one", {
		SENT(SETQ_A REQUEST("\x12", "\x01", "\x08", "\x09") "\0\0\0\0\0\0\0\0a"
		     REQUEST("\x13", "\x01", "\x08", "\x09") "\0\0\0\0\0\0\0\0a"
		     REQUEST("\x14", "\x01", "\0", "\x01") "a" INCR("\x15") INCR("\x16")
		     REQUEST("\x18", "\0", "\0", "\0") REQUEST("\x19", "\x01", "\0", "\x02") "ab"
		     REQUEST("\x1a", "\x01", "\0", "\x02") "ab" GETQ_A GETKQ_A
		     REQUEST("\x1e", "\x01", "\x04", "\x05") "\0\0\0\0a"
		     REQUEST("\x24", "\x01", "\x04", "\x05") "\0\0\0\0a"),
		}, "state"},
};

static const struct conversation binary_refusals[] = {
	{"quit", {SENT(REQUEST("\x07", "\0", "\0", "\0"))}, "said_goodbye"},
	{"quit, answered", {
		SENT(REQUEST("\x07", "\0", "\0", "\0")), RECEIVED(DONE("\x07"))}, "said_goodbye"},
	{"quietly", {SENT(REQUEST("\x17", "\0", "\0", "\0"))}, "said_goodbye"},
	{"what follows it", {SENT(REQUEST("\x17", "\0", "\0", "\0") "\xff")}, "said_goodbye"},
	{"a list of ways to log in", {SENT(REQUEST("\x20", "\0", "\0", "\0"))}, "authenticated"},
	{"a login", {SENT(REQUEST("\x21", "\x05", "\0", "\x0a") "PLAIN\0u\0p ")}, "authenticated"},
	{"more of a login", {SENT(REQUEST("\x22", "\x05", "\0", "\x05") "PLAIN")}, "authenticated"},
	{"a command that needs one", {SENT(GET_A),
		RECEIVED(ANSWER_STATUS("\0", "\0", "\0", "\x20", "\0"))}, "authenticated"},
	{"verbosity, which memcached does not know", {
		SENT(REQUEST("\x1b", "\0", "\x04", "\x04") "\0\0\0\x01")}, "unknown_command"},
	{"an opcode between", {SENT(REQUEST("\x1f", "\0", "\0", "\0"))}, "unknown_command"},
	{"a great opcode", {SENT(REQUEST("\xff", "\0", "\0", "\0"))}, "unknown_command"},
	{"a server that does not know it", {SENT(GET_A),
		RECEIVED(ANSWER_STATUS("\0", "\0", "\0", "\x81", "\0"))}, "unknown_command"},
	{"too large", {SENT(SET_A),
		RECEIVED(ANSWER_STATUS("\x01", "\0", "\0", "\x03", "\0"))}, "unknown_command"},
	{"invalid", {SENT(SET_A),
		RECEIVED(ANSWER_STATUS("\x01", "\0", "\0", "\x04", "\0"))}, "unknown_command"},
	{"get without a key", {SENT(REQUEST("\0", "\0", "\0", "\0"))}, "length"},
	{"get with a value", {SENT(REQUEST("\0", "\x01", "\0", "\x02") "ab")}, "length"},
	{"get with extras", {SENT(REQUEST("\0", "\x01", "\x04", "\x05") "\0\0\0\0a")}, "length"},
	{"set without extras", {SENT(REQUEST("\x01", "\x01", "\0", "\x03") "ahi")}, "length"},
	{"a key longer than the body", {SENT(REQUEST("\0", "\x02", "\0", "\x01") "a")}, "length"},
	{"a key of 251 bytes", {SENT(REQUEST("\0", "\xfb", "\0", "\xfb"))}, "length"},
	{"a no-op with a key", {SENT(REQUEST("\x0a", "\x01", "\0", "\x01") "a")}, "length"},
	{"a flush with odd extras", {SENT(REQUEST("\x08", "\0", "\x02", "\x02") "\0\0")}, "length"},
	{"another data type", {
		SENT("\x80\0\0\x01\0\x01\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0a")}, "malformed"},
	{"text after binary", {
		SENT(NOOP), RECEIVED(DONE("\x0a")), SENT("get a\r\nget b\r\n")}, "malformed"},
	{"binary after text", {
		SENT("mn\r\n"), RECEIVED("MN\r\n"), SENT(NOOP)}, "malformed"},
	{"a text answer", {SENT(NOOP), RECEIVED("ERROR: this is no text\r\n")}, "malformed"},
	{"a request for an answer", {SENT(NOOP), RECEIVED(NOOP)}, "malformed"},
	{"an answer with extras too many", {
		SENT(NOOP), RECEIVED(ANSWER("\x0a", "\0", "\x04", "\x04") "\0\0\0\0")}, "length"},
	{"an answer with a key too many", {
		SENT(GET_A), RECEIVED(ANSWER("\0", "\x01", "\0", "\x01") "a")}, "length"},
	{"an answer with less than it says", {
		SENT(GET_A), RECEIVED(ANSWER("\0", "\0", "\x04", "\x02") "\0\0")}, "length"},
	{"an unseen header", {SENT_UNSEEN(24)}, "unseen"},
	{"an unseen body", {
		SENT(REQUEST("\x01", "\x01", "\x08", "\x0b")), SENT_UNSEEN(11),
		RECEIVED(DONE("\x01"))}, "none"},
	{"an unseen body and more", {
		SENT(REQUEST("\x01", "\x01", "\x08", "\x0b")), SENT_UNSEEN(12)}, "unseen"},
	{"an unseen value", {SENT(GET_A), RECEIVED(ANSWER("\0", "\0", "\x04", "\x06")),
		RECEIVED_UNSEEN(6)}, "none"},
};
/* clang-format on */

Test(memcached, binary_commands_are_over_with_their_answers)
{
	EXPECT_VERDICTS(binary);
}

Test(memcached, quiet_opcodes_are_told_from_the_others)
{
	EXPECT_VERDICTS(binary_silences);
}

Test(memcached, binary_oddities_are_refused)
{
	EXPECT_VERDICTS(binary_refusals);
}

/* ---- the rest of the interface ---- */

Test(memcached, a_silent_connection_is_asked_for_a_no_op)
{
	_Alignas(max_align_t) uint8_t state[TRACKER_STATE_MAX] = {0};

	tell(state, '>', "delete a noreply\r\n");
	cr_assert_str_eq(verdict_word(state), "state");
	const struct tracker_reset *text = memcached_tracker.reset(state);
	cr_expect_eq(text->question_len, 4);
	cr_expect_arr_eq(text->question, "mn\r\n", 4);
	cr_expect_eq(text->answer_len, 4);
	cr_expect_arr_eq(text->answer, "MN\r\n", 4);

	memset(state, 0, sizeof(state));
	feed_piece(&memcached_tracker, state, '>', SETQ_A, sizeof(SETQ_A) - 1);
	cr_assert_str_eq(verdict_word(state), "state");
	const struct tracker_reset *reset = memcached_tracker.reset(state);
	cr_expect_eq(reset->question_len, 24);
	cr_expect_eq(reset->answer_len, 24);
	cr_expect_leq(reset->answer_len, TRACKER_ANSWER_MAX);

	/* Both are what this tracker takes for a command and its answer. */
	feed_piece(&memcached_tracker, state, '>', reset->question, reset->question_len);
	cr_expect_str_eq(verdict_word(state), "busy");
	feed_piece(&memcached_tracker, state, '<', reset->answer, reset->answer_len);
	cr_expect_str_eq(verdict_word(state), "none");
}

Test(memcached, a_reset_keeps_the_protocol_and_that_no_login_is_wanted)
{
	_Alignas(max_align_t) uint8_t state[TRACKER_STATE_MAX] = {0};

	tell(state, '>', "delete a noreply\r\n");
	memcached_tracker.was_reset(state);
	cr_expect_str_eq(verdict_word(state), "none");
	tell(state, '>', "set x 0 0 3\r\na b\r\n");
	tell(state, '<', "STORED\r\n");
	cr_expect_str_eq(verdict_word(state), "none", "no login, after a no-op");
	feed_piece(&memcached_tracker, state, '>', NOOP, 24);
	cr_expect_str_eq(verdict_word(state), "malformed", "it is text");

	memset(state, 0, sizeof(state));
	feed_piece(&memcached_tracker, state, '>', SETQ_A, sizeof(SETQ_A) - 1);
	memcached_tracker.was_reset(state);
	cr_expect_str_eq(verdict_word(state), "none");
	tell(state, '>', "m");
	cr_expect_str_eq(verdict_word(state), "malformed", "it is binary: seen by the first byte");
}

static bool is_goodbye(const void *state, const char *bytes, size_t len)
{
	return memcached_tracker.is_goodbye(state, at_end_of_page(bytes, len), len);
}

#define IS_GOODBYE(state, text) is_goodbye(state, text, sizeof(text) - 1)

Test(memcached, a_goodbye_is_whole_and_nothing_else)
{
	_Alignas(max_align_t) uint8_t state[TRACKER_STATE_MAX] = {0};

	tell(state, '>', "mn\r\n");
	cr_expect_not(IS_GOODBYE(state, "quit\r\n"), "an answer is outstanding");
	tell(state, '<', "MN\r\n");
	cr_expect(IS_GOODBYE(state, "quit\r\n"));
	cr_expect_not(IS_GOODBYE(state, "quit\n"));
	cr_expect_not(IS_GOODBYE(state, "quit\r"));
	cr_expect_not(IS_GOODBYE(state, "quit\r\n\r\n"));
	cr_expect_not(IS_GOODBYE(state, "QUIT\r\n"));
	cr_expect_not(IS_GOODBYE(state, "quit \r\n"));
	cr_expect_not(IS_GOODBYE(state, REQUEST("\x07", "\0", "\0", "\0")));
	tell(state, '>', "delete a noreply\r\n");
	cr_expect(IS_GOODBYE(state, "quit\r\n"), "nothing is outstanding for certain");
	tell(state, '>', "set quit 0 0 6\r\n");
	cr_expect_not(IS_GOODBYE(state, "quit\r\n"), "that is data");

	memset(state, 0, sizeof(state));
	feed_piece(&memcached_tracker, state, '>', NOOP, 24);
	cr_expect_not(IS_GOODBYE(state, REQUEST("\x07", "\0", "\0", "\0")));
	feed_piece(&memcached_tracker, state, '<', DONE("\x0a"), 24);
	cr_expect(IS_GOODBYE(state, REQUEST("\x07", "\0", "\0", "\0")));
	cr_expect(IS_GOODBYE(state, REQUEST("\x17", "\0", "\0", "\0")));
	cr_expect_not(IS_GOODBYE(state, NOOP));
	cr_expect_not(IS_GOODBYE(state, "quit\r\n"));
	cr_expect_not(IS_GOODBYE(state, REQUEST("\x07", "\0", "\0", "\x01") "x"));
	cr_expect_not(is_goodbye(state, REQUEST("\x07", "\0", "\0", "\x01"), 24), "it goes on");
	cr_expect_not(is_goodbye(state, REQUEST("\x07", "\0", "\0", "\0"), 23));
}

struct fact_row {
	const char *sent;
	size_t len;
	bool repeatable, unfinished, lost;
};

#define FACT(bytes) bytes, sizeof(bytes) - 1

/* clang-format off */
static const struct fact_row fact_rows[] = {
	{FACT(""), false, false, false},
	{FACT("g"), false, true, false},
	{FACT("get"), false, true, false},
	{FACT("get "), true, true, false},
	{FACT("get a\r"), true, true, false},
	{FACT("get a\r\n"), true, false, false},
	{FACT("gets a\r\nversion\r\nstats\r\nme a\r\nmn\r\nstats items\r\n"), true, false, false},
	{FACT("get a\r\nge"), false, false, false},
	{FACT("get a\r\nget"), false, false, false},
	{FACT("get a\r\nget b"), true, false, false},
	{FACT("get a\r\nset"), false, false, false},
	{FACT("get a\r\nset a"), false, false, false},
	{FACT("get a\r\nstats "), false, false, false},
	{FACT("gat 0 a\r\n"), false, false, false},
	{FACT("set a 0 0 2\r"), false, true, false},
	{FACT("set a 0 0 2\r\n"), false, false, false},
	{FACT("set a 0 0 2\r\nhi\r\n"), false, false, false},
	{FACT("get a\r\nset a 0 0 2 noreply\r\nhi\r\nget a\r\n"), false, false, false},
	{FACT("delete a\r\n"), false, false, false},
	{FACT("delete a noreply\r\nge"), false, false, false},
	{FACT("incr a 1\r\n"), false, false, false},
	{FACT("touch a 1\r\n"), false, false, false},
	{FACT("flush_all\r\n"), false, false, false},
	{FACT("verbosity 1\r\n"), false, false, false},
	{FACT("stats reset\r\n"), false, false, false},
	{FACT("mg a s v t f c k q O1 h l u b\r\n"), false, false, false},
	{FACT("mg a v"), false, true, false},
	{FACT("mn\r\nmg a v"), false, false, false},
	{FACT("mg a N30\r\n"), false, false, false},
	{FACT("mg a T30\r\n"), false, false, false},
	{FACT("mg a R30\r\n"), false, false, false},
	{FACT("mg a E30\r\n"), false, false, false},
	{FACT("ms a 1\r\nx\r\n"), false, false, false},
	{FACT("md a\r\n"), false, false, false},
	{FACT("ma a\r\n"), false, false, false},
	{FACT("watch\r\n"), false, false, true},
	{FACT("get a\r\nwatch\r\n"), false, false, true},
	{FACT("GET /"), false, false, true},
	{FACT("quit\r\n"), false, false, false},
	{FACT("get a\r\nquit\r\n"), false, false, false},
	{FACT("\x80"), false, true, false},
	{FACT(GET_A), true, false, false},
	{FACT(GETQ_A GETKQ_A STAT_ALL NOOP), true, false, false},
	{FACT(REQUEST("\0", "\x01", "\0", "\x01")), true, true, false},
	{FACT(NOOP REQUEST("\0", "\x01", "\0", "\x01")), true, false, false},
	{FACT(NOOP "\x80"), false, false, false},
	{FACT(SET_A), false, false, false},
	{FACT(REQUEST("\x01", "\x01", "\x08", "\x0b") "\0\0\0\0\0\0\0\0"), false, true, false},
	{FACT(REQUEST("\x01", "\x01", "\x08", "\x0b") "\0\0\0\0\0\0\0\0a"), false, false, false},
	{FACT(NOOP SET_A), false, false, false},
	{FACT(NOOP REQUEST("\x01", "\x01", "\x08", "\x0b")), false, false, false},
	{FACT(REQUEST("\x10", "\x05", "\0", "\x05") "reset"), false, false, false},
	{FACT(REQUEST("\x1d", "\x01", "\x04", "\x05") "\0\0\0\0a"), false, false, false},
	{FACT(REQUEST("\x07", "\0", "\0", "\0")), false, false, false},
	{FACT(REQUEST("\x17", "\0", "\0", "\0")), false, false, false},
	{FACT("\x80\xff\0\0\0\0\0\0\0\0\0\0"), false, false, true},
};
/* clang-format on */

Test(memcached, what_may_be_sent_again)
{
	for (size_t i = 0; i < COUNT(fact_rows); i++) {
		_Alignas(max_align_t) uint8_t state[TRACKER_STATE_MAX] = {0};
		const struct fact_row *row = &fact_rows[i];

		feed_piece(&memcached_tracker, state, '>', row->sent, row->len);
		const struct tracker_facts facts = facts_of(state);

		cr_expect_eq(
			facts.repeatable, row->repeatable, "%zu: %s: repeatable", i, row->sent);
		cr_expect_eq(
			facts.unfinished, row->unfinished, "%zu: %s: unfinished", i, row->sent);
		cr_expect_eq(facts.lost, row->lost, "%zu: %s: lost", i, row->sent);
		cr_expect_eq(facts.host, 0);
		cr_expect_eq(facts.keeps_ms, 0);
	}
}

static enum recognition recognise(const char *bytes, size_t len)
{
	return memcached_tracker.recognise(at_end_of_page(bytes, len), len);
}

struct recognise_row {
	const char *bytes;
	size_t len;
	enum recognition recognised;
	size_t known_at; /* so many bytes; before, it could be */
};

/* clang-format off */
static const struct recognise_row recognise_rows[] = {
	{FACT("get a\r\nxxxxxxxxxxxxxxxxx"), RECOGNISED_YES, 4},
	{FACT("set a 0 0 1\r\nx\r\n"), RECOGNISED_YES, 4},
	{FACT("version\r\n"), RECOGNISED_YES, 9},
	{FACT("version\n"), RECOGNISED_YES, 8},
	{FACT("flush_all\r\n"), RECOGNISED_YES, 11},
	{FACT("mg a v\r\n"), RECOGNISED_YES, 3},
	{FACT("mn\r\n"), RECOGNISED_YES, 4},
	{FACT("quit\r\n"), RECOGNISED_YES, 6},
	{FACT("stats\rx"), RECOGNISED_NO, 7},
	{FACT("watch\r\n"), RECOGNISED_NO, 1},
	{FACT("getx a\r\nxxxxxxxxxxxxxxxx"), RECOGNISED_NO, 4},
	{FACT("Get a\r\nxxxxxxxxxxxxxxxxx"), RECOGNISED_NO, 1},
	{FACT("GET / HTTP/1.1\r\nHost: ab"), RECOGNISED_NO, 1},
	{FACT("*1\r\n$4\r\nPING\r\nxxxxxxxxxx"), RECOGNISED_NO, 1},
	{FACT("\x16\x03\x01\x02xxxxxxxxxxxxxxxxxxxx"), RECOGNISED_NO, 1},
	{FACT("me\0a"), RECOGNISED_NO, 3},
	{FACT(" get a\r\n"), RECOGNISED_NO, 1},
	{FACT("\r\n"), RECOGNISED_NO, 1},
	{FACT(REQUEST("\0", "\x01", "\0", "\x01")), RECOGNISED_YES, 12},
	{FACT(REQUEST("\x21", "\x05", "\0", "\x0a")), RECOGNISED_YES, 12},
	{FACT(REQUEST("\0", "\0", "\0", "\x01")), RECOGNISED_NO, 12},
	{FACT(REQUEST("\x1f", "\0", "\0", "\0")), RECOGNISED_NO, 2},
	{FACT(ANSWER("\0", "\0", "\0", "\0")), RECOGNISED_NO, 1},
	{FACT("\x80\x2e\x01\0\x02\0\x15\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0"), RECOGNISED_NO, 2},
};
/* clang-format on */

Test(memcached, it_is_recognised_as_soon_as_it_can_be)
{
	for (size_t i = 0; i < COUNT(recognise_rows); i++) {
		const struct recognise_row *row = &recognise_rows[i];

		for (size_t len = 1; len <= row->len && len <= TRACKER_PREFIX_MAX; len++)
			cr_expect_eq(recognise(row->bytes, len),
				len < row->known_at ? RECOGNISED_MORE : row->recognised,
				"%zu: %.*s", i, (int)len, row->bytes);
		cr_expect_leq(row->known_at, TRACKER_PREFIX_MAX);
	}
}

Test(memcached, every_command_is_recognised)
{
	bool undecided;

	for (size_t i = 0; i < COUNT(exchanges); i++) {
		const char *command = exchanges[i].command;
		const size_t len = strlen(command);

		cr_expect_eq(tracker_for(at_end_of_page(command, len), len, &undecided),
			&memcached_tracker, "%s", command);
	}
}
