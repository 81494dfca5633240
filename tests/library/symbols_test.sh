#!/bin/sh
# symbols_test.sh ARCHIVE SHARED: every name that the libraries export starts with fl_; fl_mmap is one.
set -eu
status=0
check() { # NAME, symbols on standard input
    symbols=$(awk 'NF == 3 { print $3 }')
    leaked=$(printf '%s\n' "$symbols" | grep -v '^fl_' || true)
    if [ -n "$leaked" ]; then
        printf '%s leaks:\n%s\n' "$1" "$leaked"
        status=1
    fi
    printf '%s\n' "$symbols" | grep -qx fl_mmap || { echo "$1 has no fl_mmap"; status=1; }
}
nm -g --defined-only "$1" >"$2.symbols"
check "$1" <"$2.symbols"
nm -D --defined-only "$2" >"$2.symbols"
check "$2" <"$2.symbols"
rm -f "$2.symbols"
exit $status
