# The benchmark: bench on linux, bench_entries and bench_anonymous on sim. `make bench` runs them (bench/run).
find_package(PkgConfig REQUIRED)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing)

add_executable(bench bench/main.c bench/common.c bench/child.c bench/sides.c bench/device.c bench/sort.c
               bench/reads.c bench/writes.c bench/streams.c bench/prefetch.c bench/hotset.c bench/minor.c
               bench/start.c bench/resident.c
               $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_linux>)
target_include_directories(bench PRIVATE bench include)
target_link_libraries(bench PRIVATE PkgConfig::URING Threads::Threads ${FAULTLINE_ZSTD_ARCHIVE})

add_executable(bench_entries bench/entries.c bench/common.c $<TARGET_OBJECTS:faultline_core>
               $<TARGET_OBJECTS:faultline_sim>)
target_include_directories(bench_entries PRIVATE bench core include machines machines/sim)
target_link_libraries(bench_entries PRIVATE Threads::Threads)

add_executable(bench_anonymous bench/anonymous.c bench/common.c $<TARGET_OBJECTS:faultline_core>
               $<TARGET_OBJECTS:faultline_sim>)
target_include_directories(bench_anonymous PRIVATE bench core include machines machines/sim)
target_link_libraries(bench_anonymous PRIVATE Threads::Threads)

# Programs that know nothing of Faultline, which bench and those in bench/programs measure. One stands on the
# parallel mode of GNU's C++ library. Nothing else of the project but a test is C++.
find_program(GXX g++)
if(GXX)
  set(parallel_sort_flags -D_GLIBCXX_PARALLEL -fopenmp)
  foreach(program parallel_sort heap_sort)
    set(source ${CMAKE_CURRENT_SOURCE_DIR}/bench/programs/${program}.cpp)
    add_custom_command(OUTPUT ${program} DEPENDS ${source}
                       COMMAND ${GXX} -std=c++17 -O2 -Wall -Wextra -Werror ${${program}_flags}
                               -o ${program} ${source})
    add_custom_target(${program}_program ALL DEPENDS ${program})
  endforeach()
endif()
