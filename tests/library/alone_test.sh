#!/bin/sh
# alone_test.sh SOURCE BUILD CC: builds the library where neither cmocka nor liburing can be found, first by
# itself, then as a part of another project. Both times examples/hello.c is built with it and runs.
set -eu
source=$1 build=$2 cc=$3
dir=$(mktemp -d "$build/alone.XXXXXX")
trap 'rm -rf "$dir"' EXIT
PKG_CONFIG_LIBDIR=/nonexistent
export PKG_CONFIG_LIBDIR
unset PKG_CONFIG_PATH
quietly() { "$@" >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }; }

printf 'abcd' >"$dir/data"
check() { # PROGRAM: it adds up the four bytes
    line=$("$1" "$dir/data")
    echo "$1: $line"
    case $line in
    "sum 394, "*) ;;
    *) exit 1 ;;
    esac
}

# By itself.
if cmake -S "$source" -B "$dir/tests" -G Ninja -DCMAKE_C_COMPILER="$cc" >"$dir/log" 2>&1; then
    echo "the tests configure without cmocka: this environment hides nothing"
    exit 1
fi
quietly cmake -S "$source" -B "$dir/build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=Debug \
    -DFAULTLINE_TESTS=OFF -DFAULTLINE_BENCH=OFF
quietly cmake --build "$dir/build"
quietly cmake --install "$dir/build" --prefix "$dir/prefix"
libdir=$(dirname "$(find "$dir/prefix" -name libfaultline.a)")
flags=$(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --define-prefix --cflags --libs --static faultline)
# shellcheck disable=SC2086
quietly "$cc" -std=c17 -o "$dir/hello" "$source/examples/hello.c" $flags -Wl,-rpath,"$libdir"
check "$dir/hello"

# As a part of a project, which has targets of its own by such names as the tests' and benchmark's.
mkdir "$dir/project"
cat >"$dir/project/CMakeLists.txt" <<EOF
cmake_minimum_required(VERSION 3.25)
project(other LANGUAGES C)
add_subdirectory($source faultline)
add_executable(hello $source/examples/hello.c)
target_link_libraries(hello PRIVATE faultline::faultline)
add_custom_target(core)
add_custom_target(bench)
add_custom_target(calls)
EOF
for shared in OFF ON; do
    quietly cmake -S "$dir/project" -B "$dir/other" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=Debug \
        -DBUILD_SHARED_LIBS=$shared
    quietly cmake --build "$dir/other" --target hello
    check "$dir/other/hello"
done
