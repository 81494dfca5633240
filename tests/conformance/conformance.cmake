# The conformance suite: one source, three programs (conformance_sim_test, conformance_linux_test, and
# conformance_native_test against the real kernel). conformance_forks_test: forks, on sim beside real
# processes.
file(GLOB CONFORMANCE_SOURCES CONFIGURE_DEPENDS tests/conformance/*.c)
list(FILTER CONFORMANCE_SOURCES EXCLUDE REGEX "(_test|linux_driver)\\.c$")

function(faultline_conformance_test name)
  add_executable(conformance_${name}_test tests/conformance/${name}_test.c ${CONFORMANCE_SOURCES} ${ARGN})
  target_include_directories(conformance_${name}_test PRIVATE core include machines machines/linux stores library tests)
  target_compile_definitions(conformance_${name}_test PRIVATE _GNU_SOURCE)
  target_link_libraries(conformance_${name}_test PRIVATE PkgConfig::CMOCKA Threads::Threads)
  add_test(NAME conformance_${name}_test COMMAND conformance_${name}_test)
  set_tests_properties(conformance_${name}_test PROPERTIES LABELS sanitize)
endfunction()

faultline_conformance_test(native $<TARGET_OBJECTS:test_model> tests/support/seed.c)
faultline_conformance_test(linux $<TARGET_OBJECTS:test_model> tests/support/seed.c tests/conformance/linux_driver.c
                           $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_linux>)
target_link_libraries(conformance_linux_test PRIVATE ${FAULTLINE_ZSTD_ARCHIVE})
faultline_conformance_test(sim $<TARGET_OBJECTS:test_model> tests/model/sim_driver.c ${ON_SIM})
faultline_conformance_test(forks $<TARGET_OBJECTS:test_model> tests/model/sim_driver.c ${ON_SIM})
