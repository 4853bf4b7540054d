#include "tests/unit/conversations.h"

#include "pool/trackers/http1.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define GET            "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define HEAD           "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET_WITH(line) "GET / HTTP/1.1\r\nHost: a\r\n" line "\r\n\r\n"
#define OK             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define OK_WITH(line)  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" line "\r\n\r\nhi"
#define CHUNKED_HEAD   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define POST_HEAD      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
#define POST_CHUNKED   "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

/* clang-format off */
static const struct conversation as_seen_in_the_wild[] = {
	{"curl, nginx", {
		SENT("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n"
		     "Accept: */*\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n"
			 "Date: Sat, 21 Nov 2026 04:26:39 GMT\r\nContent-Type: text/html\r\n"
			 "Content-Length: 6\r\nLast-Modified: Sat, 21 Nov 2026 04:26:14 GMT\r\n"
			 "Connection: keep-alive\r\nKeep-Alive: timeout=60\r\n"
			 "ETag: \"6b011d66-6\"\r\nAccept-Ranges: bytes\r\n\r\nhello\n"),
	}, "none"},
	{"curl --compressed, nginx with gzip", {
		SENT("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n"
		     "Accept: */*\r\nAccept-Encoding: deflate, gzip, br, zstd\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/html\r\n"
			 "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n"
			 "Keep-Alive: timeout=60\r\nETag: W/\"6b011d66-6\"\r\n"
			 "Content-Encoding: gzip\r\n\r\n1a\r\n"
			 "\x1f\x8b\x08\0\0\0\0\0\x04\x03\xcbH\xcd\xc9\xc9\xe7\x02\0 0:6\x06\0\0\0"
			 "\r\n0\r\n\r\n"),
	}, "none"},
	{"curl -I, nginx", {
		SENT("HEAD / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n"
		     "Accept: */*\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/html\r\n"
			 "Content-Length: 6\r\nConnection: keep-alive\r\n"
			 "Keep-Alive: timeout=60\r\nAccept-Ranges: bytes\r\n\r\n"),
	}, "none"},
	{"curl, nginx with 204", {
		SENT("GET /204 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n"
		     "Accept: */*\r\n\r\n"),
		RECEIVED("HTTP/1.1 204 No Content\r\nServer: nginx/1.22.1\r\n"
			 "Connection: keep-alive\r\nKeep-Alive: timeout=60\r\n\r\n"),
	}, "none"},
	{"curl -d, nginx", {
		SENT("POST /post HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n"
		     "Accept: */*\r\nContent-Length: 3\r\n"
		     "Content-Type: application/x-www-form-urlencoded\r\n\r\na=b"),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/plain\r\n"
			 "Content-Length: 5\r\nConnection: keep-alive\r\n\r\ndone\n"),
	}, "none"},
	{"curl -d with Transfer-Encoding: chunked, nginx", {
		SENT("POST /post HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n"
		     "Accept: */*\r\nTransfer-Encoding: chunked\r\n"
		     "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
		     "3\r\na=b\r\n0\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: text/plain\r\n"
			 "Content-Length: 5\r\nConnection: keep-alive\r\n\r\ndone\n"),
	}, "none"},
	{"curl with Expect, nginx that answers both at once", {
		SENT("POST /post HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n"
		     "Accept: */*\r\nExpect: 100-continue\r\nContent-Length: 3\r\n"
		     "Content-Type: application/x-www-form-urlencoded\r\n\r\n"),
		RECEIVED("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n"
			 "Content-Length: 5\r\nConnection: keep-alive\r\n\r\ndone\n"),
		SENT("a=b"),
	}, "early_response"},
	{"curl -0, nginx", {
		SENT("GET / HTTP/1.0\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n"
		     "Accept: */*\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Length: 6\r\n"
			 "Connection: close\r\nAccept-Ranges: bytes\r\n\r\nhello\n"),
	}, "http_1_0"},
	{"python http.client twice, head and body in two writes", {
		SENT("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
		     "Accept-Encoding: identity\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Length: 6\r\n"
			 "Connection: keep-alive\r\nKeep-Alive: timeout=60\r\n\r\n"),
		RECEIVED("hello\n"),
		SENT("POST /post HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept-Encoding: identity\r\n"
		     "Content-Length: 2\r\n\r\n"),
		SENT("xy"),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Length: 5\r\n"
			 "Connection: keep-alive\r\nKeep-Alive: timeout=60\r\n\r\ndone\n"),
	}, "none"},
	{"ruby Net::HTTP, nginx with gzip", {
		SENT("GET / HTTP/1.1\r\n"
		     "Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3\r\nAccept: */*\r\n"
		     "User-Agent: Ruby\r\nHost: 127.0.0.1:8080\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n"
			 "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
			 "6\r\nhello\n\r\n0\r\n\r\n"),
	}, "none"},
	{"ruby Net::HTTP, not started", {
		SENT("GET / HTTP/1.1\r\nAccept: */*\r\nUser-Agent: Ruby\r\n"
		     "Host: 127.0.0.1:8080\r\nConnection: close\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n"),
	}, "asked_to_close"},
	{"wget, nginx", {
		SENT("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: Wget/1.21.3\r\n"
		     "Accept: */*\r\nAccept-Encoding: identity\r\nConnection: Keep-Alive\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: keep-alive\r\n"
			 "Keep-Alive: timeout=60\r\n\r\nhello\n"),
	}, "none"},
	{"java.net.http, which offers h2c", {
		SENT("GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\n"
		     "Content-Length: 0\r\nHost: 127.0.0.1:8080\r\n"
		     "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n"
		     "Upgrade: h2c\r\nUser-Agent: Java-http-client/17.0.15\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Length: 6\r\n"
			 "Connection: keep-alive\r\nKeep-Alive: timeout=60\r\n\r\nhello\n"),
	}, "none"},
	{"java.net.http, whose h2c is taken up", {
		SENT("GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\n"
		     "Content-Length: 0\r\nHost: 127.0.0.1:8080\r\n"
		     "HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n"
		     "Upgrade: h2c\r\n\r\n"),
		RECEIVED("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
			 "Upgrade: h2c\r\n\r\n"),
	}, "tunnel"},
	{"java HttpURLConnection, nginx with 301", {
		SENT("GET /301 HTTP/1.1\r\nUser-Agent: Java/17.0.15\r\nHost: 127.0.0.1:8080\r\n"
		     "Accept: text/html, image/gif, image/jpeg, */*; q=0.2\r\n"
		     "Connection: keep-alive\r\n\r\n"),
		RECEIVED("HTTP/1.1 301 Moved Permanently\r\nServer: nginx/1.22.1\r\n"
			 "Content-Length: 15\r\nLocation: http://127.0.0.1:8081/\r\n"
			 "Connection: keep-alive\r\n\r\n<html>\r\n</html>"),
	}, "none"},
	{"ab -k", {
		SENT("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: 127.0.0.1:8080\r\n"
		     "User-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n"),
		RECEIVED("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\n"
			 "hello\n"),
	}, "none"},
	{"Apache announces timeout and max", {
		SENT(GET),
		RECEIVED("HTTP/1.1 200 OK\r\nServer: Apache/2.4.57 (Debian)\r\nUpgrade: h2,h2c\r\n"
			 "Connection: Upgrade, Keep-Alive\r\nKeep-Alive: timeout=5, max=100\r\n"
			 "Content-Length: 2\r\n\r\nhi"),
	}, "none"},
	{"php file_get_contents", {
		SENT("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n"),
		RECEIVED(OK),
	}, "asked_to_close"},
	{"python http.server speaks 1.0", {
		SENT(GET),
		RECEIVED("HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6 Python/3.11.2\r\n"
			 "Content-Length: 2\r\n\r\nhi"),
	}, "http_1_0"},
	{"the preface of HTTP/2", {SENT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")}, "malformed"},
	{"a TLS hello", {SENT("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")}, "malformed"},
	{"an inline command of redis", {SENT("GET key\r\n")}, "malformed"},
	{"RTSP", {SENT("OPTIONS rtsp://a/b RTSP/1.0\r\nCSeq: 1\r\n\r\n")}, "malformed"},
};

static const struct conversation exchanges[] = {
	{"nothing at all", {{0}}, "unused"},
	{"the first byte of a request", {SENT("G")}, "busy"},
	{"a request without its last byte", {SENT("GET / HTTP/1.1\r\nHost: a\r\n\r")}, "busy"},
	{"a request without its answer", {SENT(GET)}, "busy"},
	{"the first byte of an answer", {SENT(GET), RECEIVED("H")}, "busy"},
	{"an answer without its last byte", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")}, "busy"},
	{"an exchange", {SENT(GET), RECEIVED(OK)}, "none"},
	{"a request after an exchange", {SENT(GET), RECEIVED(OK), SENT("G")}, "busy"},
	{"three exchanges", {
		SENT(GET), RECEIVED(OK), SENT(GET), RECEIVED(OK), SENT(GET), RECEIVED(OK)}, "none"},
	{"a bad exchange after a good one", {
		SENT(GET), RECEIVED(OK), SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\n\r\n")}, "until_eof"},
	{"two requests, one answer", {SENT(GET GET), RECEIVED(OK)}, "busy"},
	{"two requests, two answers", {SENT(GET GET), RECEIVED(OK OK)}, "none"},
	{"two requests, three answers", {SENT(GET GET), RECEIVED(OK OK OK)}, "unsolicited"},
	{"a pipeline whose answers know which was HEAD", {
		SENT(GET HEAD GET),
		RECEIVED(OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" OK)}, "none"},
	{"the second request of a pipeline while the first is answered", {
		SENT(GET "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n1"), RECEIVED(OK), SENT("2"),
		RECEIVED(OK)}, "none"},
	{"an answer to a request of which only the pipeline's first is sent", {
		SENT(GET "GET / HT"), RECEIVED(OK OK)}, "early_response"},
	{"half an answer before the next request", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\nCont"), SENT(GET),
		RECEIVED("ent-Length: 0\r\n\r\n" OK)}, "none"},
	{"a server that speaks first", {RECEIVED("HTTP/1.1 200 OK\r\n")}, "unsolicited"},
	{"a byte after the exchange", {SENT(GET), RECEIVED(OK "\n")}, "unsolicited"},
	{"a byte after the last chunk", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "0\r\n\r\n0")}, "unsolicited"},
	{"a body to HEAD", {SENT(HEAD), RECEIVED(OK)}, "unsolicited"},
	{"a body to 304", {
		SENT(GET), RECEIVED("HTTP/1.1 304 N\r\nContent-Length: 2\r\n\r\nhi")}, "unsolicited"},
	{"408 to nobody", {
		SENT(GET), RECEIVED(OK),
		RECEIVED("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")}, "unsolicited"},
	{"408", {SENT(GET), RECEIVED("HTTP/1.1 408 R\r\n")}, "request_timeout"},
	{"408 while the request is sent", {
		SENT(POST_HEAD "a"), RECEIVED("HTTP/1.1 408 R\r\n")}, "request_timeout"},
	{"421", {SENT(GET), RECEIVED("HTTP/1.1 421 M\r\n")}, "request_timeout"},
	{"an answer before the head of its request is sent", {
		SENT("GET / HTTP/1.1\r\n"), RECEIVED("H")}, "early_response"},
	{"100 before the head of its request is sent", {
		SENT("POST / HTTP/1.1\r\n"), RECEIVED("HTTP/1.1 100 C\r\n\r\n")}, "early_response"},
	{"an answer before the body of its request is sent", {
		SENT(POST_HEAD), RECEIVED(OK), SENT("abc")}, "early_response"},
	{"an answer before the last byte of its request is sent", {
		SENT(POST_HEAD "ab"), RECEIVED(OK), SENT("c")}, "early_response"},
	{"an answer that began before its request was sent", {
		SENT(POST_HEAD "ab"), RECEIVED("HTTP/1.1 "), SENT("c"),
		RECEIVED("200 OK\r\nContent-Length: 0\r\n\r\n")}, "early_response"},
	{"an answer before the trailers of its request are sent", {
		SENT(POST_CHUNKED "0\r\n"), RECEIVED(OK), SENT("\r\n")}, "early_response"},
	{"417 instead of the body", {
		SENT(POST_HEAD), RECEIVED("HTTP/1.1 417 E\r\nContent-Length: 0\r\n\r\n")},
		"early_response"},
	{"100-continue", {
		SENT("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"),
		RECEIVED("HTTP/1.1 100 Continue\r\n\r\n"), SENT("abc"), RECEIVED(OK)}, "none"},
	{"100-continue for chunks", {
		SENT(POST_CHUNKED), RECEIVED("HTTP/1.1 100 Continue\r\n\r\n"),
		SENT("3\r\nabc\r\n0\r\n\r\n"), RECEIVED(OK)}, "none"},
	{"half a 100 while the request is sent", {
		SENT(POST_HEAD), RECEIVED("HTTP/1.1 1"), SENT("abc"),
		RECEIVED("00 \r\n\r\n" OK)}, "none"},
	{"100 and nothing more", {SENT(GET), RECEIVED("HTTP/1.1 100 Continue\r\n\r\n")}, "busy"},
	{"102 and 103 before the answer", {
		SENT(GET), RECEIVED("HTTP/1.1 102 Processing\r\n\r\n"
				    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" OK)}, "none"},
	{"100 to HEAD does not answer it", {
		SENT(HEAD), RECEIVED("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")}, "none"},
	{"100 to nobody", {
		SENT(GET), RECEIVED(OK "HTTP/1.1 100 Continue\r\n\r\n")}, "unsolicited"},
	{"100 with a close", {
		SENT(GET), RECEIVED("HTTP/1.1 100 C\r\nConnection: close\r\n\r\n" OK)},
		"asked_to_close"},
	{"100 in 1.0", {SENT(GET), RECEIVED("HTTP/1.0 100 C\r\n\r\n" OK)}, "http_1_0"},
	{"101", {SENT(GET), RECEIVED("HTTP/1.1 101 S\r\n\r\n")}, "tunnel"},
	{"CONNECT", {SENT("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")}, "tunnel"},
	{"204", {SENT(GET), RECEIVED("HTTP/1.1 204 No Content\r\n\r\n")}, "none"},
	{"304 without a length", {SENT(GET), RECEIVED("HTTP/1.1 304 N\r\n\r\n")}, "none"},
	{"304 with the length of what is not sent", {
		SENT(GET), RECEIVED("HTTP/1.1 304 N\r\nContent-Length: 99\r\n\r\n")}, "none"},
	{"304 that would be chunked", {
		SENT(GET), RECEIVED("HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\n\r\n")}, "none"},
	{"HEAD, answered with a length", {
		SENT(HEAD), RECEIVED("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")}, "none"},
	{"HEAD, answered without", {SENT(HEAD), RECEIVED("HTTP/1.1 200 OK\r\n\r\n")}, "none"},
	{"HEAD, answered with chunked", {
		SENT(HEAD), RECEIVED("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")}, "none"},
	{"a body until the end of the connection", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\n\r\nhi")}, "until_eof"},
	{"an error until the end of the connection", {
		SENT(GET), RECEIVED("HTTP/1.1 500 E\r\n\r\n")}, "until_eof"},
	{"an empty body", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")}, "none"},
	{"a request with a length of 0", {
		SENT("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), RECEIVED(OK)}, "none"},
	{"a GET with a body", {
		SENT("GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), RECEIVED(OK)}, "none"},
	{"a GET without its body", {
		SENT("GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab")}, "busy"},
	{"a POST without length has no body", {
		SENT("POST / HTTP/1.1\r\n\r\n"), RECEIVED(OK)}, "none"},
	{"a POST with more than its body", {SENT(POST_HEAD "abcd")}, "malformed"},
	{"PROPFIND, which has another length than its answer", {
		SENT("PROPFIND / HTTP/1.1\r\nDepth: 1\r\nContent-Length: 3\r\n\r\n<a>"),
		RECEIVED("HTTP/1.1 207 Multi-Status\r\nContent-Length: 4\r\n\r\n<ab>")}, "none"},
	{"VERSION-CONTROL", {SENT("VERSION-CONTROL / HTTP/1.1\r\n\r\n"), RECEIVED(OK)}, "none"},
	{"OPTIONS *", {SENT("OPTIONS * HTTP/1.1\r\n\r\n"), RECEIVED(OK)}, "none"},
	{"a request to a proxy", {SENT("GET http://a/ HTTP/1.1\r\n\r\n"), RECEIVED(OK)}, "none"},
};

static const struct conversation start_lines[] = {
	{"an unknown method", {SENT("BREW / HTTP/1.1\r\n")}, "malformed"},
	{"a method in lower case", {SENT("get / HTTP/1.1\r\n")}, "malformed"},
	{"a method that goes on", {SENT("GETS / HTTP/1.1\r\n")}, "malformed"},
	{"half a method", {SENT("GE / HTTP/1.1\r\n")}, "malformed"},
	{"no method", {SENT(" / HTTP/1.1\r\n")}, "malformed"},
	{"a method and NUL", {SENT("GET\0 / HTTP/1.1\r\n\r\n"), RECEIVED(OK)}, "malformed"},
	{"a method and NULs", {SENT("GET\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")}, "malformed"},
	{"a method and HTAB", {SENT("GET\t/ HTTP/1.1\r\n")}, "malformed"},
	{"two spaces before the target", {SENT("GET  / HTTP/1.1\r\n")}, "malformed"},
	{"two spaces after the target", {SENT("GET /  HTTP/1.1\r\n")}, "malformed"},
	{"a space in the target", {SENT("GET /a b HTTP/1.1\r\n")}, "malformed"},
	{"a control in the target", {SENT("GET /\x01 HTTP/1.1\r\n")}, "malformed"},
	{"DEL in the target", {SENT("GET /\x7f HTTP/1.1\r\n")}, "malformed"},
	{"HTAB in the target", {SENT("GET /\t HTTP/1.1\r\n")}, "malformed"},
	{"UTF-8 in the target", {SENT("GET /\xc3\xa9 HTTP/1.1\r\n\r\n"), RECEIVED(OK)}, "none"},
	{"HTTP/0.9", {SENT("GET /\r\n")}, "malformed"},
	{"HTTP/1.2", {SENT("GET / HTTP/1.2\r\n")}, "malformed"},
	{"HTTP/2.0", {SENT("GET / HTTP/2.0\r\n")}, "malformed"},
	{"HTTP/1.10", {SENT("GET / HTTP/1.10\r\n")}, "malformed"},
	{"http/1.1", {SENT("GET / http/1.1\r\n")}, "malformed"},
	{"a space after the version", {SENT("GET / HTTP/1.1 \r\n")}, "malformed"},
	{"a bare LF after the request line", {SENT("GET / HTTP/1.1\n")}, "malformed"},
	{"a bare CR after the request line", {SENT("GET / HTTP/1.1\rH")}, "malformed"},
	{"an empty line before the request", {SENT("\r\n" GET)}, "malformed"},
	{"an empty line after a body", {
		SENT(POST_HEAD "abc\r\n"), RECEIVED(OK)}, "malformed"},
	{"an empty line before the response", {SENT(GET), RECEIVED("\r\n" OK)}, "malformed"},
	{"a response that is none", {SENT(GET), RECEIVED("SSH-2.0-OpenSSH_9.2\r\n")}, "malformed"},
	{"ICY", {SENT(GET), RECEIVED("ICY 200 OK\r\n")}, "malformed"},
	{"a response of HTTP/2.0", {SENT(GET), RECEIVED("HTTP/2.0 200 OK\r\n")}, "malformed"},
	{"a response of HTTP/1.2", {SENT(GET), RECEIVED("HTTP/1.2 200 OK\r\n")}, "malformed"},
	{"a status of two digits", {SENT(GET), RECEIVED("HTTP/1.1 20 OK\r\n")}, "malformed"},
	{"a status of four digits", {SENT(GET), RECEIVED("HTTP/1.1 2000 OK\r\n")}, "malformed"},
	{"a status that is no number", {SENT(GET), RECEIVED("HTTP/1.1 2x0 OK\r\n")}, "malformed"},
	{"status 099", {SENT(GET), RECEIVED("HTTP/1.1 099 OK\r\n")}, "malformed"},
	{"status 599", {
		SENT(GET), RECEIVED("HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n")}, "none"},
	{"status 600", {SENT(GET), RECEIVED("HTTP/1.1 600 OK\r\n")}, "malformed"},
	{"two spaces before the status", {SENT(GET), RECEIVED("HTTP/1.1  200 OK\r\n")}, "malformed"},
	{"an empty reason", {
		SENT(GET), RECEIVED("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n")}, "none"},
	{"a reason of many words", {
		SENT(GET), RECEIVED("HTTP/1.1 404 Not\t\xe9t\xe9 found\r\nContent-Length: 0\r\n\r\n")},
		"none"},
	{"no space after the status", {SENT(GET), RECEIVED("HTTP/1.1 200\r\n")}, "malformed"},
	{"NUL in the reason", {SENT(GET), RECEIVED("HTTP/1.1 200 \0\r\n")}, "malformed"},
	{"a bare LF after the status line", {SENT(GET), RECEIVED("HTTP/1.1 200 OK\n")}, "malformed"},
	{"a bare CR in the status line", {SENT(GET), RECEIVED("HTTP/1.1 200 O\rK")}, "malformed"},
};

static const struct conversation header_lines[] = {
	{"no headers", {SENT("GET / HTTP/1.1\r\n\r\n"), RECEIVED(OK)}, "none"},
	{"every byte of a token in a name", {
		SENT(GET_WITH("!#$%&'*+-.^_`|~09azAZ: 1")), RECEIVED(OK)}, "none"},
	{"an empty value", {SENT(GET_WITH("A:")), RECEIVED(OK)}, "none"},
	{"a value of spaces", {SENT(GET_WITH("A: \t ")), RECEIVED(OK)}, "none"},
	{"HTAB, Latin-1 and UTF-8 in a value", {
		SENT(GET_WITH("A:\ta\t\xe9 \xc3\xa9\xff\x80")), RECEIVED(OK)}, "none"},
	{"colons, quotes and brackets in a value", {
		SENT(GET_WITH("A: \"b:c\" (d) [e] {f} <g@h>\\;,?=/")), RECEIVED(OK)}, "none"},
	{"an empty name", {SENT(GET_WITH(": 1"))}, "malformed"},
	{"no colon", {SENT(GET_WITH("A"))}, "malformed"},
	{"a space before the colon", {SENT(GET_WITH("A : 1"))}, "malformed"},
	{"HTAB before the colon", {SENT(GET_WITH("A\t: 1"))}, "malformed"},
	{"a space before the colon of Content-Length", {
		SENT(GET_WITH("Content-Length : 1"))}, "malformed"},
	{"a space in a name", {SENT(GET_WITH("A B: 1"))}, "malformed"},
	{"a bracket in a name", {SENT(GET_WITH("A(: 1"))}, "malformed"},
	{"a non-ASCII byte in a name", {SENT(GET_WITH("\xc3\xa9: 1"))}, "malformed"},
	{"NUL in a name", {SENT(GET_WITH("A\0: 1"))}, "malformed"},
	{"NUL after a name that matters", {SENT(GET_WITH("Content-Length\0: 1"))}, "malformed"},
	{"CR in a name, where a hyphen may be", {
		SENT(GET_WITH("Content\rLength: 1"))}, "malformed"},
	{"NUL in a value", {SENT(GET_WITH("A: \0"))}, "malformed"},
	{"a control in a value", {SENT(GET_WITH("A: \x1b[0m"))}, "malformed"},
	{"DEL in a value", {SENT(GET_WITH("A: \x7f"))}, "malformed"},
	{"NUL in a value that matters", {SENT(GET_WITH("Connection: close\0"))}, "malformed"},
	{"a bare LF after a header", {SENT("GET / HTTP/1.1\r\nA: 1\nB: 2\r\n\r\n")}, "malformed"},
	{"a bare LF after a header that matters", {
		SENT("GET / HTTP/1.1\r\nConnection: keep-alive\nB: 2\r\n\r\n")}, "malformed"},
	{"a bare CR in a value", {SENT(GET_WITH("A: 1\r2"))}, "malformed"},
	{"two CR", {SENT(GET_WITH("A: 1\r"))}, "malformed"},
	{"a bare CR in a value that matters", {
		SENT(GET_WITH("Connection: close\rA: 1"))}, "asked_to_close"},
	{"a folded line", {SENT(GET_WITH("A: 1\r\n 2"))}, "malformed"},
	{"a line folded by HTAB", {SENT(GET_WITH("A: 1\r\n\t2"))}, "malformed"},
	{"a fold before the first header", {SENT("GET / HTTP/1.1\r\n A: 1\r\n\r\n")}, "malformed"},
	{"a folded line in the response", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nhi")}, "length"},
	{"the head ends in LF LF", {SENT("GET / HTTP/1.1\r\nA: 1\r\n\n")}, "malformed"},
	{"the head ends in CR and something", {SENT("GET / HTTP/1.1\r\nA: 1\r\n\rG")}, "malformed"},
	{"names that begin like those that matter", {
		SENT(GET_WITH("Content-Lengths: 9\r\nContent-Lengt: 9\r\nConnectio: close\r\n"
			      "Connections: close\r\nX-Content-Length: 9\r\nC: 1\r\nK: 2\r\n"
			      "Transfer-Encodin: x\r\nProxy-Authorizations: NTLM")),
		RECEIVED(OK)}, "none"},
};

static const struct conversation lengths[] = {
	{"Content-Length in any case, with space around", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\ncOnTeNt-LENGTH: \t 2\t \r\n\r\nhi")}, "none"},
	{"Content-Length without space", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\nContent-Length:2\r\n\r\nhi")}, "none"},
	{"Content-Length with leading zeros", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\nContent-Length: 0000000000000000000002\r\n"
				    "\r\nhi")}, "none"},
	{"Content-Length twice, equal", {SENT(GET), RECEIVED(OK_WITH("Content-Length: 2"))}, "length"},
	{"Content-Length twice, unequal", {
		SENT(GET), RECEIVED(OK_WITH("Content-Length: 3"))}, "length"},
	{"a list of lengths", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi")}, "length"},
	{"a length after an empty element", {SENT(GET_WITH("Content-Length: ,2"))}, "length"},
	{"a length before an empty element", {SENT(GET_WITH("Content-Length: 2,"))}, "length"},
	{"Content-Length with a sign", {SENT(GET_WITH("Content-Length: +2"))}, "length"},
	{"Content-Length below 0", {SENT(GET_WITH("Content-Length: -2"))}, "length"},
	{"Content-Length in hex", {SENT(GET_WITH("Content-Length: 0x2"))}, "length"},
	{"Content-Length with a fraction", {SENT(GET_WITH("Content-Length: 2.0"))}, "length"},
	{"Content-Length with a space inside", {SENT(GET_WITH("Content-Length: 1 2"))}, "length"},
	{"Content-Length in quotes", {SENT(GET_WITH("Content-Length: \"2\""))}, "length"},
	{"an empty Content-Length", {SENT(GET_WITH("Content-Length:"))}, "length"},
	{"a Content-Length of spaces", {SENT(GET_WITH("Content-Length:  "))}, "length"},
	{"the largest Content-Length", {
		SENT(GET_WITH("Content-Length: 9223372036854775807"))}, "busy"},
	{"a Content-Length beyond 63 bits", {
		SENT(GET_WITH("Content-Length: 9223372036854775808"))}, "length"},
	{"a Content-Length that is 2 modulo 2^64", {
		SENT(GET_WITH("Content-Length: 18446744073709551618"))}, "length"},
	{"a Content-Length of many digits", {
		SENT(GET_WITH("Content-Length: 111111111111111111111111111111111"))}, "length"},
	{"Content-Length, then Transfer-Encoding", {
		SENT(GET), RECEIVED(OK_WITH("Transfer-Encoding: chunked"))}, "length"},
	{"Transfer-Encoding, then Content-Length", {
		SENT("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n")},
		"length"},
	{"Transfer-Encoding in any case", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\ntransfer-ENCODING:\t ChUnKeD \r\n\r\n"
				    "0\r\n\r\n")}, "none"},
	{"Transfer-Encoding twice", {
		SENT(GET_WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"))}, "length"},
	{"chunked twice", {SENT(GET_WITH("Transfer-Encoding: chunked, chunked"))}, "length"},
	{"gzip, chunked", {SENT(GET_WITH("Transfer-Encoding: gzip, chunked"))}, "length"},
	{"chunked after an empty element", {SENT(GET_WITH("Transfer-Encoding: ,chunked"))}, "length"},
	{"chunked before an empty element", {SENT(GET_WITH("Transfer-Encoding: chunked,"))}, "length"},
	{"identity", {SENT(GET_WITH("Transfer-Encoding: identity"))}, "length"},
	{"chunked with a parameter", {SENT(GET_WITH("Transfer-Encoding: chunked;q=1"))}, "length"},
	{"chunked and another word", {SENT(GET_WITH("Transfer-Encoding: chunked x"))}, "length"},
	{"chunked with a space inside", {SENT(GET_WITH("Transfer-Encoding: chun ked"))}, "length"},
	{"half of chunked", {SENT(GET_WITH("Transfer-Encoding: chunk"))}, "length"},
	{"more than chunked", {SENT(GET_WITH("Transfer-Encoding: chunkedx"))}, "length"},
	{"chunked after VT", {SENT(GET_WITH("Transfer-Encoding: \x0b" "chunked"))}, "malformed"},
	{"an empty Transfer-Encoding", {SENT(GET_WITH("Transfer-Encoding:"))}, "length"},
	{"Transfer-Encoding in a request of HTTP/1.0", {
		SENT("POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n"
		     "\r\n")}, "length"},
	{"Transfer-Encoding in a response of HTTP/1.0", {
		SENT(GET), RECEIVED("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")},
		"length"},
	{"204 with a length of 0", {
		SENT(GET), RECEIVED("HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n")}, "none"},
	{"204 with a length", {
		SENT(GET), RECEIVED("HTTP/1.1 204 N\r\nContent-Length: 1\r\n\r\n")}, "length"},
	{"204 with chunked", {
		SENT(GET), RECEIVED("HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n")},
		"length"},
	{"204 with a length, to HEAD", {
		SENT(HEAD), RECEIVED("HTTP/1.1 204 N\r\nContent-Length: 1\r\n\r\n")}, "length"},
	{"100 with a length", {
		SENT(GET), RECEIVED("HTTP/1.1 100 C\r\nContent-Length: 1\r\n\r\n")}, "length"},
	{"103 with chunked", {
		SENT(GET), RECEIVED("HTTP/1.1 103 E\r\nTransfer-Encoding: chunked\r\n\r\n")},
		"length"},
};

static const struct conversation chunks[] = {
	{"no chunk but the last", {SENT(GET), RECEIVED(CHUNKED_HEAD "0\r\n\r\n")}, "none"},
	{"chunks", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "1\r\na\r\nA\r\n0123456789\r\n00\r\n\r\n")}, "none"},
	{"chunks of CRLF and of what ends a body", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "2\r\n\r\n\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n")},
		"none"},
	{"a chunked request", {
		SENT(POST_CHUNKED "3\r\nabc\r\n0\r\n\r\n"), RECEIVED(OK)}, "none"},
	{"a chunked request without its end", {SENT(POST_CHUNKED "3\r\nabc\r\n0\r\n")}, "busy"},
	{"trailers", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "1\r\na\r\n0\r\nMD5: x\r\nB: \xe9\r\n\r\n")}, "none"},
	{"trailers of a request", {
		SENT(POST_CHUNKED "0\r\nA: 1\r\n\r\n"), RECEIVED(OK)}, "none"},
	{"Content-Length in trailers", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "0\r\nContent-Length: 2\r\n\r\n")}, "malformed"},
	{"Transfer-Encoding in trailers", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "0\r\nTransfer-Encoding: chunked\r\n\r\n")},
		"malformed"},
	{"Connection in trailers", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "0\r\nConnection: close\r\n\r\n")}, "malformed"},
	{"Authorization in trailers", {
		SENT(POST_CHUNKED "0\r\nAuthorization: Basic x\r\n\r\n")}, "malformed"},
	{"Keep-Alive in trailers", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "0\r\nKeep-Alive: timeout=9\r\n\r\n")}, "malformed"},
	{"a fold in trailers", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "0\r\n A: 1\r\n\r\n")}, "malformed"},
	{"a bare LF in trailers", {SENT(GET), RECEIVED(CHUNKED_HEAD "0\r\nA: 1\n\r\n")}, "malformed"},
	{"a chunk size in either case", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "0a\r\n0123456789\r\n00B\r\n0123456789a\r\n0\r\n\r\n")},
		"none"},
	{"a chunk size of 15 digits", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "fffffffffffffff\r\na")}, "busy"},
	{"a chunk size of 16 digits", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "0000000000000001\r\na")}, "length"},
	{"a chunk size that is 1 modulo 2^64", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "10000000000000001\r\na")}, "length"},
	{"sizes of 20 digits in all", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "0000000001\r\na\r\n0000000001\r\na\r\n0\r\n\r\n")},
		"none"},
	{"no chunk size", {SENT(GET), RECEIVED(CHUNKED_HEAD "\r\n")}, "malformed"},
	{"a chunk size that is no number", {SENT(GET), RECEIVED(CHUNKED_HEAD "g\r\n")}, "malformed"},
	{"a chunk size with 0x", {SENT(GET), RECEIVED(CHUNKED_HEAD "0x1\r\n")}, "malformed"},
	{"a chunk size with a sign", {SENT(GET), RECEIVED(CHUNKED_HEAD "+1\r\n")}, "malformed"},
	{"a chunk size below 0", {SENT(GET), RECEIVED(CHUNKED_HEAD "-1\r\n")}, "malformed"},
	{"a padded chunk size", {SENT(GET), RECEIVED(CHUNKED_HEAD "1 \r\n")}, "malformed"},
	{"a chunk size after a space", {SENT(GET), RECEIVED(CHUNKED_HEAD " 1\r\n")}, "malformed"},
	{"a chunk extension", {SENT(GET), RECEIVED(CHUNKED_HEAD "1;a=b\r\n")}, "malformed"},
	{"a bare LF after a chunk size", {SENT(GET), RECEIVED(CHUNKED_HEAD "1\na")}, "malformed"},
	{"a bare CR after a chunk size", {SENT(GET), RECEIVED(CHUNKED_HEAD "1\ra")}, "malformed"},
	{"more data than the chunk has", {
		SENT(GET), RECEIVED(CHUNKED_HEAD "1\r\nab\r\n")}, "malformed"},
	{"a bare LF after a chunk", {SENT(GET), RECEIVED(CHUNKED_HEAD "1\r\na\n")}, "malformed"},
	{"a bare CR after a chunk", {SENT(GET), RECEIVED(CHUNKED_HEAD "1\r\na\r0")}, "malformed"},
};

