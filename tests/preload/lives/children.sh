# bash: /dev/tcp, coprocesses, pipelines and subshells, which use each other's connections.
port=$1

# ask NUMBER NAME: on an open descriptor, and the answer's body on standard output.
ask() {
	local line length
	printf 'GET /echo/%s HTTP/1.1\r\nHost: loopback\r\n\r\n' "$2" >&"$1"
	while IFS= read -r line <&"$1" && [ "$line" != $'\r' ]; do
		case $line in
		Content-Length:*) length=${line//[^0-9]/} ;;
		esac
	done
	IFS= read -r -N "$length" line <&"$1"
	echo "$2 $line"
}

get() {
	local owner=~$BASHPID # asked with it, so that the server knows who used which connection
	exec 3<>/dev/tcp/127.0.0.1/"$port"
	ask 3 "$1$owner" | sed "s/$owner//g"
	exec 3<&-
}

for i in 1 2 3 4 5; do
	get "plain-$i"
done

# A coprocess that holds a connection which this shell has closed, and asks on when it is told.
exec 4<>/dev/tcp/127.0.0.1/"$port"
ask 4 kept-0
coproc holder { while read -r name; do ask 4 "$name"; done; }
helper=$holder_PID
exec 4<&-
for i in 1 2 3 4 5; do
	echo "kept-$i" >&"${holder[1]}"
	get "beside-$i"
	read -r answer <&"${holder[0]}"
	echo "$answer"
done
eval "exec ${holder[1]}>&-"
wait "$helper"

# Subshells in parallel, each with a connection of its own and a program that reads it.
for i in 1 2 3 4; do
	(get "subshell-$i"; get "subshell-$i-again") &
	wait $!
done
exec 5<>/dev/tcp/127.0.0.1/"$port"
ask 5 live-0
ls /proc/self/fd | cat
cat <(get substitution-1) <(get substitution-2)
ask 5 live-1
exec 5<&-
get last
cd /proc/$$/fd && echo *
