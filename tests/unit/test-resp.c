#include "tests/unit/conversations.h"

#include <stdio.h>

#include "pool/trackers/resp.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define GET   "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
#define SET   "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"
#define NIL   "$-1\r\n"
#define OK    "+OK\r\n"
#define MULTI "*1\r\n$5\r\nMULTI\r\n"
#define EXEC  "*1\r\n$4\r\nEXEC\r\n"
#define QUIT  "*1\r\n$4\r\nQUIT\r\n"
#define RESET "*1\r\n$5\r\nRESET\r\n"
#define WATCH "*2\r\n$5\r\nWATCH\r\n$1\r\nk\r\n"

#define UNWATCH      "*1\r\n$7\r\nUNWATCH\r\n"
#define DISCARD      "*1\r\n$7\r\nDISCARD\r\n"
#define HELLO_3      "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"
#define HELLO_2      "*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n"
#define SELECT       "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
#define BLPOP        "*3\r\n$5\r\nBLPOP\r\n$1\r\nk\r\n$1\r\n0\r\n"
#define SUBSCRIBE    "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"
#define SUBSCRIBED   "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
#define MESSAGE      "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"
#define CLIENT(word) "*2\r\n$6\r\nCLIENT\r\n" word
#define REPLY_OFF    "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n"

/* clang-format off */
static const struct conversation as_seen_in_the_wild[] = {
	{"redis-cli", {
		SENT("*2\r\n$7\r\nCOMMAND\r\n$4\r\nDOCS\r\n"),
		RECEIVED("*2\r\n$3\r\nget\r\n*4\r\n$7\r\nsummary\r\n$1\r\ns\r\n$5\r\nsince\r\n"
			 "$5\r\n1.0.0\r\n"),
		SENT(GET),
		RECEIVED("$5\r\nvalue\r\n"),
	}, "none"},
	{"redis-cli -3", {
		SENT(HELLO_3),
		RECEIVED("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n"
			 "$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:5\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
			 "$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"),
		SENT(GET),
		RECEIVED("_\r\n"),
	}, "state"},
	{"redis-benchmark", {
		SENT("*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$4\r\nsave\r\n"
		     "*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$10\r\nappendonly\r\n"),
		RECEIVED("*2\r\n$4\r\nsave\r\n$0\r\n\r\n*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"),
		SENT("PING\r\n"),
		RECEIVED("+PONG\r\n"),
	}, "none"},
	{"php-redis, with a database", {
		SENT(SELECT), RECEIVED(OK), SENT(SET), RECEIVED(OK),
	}, "state"},
	{"redis-py, a pipeline that is a transaction", {
		SENT(MULTI SET GET EXEC),
		RECEIVED(OK "+QUEUED\r\n+QUEUED\r\n*2\r\n" OK "$1\r\nv\r\n"),
	}, "none"},
	{"perl Redis, quit", {
		SENT(GET), RECEIVED(NIL), SENT(QUIT), RECEIVED(OK),
	}, "said_goodbye"},
	{"a password that is wrong, and nothing else", {
		SENT("*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"),
		RECEIVED("-WRONGPASS invalid username-password pair or user is disabled.\r\n"),
	}, "state"},
	{"without the password", {
		SENT(GET), RECEIVED("-NOAUTH Authentication required.\r\n"),
	}, "none"},
	{"a health check", {SENT("PING\r\n"), RECEIVED("+PONG\r\n")}, "none"},
};

static const struct conversation counted[] = {
	{"nothing", {{0}}, "unused"},
	{"a command without its reply", {SENT(GET)}, "busy"},
	{"part of a command", {SENT(GET), RECEIVED(NIL), SENT("*2\r\n$3\r\nGE")}, "busy"},
	{"part of a reply", {SENT(GET), RECEIVED("$5\r\nval")}, "busy"},
	{"a reply without its last byte", {SENT(GET), RECEIVED("$1\r\nv\r")}, "busy"},
	{"two commands, one reply", {SENT(GET GET), RECEIVED(NIL)}, "busy"},
	{"two commands, two replies", {SENT(GET GET), RECEIVED(NIL NIL)}, "none"},
	{"replies while commands follow", {
		SENT(GET "*2\r\n$3\r\n"), RECEIVED(NIL), SENT("GET\r\n$1\r\nk\r\n"), RECEIVED(NIL),
	}, "none"},
	{"a reply too many", {SENT(GET), RECEIVED(NIL NIL)}, "unsolicited"},
	{"a reply too many, begun", {SENT(GET), RECEIVED(NIL "$")}, "unsolicited"},
	{"a reply nobody asked for", {RECEIVED(OK)}, "unsolicited"},
	{"a reply before its command was sent", {
		SENT("*2\r\n$3\r\nGET\r\n$1\r\n"), RECEIVED(NIL), SENT("k\r\n"),
	}, "early_response"},
	{"a second reply before its command was sent", {
		SENT(GET "*"), RECEIVED(NIL NIL),
	}, "early_response"},
	{"an attribute nobody asked for", {
		SENT(GET), RECEIVED(NIL "|1\r\n+a\r\n+b\r\n"),
	}, "unsolicited"},
	{"an attribute is no reply", {
		SENT(GET), RECEIVED("|1\r\n+a\r\n:1\r\n"),
	}, "busy"},
	{"an attribute and its reply", {
		SENT(GET), RECEIVED("|1\r\n+a\r\n:1\r\n" NIL),
	}, "none"},
	{"a push is no reply", {
		SENT(HELLO_3), RECEIVED("%0\r\n"),
		SENT(GET), RECEIVED(">1\r\n+a\r\n"),
	}, "busy"},
	{"a push and a reply", {
		SENT(HELLO_3), RECEIVED("%0\r\n"),
		SENT(GET), RECEIVED(">2\r\n+a\r\n*1\r\n:1\r\n" NIL),
	}, "state"},
	{"a push before the reply to HELLO", {
		SENT(HELLO_3), RECEIVED(">1\r\n+a\r\n%0\r\n"),
	}, "state"},
	{"a push while nothing is outstanding", {
		SENT(HELLO_3), RECEIVED("%0\r\n" ">1\r\n+a\r\n"),
	}, "state"},
	{"part of a push", {
		SENT(HELLO_3), RECEIVED("%0\r\n" ">1\r\n+a\r"),
	}, "busy"},
	{"a push that was not asked for by HELLO", {SENT(GET), RECEIVED(">1\r\n+a\r\n")},
		"unsolicited"},
	{"a push after HELLO 2", {SENT(HELLO_2), RECEIVED(">1\r\n+a\r\n")}, "unsolicited"},
	{"HELLO alone, and a push", {SENT("*1\r\n$5\r\nHELLO\r\n"), RECEIVED(">1\r\n+a\r\n")},
		"unsolicited"},
};

