/* Rules: which settings the service points of some host and port have of their own.
 *
 *      www.contoso.com:80 idle=5000 limit=4; *.internal:80 lease=60000
 *      10.0.0.0/8:* off=1        # a comment
 *
 * A rule is a pattern and one or more key=value; a semicolon or the end of the line ends it. A
 * comment begins where a word begins with #, and goes on to the end of the line, semicolons and
 * all. The keys are those of settings.inc, with its ranges; proto is auto, http, raw, resp
 * (redis) or memcached. A pattern is one of these, a colon, and a port or *:
 *
 *      www.contoso.com         this host name, in upper or lower case, with a dot at its end or not
 *      *.internal              every name below it, but not itself
 *      10.1.2.3   10.0.0.0/8   an IPv4 address, or all with these first bits; the same address in
 *                              IPv6 (::ffff:10.1.2.3), too
 *      [::1]   [2001:db8::/32] an IPv6 address, or all with these first bits; on any interface
 *      *                       every host
 *
 * A name is matched by names only, and an address by addresses only: which name a connection goes
 * to is known if the program asked the C library to resolve it. An address for which there is a
 * rule is a service point of its own, apart from its name's other addresses, so that rules hold for
 * all connections that they match and for no others. For each key the last rule that
 * matches and has that key wins, and in a rule the last key=value of it.
 *
 * No function here allocates, waits, sets errno or depends on the locale.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pool/endpoint.h"
#include "pool/settings.h"

enum pattern_kind {
	PATTERN_ANY,
	PATTERN_NAME,
	PATTERN_BELOW, /* names below a name */
	PATTERN_ADDRESS,
};

struct pattern {
	enum pattern_kind kind;
	uint16_t port;    /* host byte order; 0: any */
	uint16_t family;  /* PATTERN_ADDRESS: AF_INET or AF_INET6 */
	uint16_t bits;    /* of the address, that count */
	const char *name; /* as written, in the text; without * and without a dot at the end */
	size_t name_len;
	uint8_t address[16];
};

struct rule {
	struct pattern pattern;
	uint32_t keys;                /* 1 << n: the nth field of values is set */
	struct point_settings values; /* zero where they are not */
};

/* Zero is no rules, and no room for any. The list is the caller's. */
struct rules {
	struct rule *list;
	size_t count, room;
	size_t addresses; /* of them, those for addresses */
};

/* What is wrong with a rule. */
struct complaint {
	unsigned line, column; /* of the word, from 1; columns are bytes */
	const char *word;      /* in the text */
	size_t word_len;
	/* A sentence of printable ASCII that begins with the word: "idle=-5 is not allowed: -1 to
	 * 2147483647". Gone when the callback returns. */
	const char *problem;
};

#define PROBLEM_MAX 160 /* bytes of a problem, with the 0 at its end */

/* How many rules a text holds, if none of them is bad. */
size_t rules_room_needed(const char *text, size_t len);

/* Adds the rules of a text to those that are there already. The text need not end with a 0; the
 * rules point into it, so it must outlive them, unchanged. A bad rule is left out as a whole and
 * complained of once; so is the first one that there is no room for, on behalf of those after it.
 */
void rules_parse(struct rules *rules, const char *text, size_t len,
	void (*complain)(const struct complaint *complaint, void *context), void *context);

/* A pattern by itself; and key=value by themselves, for a rule without a pattern. false: there is
 * something wrong, and it was complained of. */
bool pattern_parse(const char *text, size_t len, struct pattern *pattern,
	void (*complain)(const struct complaint *complaint, void *context), void *context);
bool rule_parse_settings(const char *text, size_t len, struct rule *rule,
	void (*complain)(const struct complaint *complaint, void *context), void *context);

/* As for rules_apply(). */
bool pattern_matches(
	const struct pattern *pattern, const char *name, const struct endpoint *endpoint);

/* Makes a rule set one setting of service points more, to a value that is allowed; sets what a rule
 * says, whatever its pattern; and makes a rule say what another one says, too. */
void rule_set_value(struct rule *rule, const struct setting *setting, long value);
void rule_set(const struct rule *rule, struct point_settings *settings);
void rule_merge(struct rule *rule, const struct rule *other);

/* Is there a rule for this address and port, whatever it says? */
bool rules_tell_address(const struct rules *rules, const struct endpoint *endpoint);

/* Sets what the rules say of this endpoint, and leaves the rest as it is; name is the host name
 * that the program resolved, NULL: not known. The endpoint need have no more than a port: where its
 * family is 0, as in the key of a service point that has a name, it has no address to match. Each
 * setting is stored once at most, so that who reads it with setting_of() at the same time never
 * sees what one rule says and another overrules. */
void rules_apply(const struct rules *rules, const char *name, const struct endpoint *endpoint,
	struct point_settings *settings);
