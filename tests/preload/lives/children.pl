# perl: every way to start a program or another self, beside a live connection and a parked one.
use strict;
use warnings;
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Open3;

$| = 1;
my $port = shift;

# Asked with the process's id, so that the server knows who used which connection.
sub get {
    my ($name) = @_;
    my $body = HTTP::Tiny->new->get("http://127.0.0.1:$port/echo/$name~$$")->{content};
    return "$name " . $body =~ s/~$$//r;
}

sub open_connection {
    return IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $port) // die "connect: $!";
}

sub ask_on {
    my ($socket, $name) = @_;
    syswrite $socket, "GET /echo/$name~$$ HTTP/1.1\r\nHost: loopback\r\n\r\n";
    my $head = "";
    while ($head !~ /\r\n\r\n$/) { sysread $socket, $head, 1, length $head or die "no answer" }
    my ($left, $body) = ($head =~ /Content-Length: (\d+)/, "");
    while (length $body < $left) { sysread $socket, $body, $left - length $body, length $body }
    return "$name " . $body =~ s/~$$//r;
}

sub in_child {
    my ($name) = @_;
    my $child = open(my $from, "-|") // die "fork: $!"; # a fork
    if (!$child) {
        print get("$name-$_"), "\n" for 0 .. 4;
        exit 3;
    }
    my @lines = <$from>;
    close $from;
    return @lines, $? >> 8;
}

sub own_descriptors { # those of the library are higher
    return join " ", sort grep { $_ < 500 } map { s/.*\///r } glob "/proc/$$/fd/*";
}

my @ways = (
    sub { `ls /proc/self/fd` },
    sub { system("ls /proc/self/fd >&2"), $? },
    sub { in_child("child-$_[0]") },
    sub {
        open my $to, "|-", "cat" or die "cat: $!";
        print $to get("piped-$_[0]"), "\n";
        close $to;
        $?;
    },
    sub {
        my $pid = open3(my $to, my $from, undef, "sh", "-c", "cat; ls /proc/self/fd; exit 4");
        print $to get("three-$_[0]"), "\n";
        close $to;
        my @lines = <$from>;
        waitpid $pid, 0;
        @lines, $? >> 8;
    },
);

my $before = own_descriptors();
for my $number (0 .. $#ways) {
    print get("before-$number"), "\n";
    my $live = open_connection();
    print ask_on($live, "live-$number-0"), "\n";
    print get("beside-$number"), "\n";
    print $ways[$number]->($number), "\n";
    print ask_on($live, "live-$number-1"), "\n";
    close $live;
    print get("after-$number"), "\n";
}
print "$before\n", own_descriptors(), "\n";
