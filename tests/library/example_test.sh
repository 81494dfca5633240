#!/bin/sh
# example_test.sh SOURCE BUILD CC: installs the library and builds examples/hello.c with what pkg-config says,
# against the archive and against the shared library. Runs both over a file four times as long as the limit.
set -eu
source=$1 build=$2 cc=$3
dir=$(mktemp -d "$build/example.XXXXXX")
trap 'rm -rf "$dir"' EXIT
cmake --install "$build" --prefix "$dir/prefix" --component library >"$dir/log" || { cat "$dir/log"; exit 1; }
PKG_CONFIG_PATH=$(dirname "$(find "$dir/prefix" -name faultline.pc)")
export PKG_CONFIG_PATH
libdir=$(dirname "$PKG_CONFIG_PATH")

# shellcheck disable=SC2046
"$cc" -std=c17 -Wall -Wextra -Werror -o "$dir/hello-shared" "$source/examples/hello.c" \
    $(pkg-config --define-prefix --cflags --libs faultline)
mkdir "$dir/static" && cp "$libdir/libfaultline.a" "$dir/static"
# shellcheck disable=SC2046
"$cc" -std=c17 -Wall -Wextra -Werror -o "$dir/hello-static" "$source/examples/hello.c" \
    -L"$dir/static" $(pkg-config --define-prefix --cflags --libs --static faultline)

# 256 MiB and a tail, from a fixed seed, no two MiB alike; the sum by other means than the library's.
want=$(python3 - "$dir/data" <<'EOF'
import random
import sys
block = random.Random(1).randbytes(1 << 20)
with open(sys.argv[1], "wb") as data:
    for i in range(256):
        data.write(block[i * 4097:] + block[:i * 4097])
    data.write(block[:1234])
print(256 * sum(block) + sum(block[:1234]))
EOF
)
for program in hello-static hello-shared; do
    line=$(LD_LIBRARY_PATH="$libdir" "$dir/$program" "$dir/data")
    echo "$program: $line"
    case $line in
    "sum $want, "*) ;;
    *) echo "the sum is $want"; exit 1 ;;
    esac
    peak=$(echo "$line" | sed 's/.*peak \([0-9]*\) MiB.*/\1/')
    [ "$peak" -le 64 ] || { echo "the limit is 64 MiB"; exit 1; }
done