/* What redis itself says to them is in tests/preload/test_resp.py. */
static const struct conversation command_framing[] = {
	{"no arguments are no command", {SENT("*0\r\n*-1\r\n" GET), RECEIVED(NIL)}, "none"},
	{"no arguments are nothing", {SENT("*0\r\n")}, "unused"},
	{"other negative counts", {SENT("*-2\r\n")}, "malformed"},
	{"minus nothing", {SENT("*-0\r\n")}, "malformed"},
	{"minus ten", {SENT("*-10\r\n")}, "malformed"},
	{"a zero in front of a count", {SENT("*02\r\n")}, "malformed"},
	{"a zero in front of a length", {SENT("*1\r\n$04\r\n")}, "malformed"},
	{"a plus in front of a count", {SENT("*+1\r\n")}, "malformed"},
	{"a plus in front of a length", {SENT("*1\r\n$+4\r\n")}, "malformed"},
	{"a minus in front of a length", {SENT("*1\r\n$-1\r\n")}, "malformed"},
	{"a length that is unknown", {SENT("*1\r\n$?\r\n")}, "malformed"},
	{"a count that is unknown", {SENT("*?\r\n")}, "malformed"},
	{"a number and a question mark", {SENT("*1?\r\n")}, "malformed"},
	{"a question mark and a number", {SENT("*?1\r\n")}, "malformed"},
	{"no count", {SENT("*\r\n")}, "malformed"},
	{"no length", {SENT("*1\r\n$\r\n")}, "malformed"},
	{"only a minus", {SENT("*-\r\n")}, "malformed"},
	{"a space in a count", {SENT("*1 \r\n")}, "malformed"},
	{"a letter in a length", {SENT("*1\r\n$a\r\n")}, "malformed"},
	{"no CR after a count", {SENT("*1\n")}, "malformed"},
	{"no LF after a count", {SENT("*1\r$")}, "malformed"},
	{"no LF after a length", {SENT("*1\r\n$4\rP")}, "malformed"},
	{"no $", {SENT("*1\r\n+PING\r\n")}, "malformed"},
	{"no $ before the second argument", {SENT("*2\r\n$3\r\nGET\r\n:1\r\n")}, "malformed"},
	{"longer than it says", {SENT("*1\r\n$4\r\nPINGS\r\n")}, "malformed"},
	{"no LF after an argument", {SENT("*1\r\n$4\r\nPING\rX")}, "malformed"},
	{"an argument that is empty", {SENT("*2\r\n$3\r\nGET\r\n$0\r\n\r\n"), RECEIVED(NIL)}, "none"},
	{"a binary argument", {
		SENT("*2\r\n$3\r\nGET\r\n$9\r\n\r\n\0*1\r\n$\xff\r\n"), RECEIVED(NIL),
	}, "none"},
	{"as many arguments as there may be", {SENT("*1048576\r\n$3\r\nDEL\r\n")}, "busy"},
	{"one more", {SENT("*1048577\r\n")}, "length"},
	{"far more", {SENT("*9999999999\r\n")}, "length"},
	{"an argument as long as it may be", {SENT("*2\r\n$3\r\nGET\r\n$536870912\r\n")}, "busy"},
	{"one longer", {SENT("*2\r\n$3\r\nGET\r\n$536870913\r\n")}, "length"},
	{"far longer", {SENT("*2\r\n$3\r\nGET\r\n$4294967297\r\n")}, "length"},
	{"a command name without a letter", {SENT("*1\r\n$0\r\n\r\n"), RECEIVED("-ERR\r\n")},
		"unknown_command"},
	{"a long name", {
		SENT("*1\r\n$40\r\nGETGETGETGETGETGETGETGETGETGETGETGETGETG\r\n"),
		RECEIVED("-ERR\r\n"),
	}, "unknown_command"},
	{"a name and a NUL", {SENT("*1\r\n$4\r\nGET\0\r\n"), RECEIVED("-ERR\r\n")},
		"unknown_command"},
	{"a name with a bar", {SENT("*1\r\n$14\r\nclient|getname\r\n"), RECEIVED("-ERR\r\n")},
		"unknown_command"},
	{"a subcommand with a bar", {
		SENT("*2\r\n$6\r\nclient\r\n$8\r\n|getname\r\n"), RECEIVED("-ERR\r\n"),
	}, "unknown_command"},
	{"the beginning of a name", {SENT("*1\r\n$2\r\nGE\r\n"), RECEIVED("-ERR\r\n")},
		"unknown_command"},
	{"more than a name", {SENT("*1\r\n$4\r\nGETS\r\n"), RECEIVED("-ERR\r\n")},
		"unknown_command"},
	{"a module's command", {SENT("*1\r\n$9\r\nFT.SEARCH\r\n"), RECEIVED("*0\r\n")},
		"unknown_command"},
	{"an unknown subcommand", {SENT(CLIENT("$4\r\nJUMP\r\n")), RECEIVED("-ERR\r\n")},
		"unknown_command"},
	{"a container alone", {SENT("*1\r\n$6\r\nCLIENT\r\n"), RECEIVED("-ERR\r\n")}, "none"},
};

