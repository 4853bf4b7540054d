cd .
for pre in "" ${LIB:-../../../build/shim/libsppool.so}; do
 echo "--- ${pre:+with}"
 taskset -c 0 ./f40_reader_first server > .p40 & S=$!; sleep 0.3
 timeout 60 env SP_STATS=$ST LD_PRELOAD=$pre ./f40_reader_first $(cat .p40) "$@"
 kill $S; wait $S 2>/dev/null
done
