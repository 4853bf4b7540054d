#!/bin/bash
# run.sh PROGRAM [args]: without and with the library
cd "$(dirname "$0")"
LIB=${LIB:-../../../build/shim/libsppool.so}
run() {
	/usr/bin/python3 server.py > ./.port.$$ & S=$!
	for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; [ -s .port.$$ ] && break; done
	P=$(cat .port.$$)
	if [[ "$1" == *.py ]]; then C=(/usr/bin/python3 "$1"); else C=("./$1"); fi
	shift
	timeout -k 1 ${T:-15} env ${PRE:+LD_PRELOAD=$PRE} SP_STATS=$ST SP_LOG=$LOG "${C[@]}" $P "$@"; echo "  [exit $?]"
	kill $S; wait $S 2>/dev/null; rm -f .port.$$
}
echo "--- without"; PRE= run "$@"
echo "--- with"; PRE=$LIB run "$@"