static const struct conversation inline_commands[] = {
	{"one", {SENT("GET key\r\n"), RECEIVED(NIL)}, "none"},
	{"one that ends with LF alone", {SENT("ping\n"), RECEIVED("+PONG\r\n")}, "none"},
	{"spaces and tabs", {SENT(" \tget  key\t\r\n"), RECEIVED(NIL)}, "none"},
	{"empty lines are no commands", {SENT("\r\n\n \t\r\nPING\r\n"), RECEIVED("+PONG\r\n")}, "none"},
	{"an empty line is nothing", {SENT("\r\n")}, "unused"},
	{"a subcommand", {SENT("client setname x\r\n"), RECEIVED(OK)}, "state"},
	{"another subcommand", {SENT("client getname\r\n"), RECEIVED(NIL)}, "none"},
	{"a container alone", {SENT("client\r\n"), RECEIVED("-ERR\r\n")}, "none"},
	{"an unknown one", {SENT("gets\r\n"), RECEIVED("-ERR\r\n")}, "unknown_command"},
	{"a bar", {SENT("client|getname\r\n"), RECEIVED("-ERR\r\n")}, "unknown_command"},
	{"beside others", {SENT("PING\r\n" GET "PING\r\n"), RECEIVED("+PONG\r\n" NIL "+PONG\r\n")},
		"none"},
	{"CR, then a space", {SENT("PING\r \n")}, "malformed"},
	{"CR without LF", {SENT("PING\rPING\r\n")}, "malformed"},
	{"double quotes", {SENT("SET k \"a b\"\r\n")}, "malformed"},
	{"single quotes", {SENT("SET k 'a b'\r\n")}, "malformed"},
	{"a control character", {SENT("SET k \x01\r\n")}, "malformed"},
	{"NUL", {SENT("SET k \0\r\n")}, "malformed"},
	{"not ASCII", {SENT("SET k \xc3\xa4\r\n"), RECEIVED(OK)}, "none"},
	{"a request of HTTP", {SENT("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}, "unknown_command"},
};

static const struct conversation replies[] = {
	{"+", {SENT(GET), RECEIVED("+OK\r\n")}, "none"},
	{"+, empty", {SENT(GET), RECEIVED("+\r\n")}, "none"},
	{"+ with LF", {SENT(GET), RECEIVED("+a\nb\r\n")}, "malformed"},
	{"+ with CR", {SENT(GET), RECEIVED("+a\rb\r\n")}, "malformed"},
	{"-", {SENT(GET), RECEIVED("-ERR no\r\n")}, "none"},
	{":", {SENT(GET), RECEIVED(":0\r\n")}, "none"},
	{":, negative", {SENT(GET), RECEIVED(":-9223372036854775808\r\n")}, "none"},
	{":, positive", {SENT(GET), RECEIVED(":+1\r\n")}, "none"},
	{":, empty", {SENT(GET), RECEIVED(":\r\n")}, "malformed"},
	{":, a sign alone", {SENT(GET), RECEIVED(":-\r\n")}, "malformed"},
	{":, two signs", {SENT(GET), RECEIVED(":--1\r\n")}, "malformed"},
	{":, a sign behind", {SENT(GET), RECEIVED(":1-\r\n")}, "malformed"},
	{":, a letter", {SENT(GET), RECEIVED(":1a\r\n")}, "malformed"},
	{":, more than 64 bits", {SENT(GET), RECEIVED(":12345678901234567890\r\n")}, "malformed"},
	{"$", {SENT(GET), RECEIVED("$4\r\n\r\n\r\n\r\n")}, "none"},
	{"$, empty", {SENT(GET), RECEIVED("$0\r\n\r\n")}, "none"},
	{"$, nil", {SENT(GET), RECEIVED("$-1\r\n")}, "none"},
	{"$, other negative ones", {SENT(GET), RECEIVED("$-2\r\n")}, "malformed"},
	{"$, no length", {SENT(GET), RECEIVED("$\r\n")}, "malformed"},
	{"$, a zero in front", {SENT(GET), RECEIVED("$01\r\n")}, "malformed"},
	{"$, longer than it says", {SENT(GET), RECEIVED("$1\r\nab\r\n")}, "malformed"},
	{"$, no LF", {SENT(GET), RECEIVED("$1\r\na\rb")}, "malformed"},
	{"$, as long as it may be", {SENT(GET), RECEIVED("$536870912\r\n")}, "busy"},
	{"$, too long", {SENT(GET), RECEIVED("$536870913\r\n")}, "length"},
	{"$, streamed", {SENT(GET), RECEIVED("$?\r\n;4\r\nab\r\n\r\n;1\r\nc\r\n;0\r\n")}, "none"},
	{"$, streamed, without its end", {SENT(GET), RECEIVED("$?\r\n;1\r\na\r\n")}, "busy"},
	{"$, streamed, nil", {SENT(GET), RECEIVED("$?\r\n;-1\r\n")}, "malformed"},
	{"$, streamed in a stream", {SENT(GET), RECEIVED("$?\r\n;?\r\n")}, "malformed"},
	{"$, streamed, no chunk", {SENT(GET), RECEIVED("$?\r\n$1\r\n")}, "malformed"},
	{"; alone", {SENT(GET), RECEIVED(";1\r\na\r\n")}, "malformed"},
	{"*", {SENT(GET), RECEIVED("*2\r\n:1\r\n$1\r\na\r\n")}, "none"},
	{"*, empty", {SENT(GET), RECEIVED("*0\r\n")}, "none"},
	{"*, nil", {SENT(GET), RECEIVED("*-1\r\n")}, "none"},
	{"*, nested", {SENT(GET), RECEIVED("*2\r\n*2\r\n:1\r\n*0\r\n*1\r\n*-1\r\n")}, "none"},
	{"*, an element is missing", {SENT(GET), RECEIVED("*2\r\n*2\r\n:1\r\n*0\r\n")}, "busy"},
	{"*, too many", {SENT(GET), RECEIVED("*1048577\r\n")}, "length"},
	{"*, as many as there may be", {SENT(GET), RECEIVED("*1048576\r\n")}, "busy"},
	{"*, streamed", {SENT(GET), RECEIVED("*?\r\n:1\r\n*?\r\n.\r\n.\r\n")}, "none"},
	{"*, streamed, without its end", {SENT(GET), RECEIVED("*?\r\n:1\r\n")}, "busy"},
	{"_", {SENT(GET), RECEIVED("_\r\n")}, "none"},
	{"_, not empty", {SENT(GET), RECEIVED("_1\r\n")}, "malformed"},
	{"#t", {SENT(GET), RECEIVED("#t\r\n")}, "none"},
	{"#f", {SENT(GET), RECEIVED("#f\r\n")}, "none"},
	{"#, empty", {SENT(GET), RECEIVED("#\r\n")}, "malformed"},
	{"#, another letter", {SENT(GET), RECEIVED("#T\r\n")}, "malformed"},
	{"#, two letters", {SENT(GET), RECEIVED("#tt\r\n")}, "malformed"},
	{",", {SENT(GET), RECEIVED(",-1.5e+10\r\n")}, "none"},
	{",inf", {SENT(GET), RECEIVED(",-inf\r\n")}, "none"},
	{",nan", {SENT(GET), RECEIVED(",nan\r\n")}, "none"},
	{", empty", {SENT(GET), RECEIVED(",\r\n")}, "malformed"},
	{", with what is no number", {SENT(GET), RECEIVED(",1x\r\n")}, "malformed"},
	{", with NUL", {SENT(GET), RECEIVED(",1\0\r\n")}, "malformed"},
	{"(", {SENT(GET), RECEIVED("(-3492890328409238509324850943850943825024385\r\n")}, "none"},
	{"(, empty", {SENT(GET), RECEIVED("(\r\n")}, "malformed"},
	{"(, a letter", {SENT(GET), RECEIVED("(1a\r\n")}, "malformed"},
	{"!", {SENT(GET), RECEIVED("!6\r\nERR no\r\n")}, "none"},
	{"!, nil", {SENT(GET), RECEIVED("!-1\r\n")}, "malformed"},
	{"!, streamed", {SENT(GET), RECEIVED("!?\r\n")}, "malformed"},
	{"=", {SENT(GET), RECEIVED("=6\r\ntxt:ab\r\n")}, "none"},
	{"=, too short", {SENT(GET), RECEIVED("=3\r\ntxt\r\n")}, "malformed"},
	{"%", {SENT(GET), RECEIVED("%2\r\n+a\r\n:1\r\n+b\r\n%1\r\n+c\r\n_\r\n")}, "none"},
	{"%, empty", {SENT(GET), RECEIVED("%0\r\n")}, "none"},
	{"%, a value is missing", {SENT(GET), RECEIVED("%1\r\n+a\r\n")}, "busy"},
	{"%, nil", {SENT(GET), RECEIVED("%-1\r\n")}, "malformed"},
	{"%, streamed", {SENT(GET), RECEIVED("%?\r\n+a\r\n:1\r\n.\r\n")}, "none"},
	{"%, streamed, empty", {SENT(GET), RECEIVED("%?\r\n.\r\n")}, "none"},
	{"%, streamed, a value is missing", {SENT(GET), RECEIVED("%?\r\n+a\r\n.\r\n")}, "malformed"},
	{"%, streamed, nested", {
		SENT(GET), RECEIVED("%?\r\n+a\r\n%?\r\n+b\r\n*1\r\n_\r\n.\r\n.\r\n"),
	}, "none"},
	{"~", {SENT(GET), RECEIVED("~2\r\n+a\r\n#t\r\n")}, "none"},
	{"~, streamed", {SENT(GET), RECEIVED("~?\r\n+a\r\n.\r\n")}, "none"},
	{"~, nil", {SENT(GET), RECEIVED("~-1\r\n")}, "malformed"},
	{"|, nested", {
		SENT(GET), RECEIVED("*2\r\n|1\r\n+a\r\n*2\r\n:1\r\n:2\r\n:3\r\n:4\r\n"),
	}, "none"},
	{"|, empty", {SENT(GET), RECEIVED("|0\r\n:1\r\n")}, "none"},
	{"|, nested and empty", {SENT(GET), RECEIVED("*1\r\n|0\r\n:1\r\n")}, "none"},
	{"|, with nothing behind it in an array", {
		SENT(GET), RECEIVED("*1\r\n|1\r\n+a\r\n:1\r\n"),
	}, "busy"},
	{"|, with nothing behind it in a stream", {
		SENT(GET), RECEIVED("*?\r\n|1\r\n+a\r\n:1\r\n.\r\n"),
	}, "malformed"},
	{"|, streamed", {SENT(GET), RECEIVED("|?\r\n")}, "malformed"},
	{"|, nil", {SENT(GET), RECEIVED("|-1\r\n")}, "malformed"},
	{"|, a push behind it", {
		SENT(HELLO_3), RECEIVED("%0\r\n"), SENT(GET), RECEIVED("|1\r\n+a\r\n+b\r\n>1\r\n"),
	}, "malformed"},
	{">, nested", {SENT(HELLO_3), RECEIVED("*1\r\n>1\r\n")}, "malformed"},
	{">, empty", {SENT(HELLO_3), RECEIVED(">0\r\n")}, "malformed"},
	{">, streamed", {SENT(HELLO_3), RECEIVED(">?\r\n")}, "malformed"},
	{". alone", {SENT(GET), RECEIVED(".\r\n")}, "malformed"},
	{". in an array that has a length", {SENT(GET), RECEIVED("*1\r\n.\r\n")}, "malformed"},
	{"., not empty", {SENT(GET), RECEIVED("*?\r\n.1\r\n")}, "malformed"},
	{"NUL", {SENT(GET), RECEIVED("\0")}, "malformed"},
	{"an empty line", {SENT(GET), RECEIVED("\r\n")}, "malformed"},
	{"HTTP", {SENT(GET), RECEIVED("HTTP/1.1 400 Bad Request\r\n")}, "malformed"},
	{"sixteen deep", {
		SENT(GET),
		RECEIVED("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
			 "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*0\r\n"),
	}, "none"},
	{"seventeen deep", {
		SENT(GET),
		RECEIVED("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
			 "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"),
	}, "malformed"},
};

static const struct conversation transactions[] = {
	{"MULTI", {SENT(MULTI), RECEIVED(OK)}, "state"},
	{"WATCH", {SENT(WATCH), RECEIVED(OK)}, "state"},
	{"MULTI that failed", {SENT(MULTI), RECEIVED("-NOPERM\r\n")}, "state"},
	{"one after the other", {
		SENT(WATCH), RECEIVED(OK), SENT(MULTI), RECEIVED(OK), SENT(SET), RECEIVED("+QUEUED\r\n"),
		SENT(EXEC), RECEIVED("*1\r\n" OK),
	}, "none"},
	{"EXEC, nothing", {SENT(MULTI EXEC), RECEIVED(OK "*0\r\n")}, "none"},
	{"EXEC, nil", {SENT(WATCH MULTI EXEC), RECEIVED(OK OK "*-1\r\n")}, "none"},
	{"EXEC, nil of RESP 3", {SENT(MULTI EXEC), RECEIVED(OK "_\r\n")}, "none"},
	{"EXEC, aborted", {
		SENT(MULTI SET EXEC), RECEIVED(OK "-ERR no\r\n-EXECABORT Transaction discarded\r\n"),
	}, "none"},
	{"EXEC, another error", {SENT(WATCH EXEC), RECEIVED(OK "-ERR EXEC without MULTI\r\n")},
		"state"},
	{"EXEC, an error that begins likewise", {
		SENT(MULTI EXEC), RECEIVED(OK "-EXECABORTED \r\n"),
	}, "state"},
	{"EXEC, OK", {SENT(MULTI EXEC), RECEIVED(OK OK)}, "state"},
	{"EXEC, a bulk that looks like an array", {SENT(MULTI EXEC), RECEIVED(OK "$4\r\n*0\r\n\r\n")},
		"state"},
	{"EXEC, an array behind an attribute", {
		SENT(MULTI EXEC), RECEIVED(OK "|1\r\n+a\r\n+b\r\n*0\r\n"),
	}, "none"},
	{"EXEC, an error behind an attribute", {
		SENT(MULTI EXEC), RECEIVED(OK "|1\r\n+a\r\n*0\r\n-ERR\r\n"),
	}, "state"},
	{"DISCARD", {SENT(MULTI DISCARD), RECEIVED(OK OK)}, "none"},
	{"DISCARD, OK behind an attribute", {
		SENT(MULTI DISCARD), RECEIVED(OK "|1\r\n+a\r\n+b\r\n" OK),
	}, "none"},
	{"DISCARD that failed", {SENT(WATCH DISCARD), RECEIVED(OK "-ERR DISCARD without MULTI\r\n")},
		"state"},
	{"UNWATCH", {SENT(WATCH UNWATCH), RECEIVED(OK OK)}, "none"},
	{"UNWATCH in a transaction", {SENT(MULTI UNWATCH), RECEIVED(OK "+QUEUED\r\n")}, "state"},
	{"UNWATCH, more than OK", {SENT(WATCH UNWATCH), RECEIVED(OK "+OKAY\r\n")}, "state"},
	{"UNWATCH, less than OK", {SENT(WATCH UNWATCH), RECEIVED(OK "+O\r\n")}, "state"},
	{"UNWATCH, an array", {SENT(WATCH UNWATCH), RECEIVED(OK "*0\r\n")}, "state"},
	{"UNWATCH, an array of OK", {SENT(WATCH UNWATCH), RECEIVED(OK "*1\r\n+OK\r\n")}, "state"},
	{"two at once", {
		SENT(MULTI EXEC MULTI EXEC), RECEIVED(OK "*0\r\n" OK "*0\r\n"),
	}, "none"},
	{"two at once, the second left open", {
		SENT(MULTI EXEC MULTI), RECEIVED(OK "*0\r\n" OK),
	}, "state"},
	{"WATCH behind EXEC", {SENT(MULTI EXEC WATCH), RECEIVED(OK "*0\r\n" OK)}, "state"},
	{"the reply to another command looks like that to EXEC", {
		SENT(MULTI GET), RECEIVED(OK "*0\r\n"),
	}, "state"},
	{"the reply before it looks like that to EXEC", {
		SENT(MULTI GET EXEC), RECEIVED(OK "*0\r\n-ERR\r\n"),
	}, "state"},
	{"the reply behind it looks like that to EXEC", {
		SENT(MULTI EXEC GET), RECEIVED(OK "-ERR\r\n*0\r\n"),
	}, "state"},
	{"a database selected within", {
		SENT(MULTI SELECT EXEC), RECEIVED(OK "+QUEUED\r\n*1\r\n" OK),
	}, "state"},
	{"a subscription within", {
		SENT(MULTI SUBSCRIBE EXEC), RECEIVED(OK "+QUEUED\r\n*1\r\n" SUBSCRIBED),
	}, "state"},
	{"a push of three between the replies", {
		SENT(HELLO_3), RECEIVED("%0\r\n"),
		SENT(MULTI EXEC), RECEIVED(OK ">1\r\n+a\r\n-ERR\r\n"),
	}, "state"},
};

static const struct conversation states[] = {
	{"one that is sent, but not answered", {SENT(SELECT)}, "busy"},
	{"one that failed", {SENT(SELECT), RECEIVED("-ERR DB index is out of range\r\n")}, "state"},
	{"it is not forgotten", {SENT(SELECT), RECEIVED(OK), SENT(GET), RECEIVED(NIL)}, "state"},
	{"RESET by the program does not count", {
		SENT(SELECT), RECEIVED(OK), SENT(RESET), RECEIVED("+RESET\r\n"),
	}, "state"},
	{"RESET alone leaves nothing", {SENT(RESET), RECEIVED("+RESET\r\n")}, "none"},
	{"what RESET does not undo", {SENT(CLIENT("$8\r\nNO-EVICT\r\n")), RECEIVED("-ERR\r\n")},
		"state"},
	{"goodbye", {SENT(QUIT)}, "said_goodbye"},
	{"goodbye behind a state", {SENT(SELECT QUIT), RECEIVED(OK OK)}, "said_goodbye"},
	{"the first refusal stays", {SENT("*1\r\n$5\r\nDEBUG\r\n" QUIT "*1\r\n$1\r\nx\r\n")}, "state"},
};

static const struct conversation uncounted[] = {
	{"SUBSCRIBE", {SENT(SUBSCRIBE), RECEIVED(SUBSCRIBED)}, "state"},
	{"not answered yet", {SENT(SUBSCRIBE)}, "state"},
	{"messages come", {SENT(SUBSCRIBE), RECEIVED(SUBSCRIBED MESSAGE MESSAGE)}, "state"},
	{"part of a message", {SENT(SUBSCRIBE), RECEIVED(SUBSCRIBED "*3\r\n$7\r\nmess")}, "busy"},
	{"a message that is malformed", {SENT(SUBSCRIBE), RECEIVED(SUBSCRIBED "hi\r\n")},
		"malformed"},
	{"an attribute alone", {SENT(SUBSCRIBE), RECEIVED(SUBSCRIBED "|1\r\n+a\r\n+b\r\n")}, "busy"},
	{"part of a command", {SENT(SUBSCRIBE), RECEIVED(SUBSCRIBED), SENT("*")}, "busy"},
	{"a message while a command is sent", {
		SENT(SUBSCRIBE), RECEIVED(SUBSCRIBED), SENT("*1\r\n"), RECEIVED(MESSAGE),
		SENT("$4\r\nPING\r\n"),
	}, "state"},
	{"MONITOR", {
		SENT("MONITOR\r\n"), RECEIVED(OK "+1700000000.000000 [0 127.0.0.1:1] \"GET\" \"k\"\r\n"),
	}, "state"},
	{"replies turned off", {SENT(REPLY_OFF GET GET)}, "state"},
	{"replies turned off at last: RESET might not be answered", {SENT(GET REPLY_OFF)}, "busy"},
	{"a blocking command, before", {SENT(BLPOP SUBSCRIBE)}, "state"},
	{"a blocking command, behind", {SENT(REPLY_OFF BLPOP)}, "state"},
	{"pushes are not asked for", {SENT(SUBSCRIBE), RECEIVED(">1\r\n+a\r\n")}, "unsolicited"},
	{"subscribed with RESP 3", {
		SENT(HELLO_3), RECEIVED("%0\r\n"),
		SENT(SUBSCRIBE), RECEIVED(">3\r\n+subscribe\r\n+c\r\n:1\r\n"),
	}, "state"},
	{"an unknown command", {SENT(SUBSCRIBE "*1\r\n$1\r\nx\r\n")}, "unknown_command"},
};

static const struct conversation unseen_bytes[] = {
	{"a value", {
		SENT("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\n"), SENT_UNSEEN(9), SENT("\r\n"), RECEIVED(OK),
	}, "none"},
	{"more than a value", {
		SENT("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\n"), SENT_UNSEEN(10),
	}, "unseen"},
	{"a name", {SENT("*1\r\n$4\r\n"), SENT_UNSEEN(4)}, "unseen"},
	{"a subcommand", {SENT("*2\r\n$6\r\nCLIENT\r\n$7\r\n"), SENT_UNSEEN(7)}, "unseen"},
	{"the first bytes", {SENT_UNSEEN(1)}, "unseen"},
	{"an inline command", {SENT("GET "), SENT_UNSEEN(1)}, "unseen"},
	{"an answer", {SENT(GET), RECEIVED("$5\r\n"), RECEIVED_UNSEEN(5), RECEIVED("\r\n")}, "none"},
	{"a chunk of an answer", {
		SENT(GET), RECEIVED("$?\r\n;5\r\n"), RECEIVED_UNSEEN(5), RECEIVED("\r\n;0\r\n"),
	}, "none"},
	{"the end of an answer", {SENT(GET), RECEIVED("$5\r\n"), RECEIVED_UNSEEN(6)}, "unseen"},
	{"a line of an answer", {SENT(GET), RECEIVED("+O"), RECEIVED_UNSEEN(1)}, "unseen"},
	{"the first byte of an answer", {SENT(GET), RECEIVED_UNSEEN(1)}, "unseen"},
};
/* clang-format on */

static void expect_verdicts(const struct conversation *table, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect_verdict_however_cut(&resp_tracker, &table[i]);
}

Test(resp, real_clients_and_servers_are_understood)
{
	expect_verdicts(as_seen_in_the_wild, COUNT(as_seen_in_the_wild));
}

Test(resp, idle_means_that_every_command_is_answered)
{
	expect_verdicts(counted, COUNT(counted));
}

Test(resp, commands_follow_the_grammar_to_the_byte)
{
	expect_verdicts(command_framing, COUNT(command_framing));
}

Test(resp, inline_commands_have_no_quotes)
{
	expect_verdicts(inline_commands, COUNT(inline_commands));
}

Test(resp, replies_follow_the_grammar_to_the_byte)
{
	expect_verdicts(replies, COUNT(replies));
}

Test(resp, a_transaction_is_over_only_if_a_reply_proves_it)
{
	expect_verdicts(transactions, COUNT(transactions));
}

Test(resp, what_is_set_stays_set)
{
	expect_verdicts(states, COUNT(states));
}

Test(resp, where_replies_cannot_be_counted_they_are_framed)
{
	expect_verdicts(uncounted, COUNT(uncounted));
}

Test(resp, bytes_may_move_unseen_only_where_they_do_not_matter)
{
	expect_verdicts(unseen_bytes, COUNT(unseen_bytes));
}

/* ---- every row of the table ---- */

enum {
	CHANGES = 0,
	READS = 1 << 0,
	STATE = 1 << 1,
	PUSHES = 1 << 2,
	UNCOUNTED = 1 << 3,
	MUTES = 1 << 4,
	BLOCKS = 1 << 5,
	OPENS = 1 << 6,
	EXECUTES = 1 << 7,
	CLOSES = 1 << 8,
	GOODBYE = 1 << 9,
	NEVER = 1 << 10,
	SUBCOMMANDS = 1 << 11,
	OTHERS = 1 << 12,
	RIGHTS = 1 << 13,
};

static const struct row {
	const char *name;
	unsigned meaning;
} rows[] = {
#define COMMAND(name, meaning) {name, meaning},
#include "pool/trackers/resp_commands.inc"
#undef COMMAND
};

union state {
	max_align_t alignment;
	uint8_t bytes[TRACKER_STATE_MAX];
};

static void send_text(union state *state, const char *text)
{
	feed_piece(&resp_tracker, state, '>', text, strlen(text));
}

static void receive_text(union state *state, const char *text)
{
	feed_piece(&resp_tracker, state, '<', text, strlen(text));
}

static const char *verdict_word(const union state *state)
{
	return refusal_word(resp_tracker.verdict(state));
}

/* Makes a command, and the same as an inline one, of a name with a bar before the subcommand. */
static void write_commands(const char *name, bool upper, char *command, char *plain)
{
	char words[64], *bar;

	strcpy(words, name);
	for (char *at = words; upper && *at; at++)
		*at = *at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at;
	bar = strchr(words, '|');
	if (bar)
		*bar = '\0';
	if (bar) {
		sprintf(command, "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n$1\r\nk\r\n", strlen(words),
			words, strlen(bar + 1), bar + 1);
		sprintf(plain, "%s %s k\r\n", words, bar + 1);
	} else {
		sprintf(command, "*1\r\n$%zu\r\n%s\r\n", strlen(words), words);
		sprintf(plain, "%s\r\n", words);
	}
}

static const char *expected_verdict(unsigned meaning)
{
	if (meaning & GOODBYE)
		return "said_goodbye";
	if (meaning & MUTES)
		return "busy";
	return meaning & (STATE | RIGHTS | UNCOUNTED | OPENS | NEVER) ? "state" : "none";
}

Test(resp, each_command_has_its_verdict_however_it_comes)
{
	char command[128], plain[128];

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (int upper = 0; upper < 2; upper++) {
			struct conversation told = {
				.claim = rows[i].name,
				.steps = {{'>', command, 0}, RECEIVED(OK)},
				.verdict = expected_verdict(rows[i].meaning),
			};

			write_commands(rows[i].name, upper, command, plain);
			told.steps[0].len = strlen(command);
			expect_verdict_however_cut(&resp_tracker, &told);
			told.steps[0] = (struct step){'>', plain, strlen(plain)};
			expect_verdict_however_cut(&resp_tracker, &told);
		}
	}
}

Test(resp, each_command_that_can_be_undone_is_undone_by_reset)
{
	char command[128], plain[128];

	for (size_t i = 0; i < COUNT(rows); i++) {
		union state state = {0};

		write_commands(rows[i].name, false, command, plain);
		send_text(&state, command);
		receive_text(&state, OK);
		if (resp_tracker.verdict(&state) != REFUSED_STATE)
			continue;
		const struct tracker_reset *reset = resp_tracker.reset(&state);

		cr_expect_eq(reset == NULL, (rows[i].meaning & NEVER) != 0, "%s", rows[i].name);
		if (!reset)
			continue;
		cr_expect(reset->question_len == strlen(RESET) &&
			  memcmp(reset->question, RESET, reset->question_len) == 0);
		cr_expect(reset->answer_len == 8 && memcmp(reset->answer, "+RESET\r\n", 8) == 0);
		resp_tracker.was_reset(&state);
		cr_expect_str_eq(verdict_word(&state), "none", "%s", rows[i].name);
		receive_text(&state, ">");
		cr_expect_str_eq(verdict_word(&state), "unsolicited", "%s", rows[i].name);
	}
}

Test(resp, only_reading_and_setting_commands_are_repeatable)
{
	char command[128], plain[128];

	for (size_t i = 0; i < COUNT(rows); i++) {
		const bool repeatable = rows[i].meaning & (READS | STATE);
		union state state = {0};

		write_commands(rows[i].name, false, command, plain);
		send_text(&state, command);
		cr_expect_eq(resp_tracker.facts(&state).repeatable, repeatable, "%s", rows[i].name);
		send_text(&state, GET);
		cr_expect_eq(resp_tracker.facts(&state).repeatable, repeatable, "%s", rows[i].name);
	}
}

Test(resp, a_blocking_command_is_refused_for_good_where_replies_are_not_counted)
{
	char command[128], plain[128];

	for (size_t i = 0; i < COUNT(rows); i++) {
		union state state = {0};

		if (!(rows[i].meaning & BLOCKS))
			continue;
		send_text(&state, SUBSCRIBE);
		write_commands(rows[i].name, false, command, plain);
		cr_expect(resp_tracker.reset(&state));
		send_text(&state, command);
		cr_expect_str_eq(verdict_word(&state), "state");
		cr_expect_null(resp_tracker.reset(&state), "%s", rows[i].name);
	}
}

Test(resp, a_blocking_command_that_was_answered_does_no_harm)
{
	union state state = {0};

	send_text(&state, BLPOP);
	receive_text(&state, "*-1\r\n");
	send_text(&state, SUBSCRIBE);
	receive_text(&state, SUBSCRIBED);
	cr_expect(resp_tracker.reset(&state));
}

Test(resp, the_table_is_sorted_and_in_lower_case)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *bar = strchr(rows[i].name, '|');

		cr_expect_leq(strlen(rows[i].name), 33, "%s", rows[i].name);
		for (const char *at = rows[i].name; *at; at++)
			cr_expect(*at < 'A' || *at > 'Z', "%s", rows[i].name);
		cr_expect(i == 0 || strcmp(rows[i - 1].name, rows[i].name) < 0, "%s", rows[i].name);
		cr_expect(!bar || !(rows[i].meaning & SUBCOMMANDS), "%s", rows[i].name);
	}
}

