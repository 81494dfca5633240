# Tests: each file NAME_test.c becomes a program and a ctest of that name.
#   tests/core, tests/sim, tests/model   on the machine sim
#   tests/conformance                    one source, on sim, on linux, and against the real kernel
#   tests/linux, tests/stores, tests/library   on the machine linux
# Labels: `sanitize` runs under ASan and UBSan too, `threads` under TSan too (tests/check).
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
  # Tests read structures while no other thread runs, and take locks in one function to release them in
  # another.
  add_compile_options(-Wno-thread-safety-analysis)
endif()
find_package(PkgConfig REQUIRED)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)

# What many tests share is compiled once: an object library of a folder's sources on the machine sim.
function(faultline_shared_by_tests name)
  add_library(${name} OBJECT ${ARGN})
  target_include_directories(${name} PRIVATE core include machines machines/sim tests)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(${name} PRIVATE PkgConfig::CMOCKA)
endfunction()

file(GLOB SUPPORT_SOURCES CONFIGURE_DEPENDS tests/support/*.c)
faultline_shared_by_tests(test_support ${SUPPORT_SOURCES})
# The sim, booted by the support: what every program on it links.
set(ON_SIM $<TARGET_OBJECTS:test_support> $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_sim>)
include(${PROJECT_SOURCE_DIR}/tests/walkthrough/walkthrough.cmake)
if(FAULTLINE_TRACE)
  return()
endif()

function(faultline_sim_test source)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source} ${ON_SIM})
  target_include_directories(${name} PRIVATE core include machines machines/sim tests)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(${name} PRIVATE PkgConfig::CMOCKA Threads::Threads)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS sanitize)
endfunction()

function(faultline_linux_test source)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source} $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_linux>)
  target_include_directories(${name} PRIVATE core include machines machines/linux stores tests)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(${name} PRIVATE PkgConfig::CMOCKA Threads::Threads ${FAULTLINE_ZSTD_ARCHIVE})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "sanitize;threads")
endfunction()

file(GLOB SIM_TESTS CONFIGURE_DEPENDS tests/core/*_test.c tests/sim/*_test.c
     tests/model/*_test.c)
foreach(source ${SIM_TESTS})
  faultline_sim_test(${source})
endforeach()

# The core's tests, and those of the model, once more on a computer that maps an eighth of its memory
# directly, so that the rest is reached by kmap (tests/support/boot.h). Long ones draw such a computer for one
# seed in four anyway.
file(GLOB HIGHMEM_TESTS CONFIGURE_DEPENDS tests/core/*_test.c tests/model/*_test.c)
list(FILTER HIGHMEM_TESTS EXCLUDE REGEX "/(blist|errseq|kmap|lock|phys|radix|rmap|tree|zone)_test") # no page
list(FILTER HIGHMEM_TESTS EXCLUDE REGEX "/(chaos|crash|files)_test") # long
foreach(source ${HIGHMEM_TESTS})
  get_filename_component(name ${source} NAME_WE)
  add_test(NAME ${name}_highmem COMMAND ${name})
  set_tests_properties(${name}_highmem PROPERTIES ENVIRONMENT FAULTLINE_HIGHMEM=1)
endforeach()

# What the tests of tests/model share: the model, the operations, the oracle; and how these drive the sim.
file(GLOB MODEL_SOURCES CONFIGURE_DEPENDS tests/model/*.c)
list(FILTER MODEL_SOURCES EXCLUDE REGEX "_test\\.c$")
set(MODEL_SIM_SOURCES ${MODEL_SOURCES})
list(FILTER MODEL_SIM_SOURCES INCLUDE REGEX "(sim_driver|sim_oracle|ledger)\\.c$")
list(FILTER MODEL_SOURCES EXCLUDE REGEX "(sim_driver|sim_oracle|ledger)\\.c$")
faultline_shared_by_tests(test_model ${MODEL_SOURCES})
faultline_shared_by_tests(test_model_sim ${MODEL_SIM_SOURCES})
set(MODEL_ON_SIM $<TARGET_OBJECTS:test_model> $<TARGET_OBJECTS:test_model_sim> ${ON_SIM})
file(GLOB MODEL_TESTS CONFIGURE_DEPENDS tests/model/*_test.c)
foreach(source ${MODEL_TESTS})
  get_filename_component(name ${source} NAME_WE)
  target_sources(${name} PRIVATE $<TARGET_OBJECTS:test_model> $<TARGET_OBJECTS:test_model_sim>)
endforeach()

file(GLOB LINUX_TESTS CONFIGURE_DEPENDS tests/linux/*_test.c tests/stores/*_test.c tests/library/*_test.c)
foreach(source ${LINUX_TESTS})
  faultline_linux_test(${source})
endforeach()
foreach(name linux_machine_test views_test)
  target_sources(${name} PRIVATE tests/linux/machine_fixture.c)
endforeach()

target_sources(store_compress_test PRIVATE tests/stores/below_store.c tests/support/seed.c)
foreach(name library_prefetch_test snapshot_library_test)
  target_sources(${name} PRIVATE tests/support/numbered_file.c)
endforeach()

include(${PROJECT_SOURCE_DIR}/cmake/kernel_tests.cmake)
include(${PROJECT_SOURCE_DIR}/tests/conformance/conformance.cmake)
include(${PROJECT_SOURCE_DIR}/tests/run/run.cmake)
include(${PROJECT_SOURCE_DIR}/tests/programs/programs.cmake)
include(${PROJECT_SOURCE_DIR}/tests/library/library.cmake)
include(${PROJECT_SOURCE_DIR}/tests/library/fsx/fsx.cmake)
include(${PROJECT_SOURCE_DIR}/tests/library/soak/soak.cmake)
include(${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz.cmake)
include(${PROJECT_SOURCE_DIR}/tests/run/company/company.cmake)
include(${PROJECT_SOURCE_DIR}/tests/kernel/kernel.cmake)
include(${PROJECT_SOURCE_DIR}/tests/port/port.cmake)
include(${PROJECT_SOURCE_DIR}/tests/checks/checks.cmake)
