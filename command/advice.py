"""What can be done about each reason for which a connection was not reused. The reasons and what
they mean are tables of pool/, but for what is learned of servers; this is for people who run a
program that they cannot change."""

REFUSED = {
    # the exchange
    'busy': 'Let the program read each answer to its end. Where it gives up early (a timeout, a '
            'limit on size), or the server closed before it had answered, nothing can be done.',
    'unused': 'Nothing needs to be done: most often that was a probe, to see whether the port is '
              'open.',
    'unknown_protocol': 'HTTP/1.x, redis and memcached are recognised by themselves. If what is '
                        'spoken there is redis or memcached all the same, a rule proto=resp or '
                        'proto=memcached (SP_RULES) says so. Only if it keeps no login and no '
                        'other state, a rule proto=raw lets it be pooled.',
    'tls': 'Let the program speak plain HTTP to a proxy on the same machine that speaks TLS to the '
           'server (stunnel, HAProxy, nginx) and keeps its connections.',
    'server_first': 'Nothing can be done: a server that greets each new connection (SMTP, FTP, '
                    'MySQL, SSH) does not greet again.',

    # HTTP/1.x
    'asked_to_close': 'See whether the program can be told to keep connections alive, or the '
                      'server: its keep-alive may be off, or its requests per connection few.',
    'http_1_0': 'Let the program speak HTTP/1.1, or say Connection: keep-alive (ab -k).',
    'until_eof': 'Let the server send Content-Length or chunks; many do for HTTP/1.1 only.',
    'length': 'One side sends lengths that contradict each other. Mend that: others may read them '
              'otherwise than you do.',
    'malformed': 'One side sends what the protocol does not allow (HTTP/1.x, redis, memcached), or a rule '
                 'names another one; tcpdump shows what.',
    'early_response': 'The server answers before it has the whole request, often with an error: '
                      'see its log.',
    'unsolicited': 'The server sends what nobody asked for, often an error before it closes: see '
                   'its log.',
    'tunnel': 'Nothing can be done: what goes through a tunnel is not known.',
    'authenticated': 'Nothing can be done with NTLM, Negotiate and SASL; memcached: let a get come first; passwords and tokens that are '
                     'sent with each request do not bind the connection.',
    'request_timeout': 'See why the server gave up waiting for the request (408), or was the wrong '
                       'one for it (421).',
    'unseen': 'See whether the program has a setting that makes it send files without sendfile() '
              'or splice().',

    # redis and memcached
    'state': 'Let the program do without what it leaves on the connection (CLIENT SETINFO of newer '
             'clients of redis, for one). What the server can undo (RESET of redis 6.2 and later) does '
             'not count here.',
    'unknown_command': 'Nothing can be done, unless the program can do without the command, one of a '
                       'module for example.',
    'server_error': 'See the server, and what leads to it: after -READONLY, -LOADING or too many clients a '
                    'new connection is made, as it may lead to another one.',
    'said_goodbye': 'See that SP_DEFER_QUIT is not 0. Where the program does anything else '
                    'before close(), or waits for the answer, nothing can be done.',

    # what the program did with the socket
    'not_connected': 'Nothing needs to be done here. If the program should have been connected, '
                     'see why that failed.',
    'shutdown': 'See that SP_DEFER_SHUTDOWN is not 0. Where the program does anything else '
                'between shutdown() and close(), nothing can be done.',
    'duplicated': 'Nothing can be done: whoever holds the other descriptor may go on using it.',
    'forked': 'Connections that are open while the program starts another one are lost. See '
              'whether it can start its helpers first, or fewer of them.',
    'credentials': 'Start the program as the user that it changes to (User= in a systemd unit).',
    'stdio': 'Nothing can be done: libc reads and writes such a socket out of sight.',
    'in_flight': 'Nothing can be done: the program closes while another of its threads still '
                 'waits for the connection.',
    'contended': 'Nothing needs to be done if there are few. Many mean that threads share '
                 'connections, and close them while others use them.',
    'socket_option': 'strace -f -e trace=setsockopt shows which one. See whether the program can '
                     'be told not to set it.',
    'bound': 'See whether the program can be told not to choose the port that it connects from.',
    'special_io': 'See whether the program can be told to do without (TCP Fast Open, for one).',
    'async_owner': 'Nothing can be done: signals would go on to come for the next use.',
    'watched': 'Nothing can be done: the epoll set belongs to another process, or is gone.',

    # what the kernel says at close()
    'identity': 'Something closed or replaced the descriptor unseen. If the program has plugins, '
                'try SP_SEE_PLUGINS=1.',
    'ledger': 'The program closed before it had read all, or bytes moved unseen. If it has plugins '
              '(PHP), try SP_SEE_PLUGINS=1.',
    'closing': 'The server closes first: see whether its keep-alive timeout and its requests per '
               'connection can be raised.',

    # the settings
    'idle_zero': 'Raise SP_MAX_IDLE_MS (or idle in a rule), if connections are to be reused.',
    'lease': 'Raise SP_LEASE_MS (or lease in a rule), if connections may live longer.',
    'uses': 'Raise SP_MAX_USES (or uses in a rule), if connections may be used more often.',
    'rule': 'Take out the rule that says off for this host and port (SP_RULES), if it is to be '
            'pooled.',
    'ambiguous': 'Nothing can be done, unless these hosts can be given an address each. Programs that '
                 'resolve a host in the thread that connects to it, just before, are not affected.',
    'overflow': 'Raise SP_MAX_SERVICE_POINTS, if the program speaks to more hosts and ports than '
                'that.',
    'no_room': 'Raise SP_MAX_PARKED, and the limit on open files (ulimit -n), of which parked '
               'connections get a fifth.',
}

