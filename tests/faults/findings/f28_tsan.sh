cd .
TS=$(gcc -print-file-name=libtsan.so)
./f40_reader_first server > .p40 & S=$!; sleep 0.3
timeout 60 env TSAN_OPTIONS=log_path=./tsan.log:exitcode=0 LD_PRELOAD="$TS ../../../build-tsan/shim/libsppool.so" ./f40_reader_first $(cat .p40) GET 1500 | tail -2
kill $S; wait $S 2>/dev/null
grep -h -A12 "WARNING" tsan.log* | grep -E "WARNING|#[01] .*sppool|#[0-3] (renew|kept|conn|is_at)" | sort | uniq -c | sort -rn | head -20
