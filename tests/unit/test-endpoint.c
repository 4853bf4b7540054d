#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/endpoint.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static union address address_of(const char *written, unsigned port, uint32_t scope)
{
	union address address = {.in.sin_family = AF_INET, .in.sin_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, written, &address.in.sin_addr) == 1)
		return address;
	address.in6 = (struct sockaddr_in6){
		.sin6_family = AF_INET6,
		.sin6_port = htons((uint16_t)port),
		.sin6_scope_id = scope,
	};
	cr_assert_eq(inet_pton(AF_INET6, written, &address.in6.sin6_addr), 1);
	return address;
}

static struct endpoint endpoint_of(const char *written, unsigned port, uint32_t scope)
{
	union address address = address_of(written, port, scope);
	struct endpoint endpoint;

	cr_assert(endpoint_from(&endpoint, &address.any, sizeof(address)));
	return endpoint;
}

Test(endpoint, keeps_family_address_port_and_scope)
{
	struct endpoint four = endpoint_of("192.0.2.1", 80, 0);
	struct endpoint six = endpoint_of("fe80::1", 8080, 3);

	cr_expect_eq(four.family, AF_INET);
	cr_expect_eq(endpoint_port(&four), 80);
	cr_expect_eq(memcmp(four.address, "\xc0\x00\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0", 16), 0);
	cr_expect_eq(six.family, AF_INET6);
	cr_expect_eq(endpoint_port(&six), 8080);
	cr_expect_eq(six.scope_id, 3);
	cr_expect_eq(six.address[0], 0xfe);
	cr_expect_eq(six.address[15], 1);
}

Test(endpoint, is_the_same_bytes_for_the_same_address_whatever_lay_there_before)
{
	union address address = address_of("192.0.2.1", 80, 0);
	struct endpoint one, two;

	memset(&one, 0x55, sizeof(one));
	memset(&two, 0xaa, sizeof(two));
	memset(address.in.sin_zero, 0x11, sizeof(address.in.sin_zero));
	cr_assert(endpoint_from(&one, &address.any, sizeof(address.in)));
	memset(address.in.sin_zero, 0x22, sizeof(address.in.sin_zero));
	cr_assert(endpoint_from(&two, &address.any, sizeof(address.in)));
	cr_expect_eq(memcmp(&one, &two, sizeof(one)), 0);
}

Test(endpoint, differs_where_the_address_differs)
{
	static const struct {
		const char *claim, *written;
		unsigned port;
		uint32_t scope;
	} rows[] = {
		{"the first", "192.0.2.1", 80, 0},
		{"another address", "192.0.2.2", 80, 0},
		{"another port", "192.0.2.1", 81, 0},
		{"the port's bytes swapped", "192.0.2.1", 80 << 8, 0},
		{"an IPv4-mapped address", "::ffff:192.0.2.1", 80, 0},
		{"an IPv6 address", "fe80::1", 80, 1},
		{"another scope", "fe80::1", 80, 2},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t k = 0; k < COUNT(rows); k++) {
			struct endpoint one =
				endpoint_of(rows[i].written, rows[i].port, rows[i].scope);
			struct endpoint two =
				endpoint_of(rows[k].written, rows[k].port, rows[k].scope);
			cr_expect_eq(memcmp(&one, &two, sizeof(one)) == 0, i == k, "%s and %s",
				rows[i].claim, rows[k].claim);
		}
	}
}

Test(endpoint, flow_information_is_part_of_it)
{
	union address address = address_of("2001:db8::1", 80, 0);
	struct endpoint endpoint;

	address.in6.sin6_flowinfo = htonl(7);
	cr_assert(endpoint_from(&endpoint, &address.any, sizeof(address.in6)));
	cr_expect_eq(endpoint.flow_info, htonl(7));
}