DISCARDED = {
    'idle': 'They were not needed for so long. Raise SP_MAX_IDLE_MS, if the server keeps idle '
            'connections for longer.',
    'lease': 'Raise SP_LEASE_MS (or lease in a rule), if connections may live longer.',
    'evicted': 'Raise SP_MAX_PARKED, and the limit on open files (ulimit -n), of which parked '
               'connections get a fifth.',
    'limit': 'Raise SP_CONNECTION_LIMIT (or limit in a rule), if the server allows for more.',
    'recycled': 'Raise SP_MAX_SERVICE_POINTS, if the program speaks to more hosts and ports than '
                'that.',
    'flushed': 'Nothing needs to be done: somebody asked for it.',
    'retired': 'Nothing needs to be done: the name leads elsewhere now, and new connections go '
               'there.',
    'dead': 'The server closes idle connections before they are needed. Raise its keep-alive '
            'timeout, or set SP_MAX_IDLE_MS below it.',
    'unsolicited': 'The server says something before it closes an idle connection (408, for one). '
                   'Set SP_MAX_IDLE_MS below its keep-alive timeout.',
    'not_reset': 'The server is older than redis 6.2 (memcached: 1.6), does not allow RESET, or '
                 'closed; or a message was still on its way. Let the program do without SELECT, AUTH and the like.',
    'ledger': 'Something else used the parked connection: does the program duplicate descriptors '
              'by calls of its own making?',
    'identity': 'Something closed or replaced the hidden descriptor: does the program close all '
                'numbers by calls of its own making?',
    'unlike': 'The program connects to one place with different socket options, which cannot all '
              'be changed later: nothing can be done.',
    'disturbed': 'Nothing needs to be done if there are few: two threads met at one descriptor.',
    'dropped': 'The program changed its user, groups or root, or entered a sandbox, or was told '
               'to: SP_LOG=1 says which.',
}

# What is learned of servers: what it means, and what can be done.
LEARNED = {
    'quarantined': ('a reused connection had failed, or the server had spoken unasked, so nothing '
                    'is reused for a while',
                    'See why the server ends connections that are in use: its log, how often it '
                    'starts again, a load balancer or firewall between. It is a second at first, '
                    'and twice as long each time, up to five minutes.'),
    'keeps': ('the server closes connections that are idle, so those that were idle for longer '
              'are not reused',
              'Raise its keep-alive timeout (keepalive_timeout of nginx, KeepAliveTimeout of '
              'Apache), if the program comes back later than that. After ten minutes without '
              'another one that was closed it is tried again.'),
    'may_keep': ('an idle connection was closed by then, so requests that must not be repeated '
                 '(POST) are not sent on one that was idle for half of that',
                 'Nothing needs to be done unless many requests are of that kind: then raise the '
                 'keep-alive timeout of the server.'),
}