static const struct conversation who_closes[] = {
	{"the client says close", {SENT(GET_WITH("Connection: close")), RECEIVED(OK)}, "asked_to_close"},
	{"the server says close", {SENT(GET), RECEIVED(OK_WITH("Connection: close"))}, "asked_to_close"},
	{"close in any case", {SENT(GET), RECEIVED(OK_WITH("CONNECTION: cLOSE"))}, "asked_to_close"},
	{"close without space", {SENT(GET), RECEIVED(OK_WITH("Connection:close"))}, "asked_to_close"},
	{"close at the end of a list", {
		SENT(GET), RECEIVED(OK_WITH("Connection: keep-alive,\tfoo ,close \t"))},
		"asked_to_close"},
	{"close at the start of a list", {
		SENT(GET), RECEIVED(OK_WITH("Connection: close, keep-alive"))}, "asked_to_close"},
	{"close in a second header", {
		SENT(GET), RECEIVED(OK_WITH("Connection: keep-alive\r\nConnection: close"))},
		"asked_to_close"},
	{"keep-alive after an empty element", {
		SENT(GET), RECEIVED("HTTP/1.0 200 OK\r\nConnection:,keep-alive\r\n"
				    "Content-Length: 2\r\n\r\nhi")}, "malformed"},
	{"keep-alive after an element of spaces", {
		SENT("GET / HTTP/1.0\r\nConnection: \t, keep-alive\r\n\r\n")}, "malformed"},
	{"an empty element in the middle", {
		SENT(GET_WITH("Connection: keep-alive, ,\tfoo"))}, "malformed"},
	{"two commas", {SENT(GET), RECEIVED(OK_WITH("Connection: keep-alive,,foo"))}, "malformed"},
	{"an empty element at the end", {
		SENT(GET), RECEIVED(OK_WITH("Connection: keep-alive, "))}, "malformed"},
	{"nothing but a comma", {SENT(GET_WITH("Connection: ,"))}, "malformed"},
	{"an empty element in the second header", {
		SENT(GET_WITH("Connection: foo\r\nConnection: ,foo"))}, "malformed"},
	{"an empty element in Proxy-Connection", {
		SENT(GET_WITH("Proxy-Connection: ,keep-alive"))}, "malformed"},
	{"close before an empty element: the first refusal stays", {
		SENT(GET), RECEIVED(OK_WITH("Connection: close,"))}, "asked_to_close"},
	{"close after an empty element", {
		SENT(GET), RECEIVED(OK_WITH("Connection: ,close"))}, "malformed"},
	{"Proxy-Connection: close", {
		SENT(GET_WITH("Proxy-Connection: close")), RECEIVED(OK)}, "asked_to_close"},
	{"options that only resemble close", {
		SENT(GET), RECEIVED(OK_WITH("Connection: closed, clos, xclose, close-x, keep-alive"))},
		"none"},
	{"an option too long to be one", {
		SENT(GET), RECEIVED(OK_WITH("Connection: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
					    ", close"))}, "asked_to_close"},
	{"an empty Connection", {SENT(GET_WITH("Connection:")), RECEIVED(OK)}, "none"},
	{"a Connection of spaces", {SENT(GET_WITH("Connection: \t ")), RECEIVED(OK)}, "none"},
	{"Connection: Upgrade", {SENT(GET_WITH("Connection: Upgrade")), RECEIVED(OK)}, "none"},
	{"two options without a comma", {SENT(GET_WITH("Connection: foo close"))}, "malformed"},
	{"an option in quotes", {SENT(GET_WITH("Connection: \"close\""))}, "malformed"},
	{"an option with a parameter", {SENT(GET_WITH("Connection: foo;close"))}, "malformed"},
	{"HTTP/1.0 both ways, kept alive", {
		SENT("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
		RECEIVED("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi")},
		"none"},
	{"HTTP/1.0 both ways, kept alive by the client alone", {
		SENT("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
		RECEIVED("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")}, "http_1_0"},
	{"an HTTP/1.0 request", {SENT("GET / HTTP/1.0\r\n\r\n"), RECEIVED(OK)}, "http_1_0"},
	{"an HTTP/1.0 response to HEAD", {
		SENT(HEAD), RECEIVED("HTTP/1.0 200 OK\r\n\r\n")}, "http_1_0"},
	{"HTTP/1.0 that keeps alive and closes", {
		SENT("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"), RECEIVED(OK)},
		"asked_to_close"},
	{"HTTP/1.0 kept alive through a proxy", {
		SENT("GET http://a/ HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n"), RECEIVED(OK)},
		"none"},
	{"keep-alive on the first message only", {
		SENT("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), RECEIVED(OK),
		SENT("GET / HTTP/1.0\r\n\r\n"), RECEIVED(OK)}, "http_1_0"},
	{"a timeout of 0", {SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout=0"))}, "asked_to_close"},
	{"a timeout of 1", {SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout=1"))}, "asked_to_close"},
	{"a timeout of 2", {SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout=2"))}, "none"},
	{"a timeout of 4294967297", {
		SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout=4294967297"))}, "none"},
	{"no request left", {
		SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout=5, max=0"))}, "asked_to_close"},
	{"one request left", {SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout=5,max=1"))}, "none"},
	{"none is left, which was not said again", {SENT(GET),
		RECEIVED(OK_WITH("Keep-Alive: timeout=5, max=1")), SENT(GET),
		RECEIVED(OK)}, "asked_to_close"},
	{"some are left, which was not said again", {SENT(GET),
		RECEIVED(OK_WITH("Keep-Alive: max=3")), SENT(GET), RECEIVED(OK), SENT(GET),
		RECEIVED(OK)}, "none"},
	{"as many are left as was said last", {SENT(GET),
		RECEIVED(OK_WITH("Keep-Alive: max=1")), SENT(GET),
		RECEIVED(OK_WITH("Keep-Alive: max=1"))}, "none"},
	{"Keep-Alive in any case", {
		SENT(GET), RECEIVED(OK_WITH("KEEP-ALIVE: TimeOut=0"))}, "asked_to_close"},
	{"unknown parameters of Keep-Alive", {
		SENT(GET), RECEIVED(OK_WITH("Keep-Alive: 300, foo=timeout=0, timeouts=0;bar, a=\"b\""))},
		"none"},
	{"parameters of Keep-Alive with space around", {
		SENT(GET), RECEIVED(OK_WITH("Keep-Alive: \ttimeout=5 , max=9 , foo "))}, "none"},
	{"an empty Keep-Alive", {SENT(GET), RECEIVED(OK_WITH("Keep-Alive:"))}, "none"},
	{"an empty parameter before a timeout", {
		SENT(GET), RECEIVED(OK_WITH("Keep-Alive: ,timeout=5"))}, "malformed"},
	{"an empty parameter after a timeout", {
		SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout=5 , , max=9"))}, "malformed"},
	{"an empty parameter at the end", {
		SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout=5,"))}, "malformed"},
	{"an empty timeout", {SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout="))}, "malformed"},
	{"a timeout without a value", {SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout"))}, "malformed"},
	{"a timeout that is no number", {
		SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout=5s"))}, "malformed"},
	{"a timeout below 0", {SENT(GET), RECEIVED(OK_WITH("Keep-Alive: timeout=-1"))}, "malformed"},
	{"Keep-Alive of the client, who does not decide", {
		SENT(GET_WITH("Keep-Alive: timeout=0")), RECEIVED(OK)}, "none"},
};

static const struct conversation credentials[] = {
	{"Basic", {SENT(GET_WITH("Authorization: Basic dTpw")), RECEIVED(OK)}, "none"},
	{"Bearer", {SENT(GET_WITH("Authorization: Bearer a.b-c~d+e/f==")), RECEIVED(OK)}, "none"},
	{"Digest", {
		SENT(GET_WITH("Authorization: Digest username=\"u\", realm=\"r\", nc=00000001")),
		RECEIVED(OK)}, "none"},
	{"a 401 that offers Basic and Digest", {
		SENT(GET), RECEIVED("HTTP/1.1 401 U\r\nWWW-Authenticate: Basic realm=\"a\", Digest "
				    "realm=\"a\"\r\nContent-Length: 0\r\n\r\n")}, "none"},
	{"NTLM sent", {SENT(GET_WITH("Authorization: NTLM TlRMTVNTUAAB"))}, "authenticated"},
	{"Negotiate sent", {SENT(GET_WITH("Authorization: Negotiate YII="))}, "authenticated"},
	{"Kerberos sent", {SENT(GET_WITH("Authorization: Kerberos YII="))}, "authenticated"},
	{"CredSSP sent", {SENT(GET_WITH("Authorization: CredSSP YII="))}, "authenticated"},
	{"Nego2 sent", {SENT(GET_WITH("Authorization: Nego2 YII="))}, "authenticated"},
	{"nothing but a scheme sent", {SENT(GET_WITH("Authorization:ntlm"))}, "authenticated"},
	{"NTLM sent to a proxy", {
		SENT(GET_WITH("Proxy-Authorization: NTLM TlRM"))}, "authenticated"},
	{"a 401 that offers Negotiate and NTLM", {
		SENT(GET), RECEIVED("HTTP/1.1 401 U\r\nWWW-Authenticate: Negotiate\r\n"
				    "WWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")},
		"authenticated"},
	{"a 407 that offers NTLM", {
		SENT(GET), RECEIVED("HTTP/1.1 407 P\r\nProxy-Authenticate: NTLM\r\n"
				    "Content-Length: 0\r\n\r\n")}, "authenticated"},
	{"Negotiate last in a list", {
		SENT(GET), RECEIVED("HTTP/1.1 401 U\r\nWWW-Authenticate: Basic realm=\"a, b\", "
				    "Digest nonce=\"c\",nEGOTIATE\r\nContent-Length: 0\r\n\r\n")},
		"authenticated"},
	{"NTLM after an unclosed quote", {
		SENT(GET), RECEIVED("HTTP/1.1 401 U\r\nWWW-Authenticate: Basic realm=\"a, NTLM\r\n"
				    "Content-Length: 0\r\n\r\n")}, "authenticated"},
	{"NTLM in the second header", {
		SENT(GET), RECEIVED("HTTP/1.1 401 U\r\nWWW-Authenticate: Basic realm=\"a\"\r\n"
				    "WWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n")},
		"authenticated"},
	{"Negotiate in a 200", {
		SENT(GET), RECEIVED(OK_WITH("WWW-Authenticate: Negotiate oRQ="))}, "authenticated"},
	{"words that only resemble NTLM and Negotiate", {
		SENT(GET_WITH("Authorization: NTLMv2 x-NTLM NTL Negotiated TmVnb3RpYXRl")),
		RECEIVED(OK)}, "none"},
	{"NTLM in a header that does not matter", {
		SENT(GET_WITH("X-Authorization: NTLM")), RECEIVED(OK)}, "none"},
	{"a close after NTLM: the first refusal stays", {
		SENT(GET_WITH("Authorization: NTLM x\r\nConnection: close")), RECEIVED(OK)},
		"authenticated"},
	{"garbage after a close: the first refusal stays", {
		SENT(GET_WITH("Connection: close")), RECEIVED("garbage")}, "asked_to_close"},
};

static const struct conversation unseen_bytes[] = {
	{"the body of a response, to the byte", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
		RECEIVED_UNSEEN(9)}, "none"},
	{"a part of the body of a response", {
		SENT(GET), RECEIVED("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
		RECEIVED_UNSEEN(8)}, "busy"},
	{"the middle of a body", {
		SENT("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\na"), SENT_UNSEEN(7), SENT("c"),
		RECEIVED(OK)}, "none"},
	{"the body of a request (sendfile)", {
		SENT(POST_HEAD), SENT_UNSEEN(3), RECEIVED(OK)}, "none"},
	{"more than the body of a request", {SENT(POST_HEAD), SENT_UNSEEN(4)}, "unseen"},
	{"the data of a chunk", {
		SENT(POST_CHUNKED "5\r\n"), SENT_UNSEEN(5), SENT("\r\n0\r\n\r\n"), RECEIVED(OK)},
		"none"},
	{"more than the data of a chunk", {SENT(POST_CHUNKED "5\r\n"), SENT_UNSEEN(6)}, "unseen"},
	{"the size of a chunk", {SENT(POST_CHUNKED), SENT_UNSEEN(1)}, "unseen"},
	{"the first bytes of a request", {SENT_UNSEEN(3)}, "unseen"},
	{"a part of a head", {SENT("GET / HTTP/1.1\r\nHost: "), SENT_UNSEEN(3)}, "unseen"},
	{"a part of a response's head", {SENT(GET), RECEIVED("HTTP"), RECEIVED_UNSEEN(3)}, "unseen"},
	{"a whole response", {SENT(GET), RECEIVED_UNSEEN(99)}, "unseen"},
	{"a part of the trailers", {SENT(POST_CHUNKED "0\r\n"), SENT_UNSEEN(2)}, "unseen"},
};
/* clang-format on */

static void expect_verdicts(const struct conversation *table, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect_verdict_however_cut(&http1_tracker, &table[i]);
}

Test(http1, real_clients_and_servers_are_understood)
{
	expect_verdicts(as_seen_in_the_wild, COUNT(as_seen_in_the_wild));
}

Test(http1, idle_means_that_every_request_is_answered_in_full)
{
	expect_verdicts(exchanges, COUNT(exchanges));
}

Test(http1, start_lines_follow_the_grammar_to_the_byte)
{
	expect_verdicts(start_lines, COUNT(start_lines));
}

Test(http1, header_lines_follow_the_grammar_to_the_byte)
{
	expect_verdicts(header_lines, COUNT(header_lines));
}

Test(http1, a_length_that_can_be_read_in_two_ways_is_refused)
{
	expect_verdicts(lengths, COUNT(lengths));
}

Test(http1, chunks_follow_the_grammar_to_the_byte)
{
	expect_verdicts(chunks, COUNT(chunks));
}

Test(http1, either_side_can_ask_to_close)
{
	expect_verdicts(who_closes, COUNT(who_closes));
}

Test(http1, schemes_that_authenticate_the_connection_are_refused)
{
	expect_verdicts(credentials, COUNT(credentials));
}

Test(http1, bytes_may_move_unseen_only_where_they_do_not_matter)
{
	expect_verdicts(unseen_bytes, COUNT(unseen_bytes));
}

union state {
	max_align_t alignment;
	uint8_t bytes[TRACKER_STATE_MAX];
};

static void send_text(union state *state, const char *text)
{
	feed_piece(&http1_tracker, state, '>', text, strlen(text));
}

static void receive_text(union state *state, const char *text)
{
	feed_piece(&http1_tracker, state, '<', text, strlen(text));
}

static const char *verdict_word(const union state *state)
{
	return refusal_word(http1_tracker.verdict(state));
}

Test(http1, the_state_fits_into_a_connection)
{
	cr_expect_leq(http1_tracker.state_size, TRACKER_STATE_MAX);
	cr_expect_str_eq(http1_tracker.name, "http");
}

Test(http1, once_refused_is_refused_for_good)
{
	union state state = {0};

	send_text(&state, GET);
	receive_text(&state, "HTTP/1.1 200 OK\r\n\r\n");
	for (int i = 0; i < 3; i++) {
		cr_expect_str_eq(verdict_word(&state), "until_eof");
		send_text(&state, GET_WITH("Connection: close"));
		receive_text(&state, OK);
	}
}

Test(http1, close_is_for_good_although_the_exchange_is_followed_to_its_end)
{
	union state state = {0};

	send_text(&state, GET_WITH("Connection: close"));
	receive_text(&state, OK);
	cr_expect_eq(http1_facts(&state).exchanges, 1);
	send_text(&state, GET);
	receive_text(&state, OK);
	cr_expect_str_eq(verdict_word(&state), "asked_to_close");
}

Test(http1, no_bytes_change_nothing)
{
	union state state = {0};

	http1_tracker.received(&state, NULL, 0);
	http1_tracker.sent(&state, NULL, 0);
	cr_expect_str_eq(verdict_word(&state), "unused");
}

Test(http1, sixty_four_requests_may_be_outstanding)
{
	union state state = {0};

	for (int i = 0; i < 64; i++)
		send_text(&state, i % 2 ? HEAD : GET);
	cr_expect_str_eq(verdict_word(&state), "busy");
	for (int i = 0; i < 64; i++)
		receive_text(&state, i % 2 ? "HTTP/1.1 200 OK\r\n\r\n" : OK);
	cr_expect_str_eq(verdict_word(&state), "none");
	cr_expect_eq(http1_facts(&state).exchanges, 64);
}

Test(http1, one_more_outstanding_request_is_busy_for_good)
{
	union state state = {0};

	for (int i = 0; i < 65; i++)
		send_text(&state, GET);
	for (int i = 0; i < 65; i++)
		receive_text(&state, OK);
	cr_expect_str_eq(verdict_word(&state), "busy");
	send_text(&state, GET);
	receive_text(&state, OK);
	cr_expect_str_eq(verdict_word(&state), "busy");
}

/* An answered request whose head has just so many bytes. */
static const char *verdict_on_head_of(size_t size, size_t piece)
{
	static const char before[] = "POST / HTTP/1.1\r\nContent-Length: 1\r\nA: ",
			  after[] = "\r\n\r\n";
	static char head[300 * 1024];
	union state state = {0};

	memset(head, 'a', size);
	memcpy(head, before, sizeof(before) - 1);
	memcpy(head + size - (sizeof(after) - 1), after, sizeof(after) - 1);
	feed_step(&http1_tracker, &state, &(struct step){'>', head, size}, piece);
	send_text(&state, "1");
	receive_text(&state, OK);
	return verdict_word(&state);
}

Test(http1, a_head_ends_within_256_KiB)
{
	static const size_t pieces[] = {1, 4096, 100003, SIZE_MAX};

	for (size_t i = 0; i < COUNT(pieces); i++) {
		cr_expect_str_eq(verdict_on_head_of(256 * 1024, pieces[i]), "none");
		cr_expect_str_eq(verdict_on_head_of(256 * 1024 + 1, pieces[i]), "malformed");
	}
}

Test(http1, every_head_may_be_as_long_as_the_first)
{
	static char head[200 * 1024];
	union state state = {0};

	memset(head, 'a', sizeof(head) - 1);
	for (int i = 0; i < 4; i++) {
		send_text(&state, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nA: ");
		send_text(&state, head);
		send_text(&state, "\r\n\r\n0\r\nA: ");
		send_text(&state, head);
		send_text(&state, "\r\n\r\n");
		receive_text(&state, OK);
		cr_expect_str_eq(verdict_word(&state), "none");
	}
}

Test(http1, announcements_of_the_server_are_kept)
{
	union state state = {0};

	send_text(&state, GET);
	cr_expect_eq(http1_facts(&state).keep_alive_timeout, 0);
	cr_expect_eq(http1_facts(&state).keep_alive_max, 0);
	receive_text(&state, OK_WITH("Keep-Alive: timeout=15, max=99"));
	cr_expect_eq(http1_facts(&state).keep_alive_timeout, 15);
	cr_expect_eq(http1_facts(&state).keep_alive_max, 99);
	send_text(&state, GET);
	receive_text(&state, OK_WITH("Keep-Alive: max=98"));
	cr_expect_eq(http1_facts(&state).keep_alive_timeout, 15);
	cr_expect_eq(http1_facts(&state).keep_alive_max, 98);
}

struct repeatable_row {
	const char *sent;
	bool repeatable;
};

Test(http1, only_safe_requests_are_repeatable)
{
	static const struct repeatable_row rows[] = {
		{"", false},
		{"GE", false},
		{"GET ", true},
		{"GET / HT", true},
		{GET, true},
		{HEAD, true},
		{"OPTIONS * HTTP/1.1\r\n\r\n", true},
		{"TRACE / HTTP/1.1\r\n\r\n", true},
		{"POST ", false},
		{POST_HEAD, false},
		{POST_HEAD "abc", false},
		{"DELETE / HTTP/1.1\r\n\r\n", false},
		{"PROPFIND / HTTP/1.1\r\n\r\n", false},
		{GET GET, true},
		{GET "P", false},
		{GET "POST ", false},
		{GET POST_HEAD "abc", false},
		{POST_HEAD "abc" GET, false},
		{GET_WITH("Connection: close"), true},
		{GET_WITH("Connection: close") POST_HEAD "abc", false},
		{"GET / HTTP/1.0\r\n\r\n", true},
		{GET "garbage", false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		union state state = {0};

		send_text(&state, rows[i].sent);
		cr_expect_eq(http1_facts(&state).general.repeatable, rows[i].repeatable, "%s",
			rows[i].sent);
	}
}

Test(http1, an_answered_request_no_longer_counts_as_repeatable)
{
	union state state = {0};

	send_text(&state, POST_HEAD "abc" GET);
	receive_text(&state, OK);
	cr_expect(http1_facts(&state).general.repeatable);
	receive_text(&state, OK);
	cr_expect_not(http1_facts(&state).general.repeatable);
}

/* ---- for whom: hashes of hosts ---- */

static uint32_t host_of(const char *request)
{
	union state state = {0};

	send_text(&state, request);
	return http1_facts(&state).general.host;
}

#define FOR(host) "GET / HTTP/1.1\r\nHost: " host "\r\n\r\n"

Test(http1, hosts_are_told_apart_by_all_their_bytes_but_not_by_case)
{
	static const struct {
		const char *claim, *one, *other;
		bool alike;
	} rows[] = {
		{"the same", FOR("a.example"), FOR("a.example"), true},
		{"in capitals", FOR("a.example"), FOR("A.eXampLE"), true},
		{"the name of the header", FOR("a"), "GET / HTTP/1.1\r\nhOST: a\r\n\r\n", true},
		{"white space around it", FOR("a"), "GET / HTTP/1.1\r\nHost:\t a \t\r\n\r\n", true},
		{"no white space", FOR("a"), "GET / HTTP/1.1\r\nHost:a\r\n\r\n", true},
		{"another method and target", FOR("a"), "POST /x HTTP/1.1\r\nHost: a\r\n\r\n",
			true},
		{"headers around it", FOR("a"), "GET / HTTP/1.1\r\nB: b\r\nHost: a\r\nC: c\r\n\r\n",
			true},
		{"HTTP/1.0", FOR("a"), "GET / HTTP/1.0\r\nHost: a\r\n\r\n", true},
		{"another", FOR("a"), FOR("b"), false},
		{"a longer one", FOR("a.example"), FOR("a.example.org"), false},
		{"a port", FOR("a"), FOR("a:8080"), false},
		{"another order", FOR("ab"), FOR("ba"), false},
		{"an address", FOR("127.0.0.1"), FOR("127.0.0.2"), false},
		{"an IPv6 address", FOR("[::1]"), FOR("[::2]"), false},
		{"no letter, but the same bits", FOR("a@"), FOR("a`"), false},
		{"a hyphen", FOR("a-b"), FOR("a.b"), false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint32_t one = host_of(rows[i].one), other = host_of(rows[i].other);

		cr_expect_neq(one, 0, "%s", rows[i].claim);
		cr_expect_neq(other, 0, "%s", rows[i].claim);
		cr_expect_eq(one == other, rows[i].alike, "%s", rows[i].claim);
	}
}

Test(http1, where_it_is_not_known_for_whom_it_is_there_is_no_host)
{
	static const char *const requests[] = {
		"",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHos: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHosts: a\r\n\r\n",
		"GET / HTTP/1.1\r\nX-Host: a\r\n\r\n",
		"GET http://b.example/ HTTP/1.1\r\n\r\n",
		/* RFC 9112 3.2.2: the target counts, and not the header. */
		"GET http://b.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		FOR("a") "GET / HTTP/1.1\r\n\r\n",
		FOR("a") "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
		FOR("a") "G",
	};

	for (size_t i = 0; i < COUNT(requests); i++)
		cr_expect_eq(host_of(requests[i]), 0, "%s", requests[i]);
}

Test(http1, a_host_is_known_when_its_line_is_over_however_it_comes)
{
	static const char request[] =
		"GET / HTTP/1.1\r\nA: a\r\nHost: www.example \r\nB: b\r\n\r\n";
	const size_t known_at = strstr(request, "\r\nB:") + 1 - request;
	const uint32_t host = host_of(FOR("www.example"));

	for (size_t cut = 0; cut < sizeof(request); cut++) {
		union state state = {0};

		feed_step(&http1_tracker, &state, &(struct step){'>', request, cut}, SIZE_MAX);
		cr_expect_eq(
			http1_facts(&state).general.host, cut < known_at ? 0 : host, "%zu", cut);
		cr_expect_eq(http1_facts(&state).general.first_host,
			cut < sizeof(request) - 1 ? 0 : host, "%zu", cut);
		feed_step(&http1_tracker, &state,
			&(struct step){'>', request + cut, sizeof(request) - 1 - cut}, 1);
		cr_expect_eq(http1_facts(&state).general.host, host, "%zu", cut);
		cr_expect_eq(http1_facts(&state).general.first_host, host, "%zu", cut);
		cr_expect_not(http1_facts(&state).general.lost);
	}
}

Test(http1, the_first_requests_host_stays_the_first_one)
{
	const uint32_t a = host_of(FOR("a")), b = host_of(FOR("b"));
	union state state = {0};

	for (int i = 0; i < 3; i++) {
		static const char *const requests[] = {
			FOR("a"), FOR("b"), "GET / HTTP/1.1\r\n\r\n"};

		send_text(&state, requests[i]);
		cr_expect_eq(http1_facts(&state).general.first_host, a);
		cr_expect_eq(http1_facts(&state).general.host, i == 0 ? a : i == 1 ? b : 0);
		receive_text(&state, OK);
		cr_expect_eq(http1_facts(&state).general.first_host, a);
	}
	cr_expect_str_eq(verdict_word(&state), "none");
	state = (union state){0};
	send_text(&state, FOR("a"));
	send_text(&state, FOR("b"));
	cr_expect_eq(http1_facts(&state).general.first_host, a, "also before the first answer");
	state = (union state){0};
	send_text(&state, "GET / HTTP/1.1\r\n\r\n");
	receive_text(&state, OK);
	send_text(&state, FOR("b"));
	cr_expect_eq(
		http1_facts(&state).general.first_host, 0, "one without is one that is not known");
	cr_expect_eq(http1_facts(&state).general.host, b);
}

Test(http1, hosts_that_cannot_be_trusted_are_refused)
{
	static const struct conversation rows[] = {
		{"two of them",
			{SENT("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), RECEIVED(OK)},
			"malformed"},
		{"two, of which one is empty",
			{SENT("GET / HTTP/1.1\r\nHost:\r\nHost: a\r\n\r\n"), RECEIVED(OK)},
			"malformed"},
		{"in trailers",
			{SENT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
			      "0\r\nHost: a\r\n\r\n"),
				RECEIVED(OK)},
			"malformed"},
		{"one in each of two requests",
			{SENT(FOR("a")), RECEIVED(OK), SENT(FOR("b")), RECEIVED(OK)}, "none"},
		{"of a response, which may say what it likes",
			{SENT(FOR("a")),
				RECEIVED("HTTP/1.1 200 OK\r\nHost: a\r\nHost: b\r\nContent-Length: "
					 "0\r\n\r\n")},
			"none"},
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		expect_verdict_however_cut(&http1_tracker, &rows[i]);
}

Test(http1, a_responses_host_is_nobodys)
{
	union state state = {0};

	send_text(&state, FOR("a"));
	receive_text(&state, OK_WITH("Host: b"));
	cr_expect_eq(http1_facts(&state).general.host, host_of(FOR("a")));
	cr_expect_eq(http1_facts(&state).general.first_host, host_of(FOR("a")));
}

/* ---- beginnings ---- */

Test(http1, what_is_unfinished_ends_with_its_head)
{
	static const char *const requests[] = {
		FOR("a"),
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		"chunked\r\n\r\n3\r\nabc\r\n0\r\nA: "
		"b\r\n\r\n",
		"PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		FOR("a") FOR("b"),
		FOR("a") "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
	};

	for (size_t i = 0; i < COUNT(requests); i++) {
		const size_t head = strstr(requests[i], "\r\n\r\n") + 4 - requests[i];

		for (size_t cut = 0; cut <= strlen(requests[i]); cut++) {
			union state state = {0};

			feed_step(&http1_tracker, &state, &(struct step){'>', requests[i], cut}, 7);
			cr_expect_eq(http1_facts(&state).general.unfinished, cut > 0 && cut < head,
				"%.*s", (int)cut, requests[i]);
		}
	}
}

Test(http1, what_follows_an_answer_is_unfinished_of_its_own)
{
	union state state = {0};

	send_text(&state, FOR("a"));
	receive_text(&state, OK);
	cr_expect_not(http1_facts(&state).general.unfinished);
	send_text(&state, "POST / HT");
	cr_expect(http1_facts(&state).general.unfinished);
	send_text(&state, "!");
	cr_expect(http1_facts(&state).general.lost);
	cr_expect_not(http1_facts(&state).general.unfinished, "nobody knows what it is");
	cr_expect_not(http1_facts(&state).general.repeatable);
}

Test(http1, which_messages_are_lost)
{
	static const struct {
		const char *sent, *received;
		bool lost;
	} rows[] = {
		{GET, OK, false},
		{GET_WITH("Connection: close"), OK, false},
		{"GET / HTTP/1.0\r\n\r\n", OK, false},
		{"CONNECT a:1 HTTP/1.1\r\n\r\n", "", true},
		{"PING\r\n", "", true},
		{GET, "HTTP/1.1 101 Switching Protocols\r\n\r\n", true},
		{GET, "HTTP/1.1 200 OK\r\n\r\n", true},
		{"", OK, true},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		union state state = {0};

		send_text(&state, rows[i].sent);
		receive_text(&state, rows[i].received);
		cr_expect_eq(http1_facts(&state).general.lost, rows[i].lost, "%zu", i);
	}
}

/* ---- for how long ---- */

Test(http1, a_timeout_that_is_announced_holds_for_a_second_less)
{
	static const struct {
		const char *received;
		uint32_t keeps_ms;
	} rows[] = {
		{OK, 0},
		{OK_WITH("Keep-Alive: max=5"), 0},
		{OK_WITH("Keep-Alive: timeout=0"), 0},
		{OK_WITH("Keep-Alive: timeout=1"), 0},
		{OK_WITH("Keep-Alive: timeout=2"), 1000},
		{OK_WITH("Keep-Alive: timeout=5"), 4000},
		{OK_WITH("Keep-Alive: timeout=5, max=100"), 4000},
		{OK_WITH("Keep-Alive: max=100, timeout=75"), 74000},
		{OK_WITH("KEEP-ALIVE: TIMEOUT=5"), 4000},
		{OK_WITH("Keep-Alive: timeout=4294967"), 4294966000},
		{OK_WITH("Keep-Alive: timeout=4294968"), UINT32_MAX},
		{OK_WITH("Keep-Alive: timeout=99999999999999999999"), UINT32_MAX},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t piece = 1; piece < 100; piece += 40) {
			union state state = {0};
			const struct step answer = {
				'<', rows[i].received, strlen(rows[i].received)};

			send_text(&state, GET);
			feed_step(&http1_tracker, &state, &answer, piece);
			cr_expect_eq(http1_facts(&state).general.keeps_ms, rows[i].keeps_ms,
				"%s: %u", rows[i].received, http1_facts(&state).general.keeps_ms);
		}
	}
}

Test(http1, the_latest_timeout_counts_and_that_of_a_request_does_not)
{
	union state state = {0};

	send_text(&state, GET_WITH("Keep-Alive: timeout=60"));
	receive_text(&state, OK);
	cr_expect_eq(http1_facts(&state).general.keeps_ms, 0);
	send_text(&state, GET);
	receive_text(&state, OK_WITH("Keep-Alive: timeout=9"));
	send_text(&state, GET);
	receive_text(&state, OK_WITH("Keep-Alive: timeout=6"));
	cr_expect_eq(http1_facts(&state).general.keeps_ms, 5000);
	send_text(&state, GET);
	receive_text(&state, OK);
	cr_expect_eq(http1_facts(&state).general.keeps_ms, 5000, "until something else is said");
}

static const char *const every_method[] = {"ACL", "BASELINE-CONTROL", "CHECKIN", "CHECKOUT",
	"CONNECT", "COPY", "DELETE", "GET", "HEAD", "LABEL", "LOCK", "MERGE", "MKACTIVITY",
	"MKCALENDAR", "MKCOL", "MKWORKSPACE", "MOVE", "OPTIONS", "PATCH", "POST", "PROPFIND",
	"PROPPATCH", "PUT", "REPORT", "SEARCH", "TRACE", "UNCHECKOUT", "UNLOCK", "UPDATE",
	"VERSION-CONTROL"};

static enum recognition recognise(const char *bytes, size_t len)
{
	return http1_tracker.recognise(at_end_of_page(bytes, len), len);
}

Test(http1, a_method_is_recognised_at_its_space_and_not_before)
{
	for (size_t i = 0; i < COUNT(every_method); i++) {
		char line[TRACKER_PREFIX_MAX + 1] = {0};
		const size_t method_len = strlen(every_method[i]);

		memset(line, 'x', TRACKER_PREFIX_MAX);
		memcpy(line, every_method[i], method_len);
		line[method_len] = ' ';
		for (size_t len = 1; len <= TRACKER_PREFIX_MAX; len++) {
			const struct tracker *expected = len > method_len ? &http1_tracker : NULL;
			bool undecided;

			cr_expect_eq(recognise(line, len),
				expected ? RECOGNISED_YES : RECOGNISED_MORE, "%.*s", (int)len,
				line);
			cr_expect_eq(
				tracker_for(at_end_of_page(line, len), len, &undecided), expected);
			cr_expect_eq(undecided, !expected, "%.*s", (int)len, line);
		}
	}
}

/* Another protocol, known as such as soon as this many bytes are seen. */
struct foreign_row {
	const char *bytes;
	size_t known_at;
};

Test(http1, other_protocols_are_not_recognised)
{
	static const struct foreign_row rows[] = {
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3},
		{"\x16\x03\x01\x02xxxxxxxxxxxxxxxxxxxx", 1},
		{"*1\r\n$4\r\nPING\r\nxxxxxxxxxx", 1},
		{"get key\r\nxxxxxxxxxxxxxxx", 1},
		{"SSH-2.0-OpenSSH_9.2p1 De", 2},
		{"GETS / HTTP/1.1\r\nHost: a", 4},
		{"GE / HTTP/1.1\r\nHost: a\r\n", 3},
		{" GET / HTTP/1.1\r\nHost: a", 1},
		{"\r\nGET / HTTP/1.1\r\nHost:", 1},
		{"EHLO example.org\r\nxxxxxx", 1},
		{"HELO example.org\r\nxxxxxx", 3},
		{"GET\tx HTTP/1.1\r\nHost: a ", 4},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t len = 1; len <= TRACKER_PREFIX_MAX && len <= strlen(rows[i].bytes);
			len++) {
			const bool known = len >= rows[i].known_at;

			cr_expect_eq(recognise(rows[i].bytes, len),
				known ? RECOGNISED_NO : RECOGNISED_MORE, "%.*s", (int)len,
				rows[i].bytes);
		}
	}
	cr_expect_eq(recognise("GET\0 / HTTP/1.1", 15), RECOGNISED_NO);
}
