# The conformance suite: one source, three programs (conformance_sim_test, conformance_linux_test, and
# conformance_native_test against the real kernel).
file(GLOB CONFORMANCE_SOURCES CONFIGURE_DEPENDS tests/conformance/*.c)
list(FILTER CONFORMANCE_SOURCES EXCLUDE REGEX "(_test|linux_driver)\\.c$")
set(MODEL_WITHOUT_SIM ${MODEL_SOURCES})
list(FILTER MODEL_WITHOUT_SIM EXCLUDE REGEX "(sim_driver|sim_oracle|ledger)\\.c$")

function(faultline_conformance_test name)
  add_executable(conformance_${name}_test tests/conformance/${name}_test.c ${CONFORMANCE_SOURCES} ${MODEL_WITHOUT_SIM}
                 ${ARGN})
  target_include_directories(conformance_${name}_test PRIVATE core include machines machines/linux stores library tests)
  target_compile_definitions(conformance_${name}_test PRIVATE _GNU_SOURCE)
  target_link_libraries(conformance_${name}_test PRIVATE PkgConfig::CMOCKA Threads::Threads)
  add_test(NAME conformance_${name}_test COMMAND conformance_${name}_test)
  set_tests_properties(conformance_${name}_test PROPERTIES LABELS sanitize)
endfunction()

faultline_conformance_test(native tests/support/seed.c)
faultline_conformance_test(linux tests/support/seed.c tests/conformance/linux_driver.c
                           $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_linux>)
faultline_conformance_test(sim ${TEST_SUPPORT_SIM} tests/model/sim_driver.c
                           $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_sim>)
