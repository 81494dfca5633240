# The benchmark: bench, on the machine linux, and bench_entries, on sim. `make bench` runs them (bench/run).
find_package(PkgConfig REQUIRED)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing)

add_executable(bench bench/main.c bench/common.c bench/sides.c bench/device.c bench/refault.c bench/streams.c
               bench/reads.c bench/prefetch.c bench/writes.c bench/hotset.c bench/resident.c
               $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_linux>)
target_include_directories(bench PRIVATE bench include)
target_link_libraries(bench PRIVATE PkgConfig::URING Threads::Threads)

add_executable(bench_entries bench/entries.c bench/common.c $<TARGET_OBJECTS:faultline_core>
               $<TARGET_OBJECTS:faultline_sim>)
target_include_directories(bench_entries PRIVATE bench core include machines machines/sim)
target_link_libraries(bench_entries PRIVATE Threads::Threads)