/* The address ends where a page ends, so that reading one byte more crashes. */
Test(endpoint, an_address_that_is_too_short_or_of_another_family_is_none)
{
	static const struct {
		const char *claim;
		sa_family_t family;
		socklen_t len;
		bool expected;
	} rows[] = {
		{"no byte", AF_INET, 0, false},
		{"half a family", AF_INET, 1, false},
		{"a family", AF_INET, 2, false},
		{"one byte less than an IPv4 address", AF_INET, 15, false},
		{"an IPv4 address", AF_INET, 16, true},
		{"an IPv4 address with more behind it", AF_INET, 28, true},
		{"one byte less than an IPv6 address", AF_INET6, 27, false},
		{"an IPv6 address", AF_INET6, 28, true},
		{"a Unix address", AF_UNIX, 110, false},
		{"AF_UNSPEC", AF_UNSPEC, 16, false},
	};
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *area =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(area != MAP_FAILED && mprotect(area + page, page, PROT_NONE) == 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		char *address = area + page - rows[i].len;
		struct endpoint endpoint;

		memset(area, 0, page);
		memcpy(address, &rows[i].family,
			rows[i].len < sizeof(rows[i].family) ? rows[i].len
							     : sizeof(rows[i].family));
		cr_expect_eq(
			endpoint_from(&endpoint, (struct sockaddr *)(void *)address, rows[i].len),
			rows[i].expected, "%s", rows[i].claim);
	}
}

/* Programs keep addresses in buffers of bytes, and the kernel takes them. */
Test(endpoint, an_address_need_not_be_aligned)
{
	union address address = address_of("192.0.2.1", 80, 0);
	_Alignas(8) char buffer[sizeof(address) + 1];
	struct endpoint endpoint, aligned = endpoint_of("192.0.2.1", 80, 0);

	memcpy(buffer + 1, &address, sizeof(address));
	cr_assert(endpoint_from(
		&endpoint, (struct sockaddr *)(void *)(buffer + 1), sizeof(address.in)));
	cr_expect_eq(memcmp(&endpoint, &aligned, sizeof(endpoint)), 0);
}

Test(endpoint, a_local_address_without_a_port_becomes_part_of_it)
{
	struct endpoint endpoint = endpoint_of("192.0.2.1", 80, 0), plain = endpoint;
	struct endpoint local = endpoint_of("192.0.2.99", 0, 0), none = {0};

	cr_expect(endpoint_bind(&endpoint, &none), "a socket that was not bound");
	cr_expect_eq(memcmp(&endpoint, &plain, sizeof(plain)), 0);
	cr_expect(endpoint_bind(&endpoint, &local));
	cr_expect_eq(memcmp(endpoint.local_address, local.address, 16), 0);
	cr_expect_neq(memcmp(&endpoint, &plain, sizeof(plain)), 0);
}

Test(endpoint, a_bound_port_or_another_family_is_refused)
{
	struct endpoint endpoint = endpoint_of("192.0.2.1", 80, 0), before = endpoint;
	struct endpoint port = endpoint_of("192.0.2.99", 4000, 0);
	struct endpoint family = endpoint_of("::1", 0, 0);

	cr_expect_not(endpoint_bind(&endpoint, &port));
	cr_expect_not(endpoint_bind(&endpoint, &family));
	cr_expect_eq(memcmp(&endpoint, &before, sizeof(before)), 0);
}

Test(endpoint, addresses_are_written_as_rfc_5952_wants)
{
	static const struct {
		const char *written, *expected;
		uint32_t scope;
	} rows[] = {
		{"0.0.0.0", "0.0.0.0", 0},
		{"192.0.2.1", "192.0.2.1", 0},
		{"255.255.255.255", "255.255.255.255", 0},
		{"::", "::", 0},
		{"::1", "::1", 0},
		{"1::", "1::", 0},
		{"2001:0db8:0000:0000:0000:0000:0002:0001", "2001:db8::2:1", 0},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1", 0},
		{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1", 0},
		{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", 0},
		{"0:0:1::", "0:0:1::", 0},
		{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", 0},
		{"ABCD:ef00::", "abcd:ef00::", 0},
		{"::ffff:192.0.2.1", "::ffff:192.0.2.1", 0},
		{"fe80::1", "fe80::1%3", 3},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
			"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295", 4294967295},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct endpoint endpoint = endpoint_of(rows[i].written, 80, rows[i].scope);
		char data[64] = "";
		struct text text = {.data = data, .size = sizeof(data) - 1};

		endpoint_add_address(&text, &endpoint);
		cr_expect_str_eq(data, rows[i].expected);
	}
}
