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
file(GLOB TEST_SUPPORT_SIM CONFIGURE_DEPENDS tests/support/*.c)
include(${PROJECT_SOURCE_DIR}/tests/walkthrough/walkthrough.cmake)
if(FAULTLINE_TRACE)
  return()
endif()

function(faultline_sim_test source)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source} ${TEST_SUPPORT_SIM} $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_sim>)
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
  target_link_libraries(${name} PRIVATE PkgConfig::CMOCKA Threads::Threads)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "sanitize;threads")
endfunction()

file(GLOB SIM_TESTS CONFIGURE_DEPENDS tests/core/*_test.c tests/sim/*_test.c
     tests/model/*_test.c)
foreach(source ${SIM_TESTS})
  faultline_sim_test(${source})
endforeach()

# What the tests of tests/model share: the model, the operations, the oracle.
file(GLOB MODEL_SOURCES CONFIGURE_DEPENDS tests/model/*.c)
list(FILTER MODEL_SOURCES EXCLUDE REGEX "_test\\.c$")
file(GLOB MODEL_TESTS CONFIGURE_DEPENDS tests/model/*_test.c)
foreach(source ${MODEL_TESTS})
  get_filename_component(name ${source} NAME_WE)
  target_sources(${name} PRIVATE ${MODEL_SOURCES})
endforeach()

file(GLOB LINUX_TESTS CONFIGURE_DEPENDS tests/linux/*_test.c tests/stores/*_test.c tests/library/*_test.c)
foreach(source ${LINUX_TESTS})
  faultline_linux_test(${source})
endforeach()

include(${PROJECT_SOURCE_DIR}/tests/conformance/conformance.cmake)
include(${PROJECT_SOURCE_DIR}/tests/run/run.cmake)
include(${PROJECT_SOURCE_DIR}/tests/programs/programs.cmake)
include(${PROJECT_SOURCE_DIR}/tests/library/library.cmake)
include(${PROJECT_SOURCE_DIR}/tests/library/fsx/fsx.cmake)
include(${PROJECT_SOURCE_DIR}/tests/fuzz/fuzz.cmake)
include(${PROJECT_SOURCE_DIR}/tests/run/company/company.cmake)
include(${PROJECT_SOURCE_DIR}/tests/checks/checks.cmake)