Test(resp, each_subcommand_has_its_container)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *bar = strchr(rows[i].name, '|');
		bool found = !bar;

		for (size_t j = 0; bar && j < COUNT(rows); j++)
			found |= rows[j].meaning & SUBCOMMANDS &&
				 strlen(rows[j].name) == (size_t)(bar - rows[i].name) &&
				 memcmp(rows[j].name, rows[i].name, bar - rows[i].name) == 0;
		cr_expect(found, "%s", rows[i].name);
	}
}

/* ---- limits ---- */

Test(resp, the_state_fits_into_a_connection)
{
	cr_expect_leq(resp_tracker.state_size, TRACKER_STATE_MAX);
	cr_expect_str_eq(resp_tracker.name, "resp");
}

Test(resp, no_bytes_change_nothing)
{
	union state state = {0};

	resp_tracker.received(&state, NULL, 0);
	resp_tracker.sent(&state, NULL, 0);
	cr_expect_str_eq(verdict_word(&state), "unused");
}

Test(resp, any_number_of_commands_may_be_outstanding)
{
	union state state = {0};

	for (int i = 0; i < 100000; i++)
		send_text(&state, GET);
	for (int i = 0; i < 100000; i++) {
		cr_assert_str_eq(verdict_word(&state), "busy");
		receive_text(&state, NIL);
	}
	cr_expect_str_eq(verdict_word(&state), "none");
	receive_text(&state, NIL);
	cr_expect_str_eq(verdict_word(&state), "unsolicited");
}

static const char *verdict_on_line_of(size_t size, size_t piece)
{
	static char line[70 * 1024];
	union state state = {0};

	memset(line, 'a', size);
	memcpy(line, "GET ", 4);
	memcpy(line + size - 2, "\r\n", 2);
	feed_step(&resp_tracker, &state, &(struct step){'>', line, size}, piece);
	receive_text(&state, NIL);
	return verdict_word(&state);
}

Test(resp, an_inline_command_ends_within_64_KiB)
{
	static const size_t pieces[] = {1, 4096, SIZE_MAX};

	for (size_t i = 0; i < COUNT(pieces); i++) {
		cr_expect_str_eq(verdict_on_line_of(64 * 1024, pieces[i]), "none");
		cr_expect_str_eq(verdict_on_line_of(64 * 1024 + 1, pieces[i]), "length");
	}
}

Test(resp, half_a_gigabyte_passes_unread)
{
	union state state = {0};

	send_text(&state, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n");
	resp_tracker.sent(&state, NULL, 536870912);
	cr_expect_str_eq(verdict_word(&state), "busy");
	send_text(&state, "\r\n" GET);
	receive_text(&state, OK "$536870912\r\n");
	resp_tracker.received(&state, NULL, 536870912);
	cr_expect_str_eq(verdict_word(&state), "busy");
	receive_text(&state, "\r\n");
	cr_expect_str_eq(verdict_word(&state), "none");
}

Test(resp, once_refused_is_refused_for_good)
{
	union state state = {0};

	send_text(&state, GET);
	receive_text(&state, "?");
	for (int i = 0; i < 3; i++) {
		cr_expect_str_eq(verdict_word(&state), "malformed");
		cr_expect(resp_tracker.facts(&state).lost);
		send_text(&state, SELECT QUIT "*1\r\n$1\r\nx\r\n");
		receive_text(&state, OK);
	}
}

/* ---- facts ---- */

struct facts_row {
	const char *claim, *first, *answer, *then;
	bool repeatable, unfinished, lost;
};

/* clang-format off */
static const struct facts_row facts_rows[] = {
	{"nothing", "", "", "", false, false, false},
	{"the beginning of a command", "*", "", "", false, true, false},
	{"up to its name", "*2\r\n$3\r\nGET", "", "", false, true, false},
	{"with its name", "*2\r\n$3\r\nGET\r\n", "", "", true, true, false},
	{"up to its subcommand", "*2\r\n$6\r\nCONFIG\r\n", "", "", false, true, false},
	{"up to its value", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\nabc", "", "", false, true, false},
	{"half an inline command", "GE", "", "", false, true, false},
	{"all of it", GET, "", "", true, false, false},
	{"one that changes something", SET, "", "", false, false, false},
	{"and half another", GET "*2\r\n$3\r\nGET\r\n", "", "", true, false, false},
	{"and the beginning of another", GET "*2\r\n$3\r\n", "", "", false, false, false},
	{"and half one that changes something", GET "*2\r\n$3\r\nDEL\r\n", "", "", false, false,
		false},
	{"it, then one that changes something", GET SET, "", "", false, false, false},
	{"one that changes something, then it", SET GET, "", "", false, false, false},
	{"the same, and the first answered", SET GET, OK, "", true, false, false},
	{"both answered", SET GET, OK NIL, "", false, false, false},
	{"the next one begun", GET, NIL, "*2\r\n$3\r\nGET\r\n", true, true, false},
	{"a login", "AUTH x\r\n" GET, "", "", true, false, false},
	{"a login, answered: another connection has it not", "AUTH x\r\n", OK, GET, false, false,
		false},
	{"a transaction", MULTI GET, "", "", false, false, false},
	{"a transaction that is over", MULTI EXEC, OK "*0\r\n", GET, true, false, false},
	{"a subscription", SUBSCRIBE, "", "", false, false, false},
	{"half a command behind a subscription", SUBSCRIBE, SUBSCRIBED, "*", false, false, false},
	{"an unknown command", "*1\r\n$1\r\nx\r\n", "", "", false, false, false},
	{"an unknown command, answered", "*1\r\n$1\r\nx\r\n", OK, GET, false, false, false},
	{"malformed", "*a", "", "", false, false, true},
	{"malformed behind a command", GET "*a", "", "", false, false, true},
	{"no reply", GET, "x", "", false, false, true},
	{"a reply that nobody asked for", GET, NIL NIL, "", false, false, true},
};
/* clang-format on */

Test(resp, what_may_be_sent_again)
{
	for (size_t i = 0; i < COUNT(facts_rows); i++) {
		const struct facts_row *row = &facts_rows[i];
		union state state = {0};

		send_text(&state, row->first);
		receive_text(&state, row->answer);
		send_text(&state, row->then);
		const struct tracker_facts facts = resp_tracker.facts(&state);

		cr_expect_eq(facts.repeatable, row->repeatable, "%s: repeatable", row->claim);
		cr_expect_eq(facts.unfinished, row->unfinished, "%s: unfinished", row->claim);
		cr_expect_eq(facts.lost, row->lost, "%s: lost", row->claim);
		cr_expect(!facts.host && !facts.first_host && !facts.keeps_ms);
	}
}

/* ---- goodbyes ---- */

static bool says_goodbye(const union state *state, const char *text, size_t len)
{
	return resp_tracker.is_goodbye(state, at_end_of_page(text, len), len);
}

Test(resp, a_goodbye_is_QUIT_and_nothing_else)
{
	static const char *const goodbyes[] = {
		QUIT, "*1\r\n$4\r\nquit\r\n", "*1\r\n$4\r\nQuit\r\n", "QUIT\r\n", "quit\r\n"};
	static const char *const others[] = {"", "Q", "QUIT", "QUIT\n", "QUIT \r\n", " QUIT\r\n",
		"QUIT x\r\n", "\r\nQUIT\r\n", "QUIT\r\nQUIT\r\n", (QUIT QUIT), GET, ("*0\r\n" QUIT),
		"*2\r\n$4\r\nQUIT\r\n$1\r\nx\r\n", "*1\r\n$4\r\nQUIT\r", "*1\r\n$4\r\nQU\tT\r\n",
		"1\r\n$4\r\nQUIT\r\n", "PING\r\n", "\x11UIT\r\n"};
	union state state = {0};

	send_text(&state, GET);
	receive_text(&state, NIL);
	for (size_t i = 0; i < COUNT(goodbyes); i++)
		cr_expect(
			says_goodbye(&state, goodbyes[i], strlen(goodbyes[i])), "%s", goodbyes[i]);
	for (size_t i = 0; i < COUNT(others); i++)
		cr_expect_not(says_goodbye(&state, others[i], strlen(others[i])), "%s", others[i]);
	cr_expect_not(resp_tracker.is_goodbye(&state, NULL, strlen(QUIT)), "unseen");
	cr_expect_str_eq(verdict_word(&state), "none", "it was not sent");
}

Test(resp, a_goodbye_stands_between_exchanges)
{
	static const struct {
		const char *sent, *received;
		bool goodbye;
	} table[] = {
		{GET, NIL, true},
		{SELECT, OK, true},
		{GET, "", false},
		{GET, "$", false},
		{GET "*", NIL, false},
		{SUBSCRIBE, SUBSCRIBED, false},
		{"*1\r\n$1\r\nx\r\n", OK, false},
		{GET, "x", false},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		union state state = {0};

		send_text(&state, table[i].sent);
		receive_text(&state, table[i].received);
		cr_expect_eq(says_goodbye(&state, QUIT, strlen(QUIT)), table[i].goodbye, "%zu", i);
	}
}

/* ---- recognition ---- */

static enum recognition recognise(const char *text, size_t len)
{
	return resp_tracker.recognise(at_end_of_page(text, len), len);
}

Test(resp, a_command_is_recognised_at_the_end_of_its_name_and_not_before)
{
	char command[128], plain[128];

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (int upper = 0; upper < 2; upper++) {
			write_commands(rows[i].name, upper, command, plain);
			const size_t known = strchr(strchr(command, '\n') + 1, '\n') + 1 - command +
					     strcspn(rows[i].name, "|");

			for (size_t len = 1; len <= strlen(command) && len <= TRACKER_PREFIX_MAX;
				len++)
				cr_expect_eq(recognise(command, len),
					len >= known || len == TRACKER_PREFIX_MAX ? RECOGNISED_YES
										  : RECOGNISED_MORE,
					"%s, %zu", rows[i].name, len);
		}
	}
}

Test(resp, the_only_inline_command_that_is_recognised_is_PING)
{
	for (size_t len = 1; len < 6; len++)
		cr_expect_eq(recognise("PING\r\n", len), RECOGNISED_MORE);
	cr_expect_eq(recognise("PING\r\n", 6), RECOGNISED_YES);
	cr_expect_eq(recognise("PING\r\nPING\r\n", 12), RECOGNISED_YES);
}

Test(resp, other_first_bytes_are_not_recognised)
{
	static const char *const others[] = {"GET k\r\n", "get k\r\n", "ping\r\n", "PING\n",
		"PING k\r\n", "PINGS", "PUT / HTTP/1.1\r\n", "\r\n", "*0\r\n", "*-1\r\n",
		"*1\r\n$1\r\nx\r\n", "*1\r\n$4\r\nPINK\r\n", "*1\r\n$4\r\nPI\r\n", "*01\r\n", "*x",
		"*1\n", "*1\r\n+PING\r\n", "*1\r\n$0\r\n\r\n", "*1\r\n$-1\r\n", "+OK\r\n",
		"*1\r\n$14\r\nclient|id", "\x16\x03\x01", "**", "*0\r\n*1\r\n$4\r\nPING\r\n"};

	for (size_t i = 0; i < COUNT(others); i++)
		cr_expect_eq(
			recognise(others[i], strlen(others[i])), RECOGNISED_NO, "%s", others[i]);
}

Test(resp, twenty_four_bytes_decide)
{
	static const char *const texts[] = {"*1048576\r\n$20\r\ngeoradiusbymember_ro\r\n",
		"*1048576\r\n$536870912\r\nget", "*1\r\n$20\r\ngeoradiusbymember_xx\r\n"};
	static const enum recognition answers[] = {RECOGNISED_YES, RECOGNISED_YES, RECOGNISED_YES};

	for (size_t i = 0; i < COUNT(texts); i++) {
		cr_expect_eq(
			recognise(texts[i], TRACKER_PREFIX_MAX - 1), RECOGNISED_MORE, "%zu", i);
		cr_expect_eq(recognise(texts[i], TRACKER_PREFIX_MAX), answers[i], "%zu", i);
	}
}
