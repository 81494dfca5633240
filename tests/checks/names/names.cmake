# core/core_names.h: that it has exactly the core's names, that with it the core exports none but fl_*, and
# that the core then links and runs beside a kernel that has all of these names.
set(CORE_NAMES ${PROJECT_SOURCE_DIR}/core/core_names.h)
set(CORE_NAMES_TOOL ${PROJECT_SOURCE_DIR}/tools/core-names)
add_custom_target(core_names COMMAND ${CORE_NAMES_TOOL} ${CORE_NAMES} $<TARGET_OBJECTS:faultline_core>
                  COMMAND_EXPAND_LISTS VERBATIM)
add_dependencies(core_names faultline_core)

add_library(faultline_core_prefixed OBJECT ${CORE_SOURCES})
target_include_directories(faultline_core_prefixed PRIVATE core include)
target_compile_definitions(faultline_core_prefixed PRIVATE FAULTLINE_PREFIX)
target_compile_options(faultline_core_prefixed PRIVATE -ffreestanding -fno-stack-protector -O1)

set(CLASHES ${PROJECT_BINARY_DIR}/core_names_clashes.c)
add_custom_command(OUTPUT ${CLASHES} COMMAND ${CORE_NAMES_TOOL} --clashes ${CORE_NAMES} ${CLASHES}
                   DEPENDS ${CORE_NAMES} ${CORE_NAMES_TOOL} VERBATIM)
add_executable(core_names_test ${CMAKE_CURRENT_LIST_DIR}/main.c ${CLASHES} $<TARGET_OBJECTS:faultline_core_prefixed>
               $<TARGET_OBJECTS:faultline_sim>)
target_include_directories(core_names_test PRIVATE include machines machines/sim)
target_link_libraries(core_names_test PRIVATE Threads::Threads)

add_test(NAME check_core_names COMMAND ${CORE_NAMES_TOOL} --check ${CORE_NAMES} $<TARGET_OBJECTS:faultline_core>
         COMMAND_EXPAND_LISTS)
add_test(NAME check_core_names_prefixed COMMAND ${CORE_NAMES_TOOL} --prefixed
                                                $<TARGET_OBJECTS:faultline_core_prefixed>
         COMMAND_EXPAND_LISTS)
add_test(NAME core_names_test COMMAND core_names_test)
# The header that lacks a name, and the core without its prefix, are noticed.
add_test(NAME check_core_names_finds_prefixless COMMAND ${CORE_NAMES_TOOL} --prefixed
                                                        $<TARGET_OBJECTS:faultline_core>
         COMMAND_EXPAND_LISTS)
add_test(NAME check_core_names_finds_drift COMMAND ${CORE_NAMES_TOOL} --check ${CORE_NAMES}
                                                   $<TARGET_OBJECTS:faultline_sim>
         COMMAND_EXPAND_LISTS)
set_tests_properties(check_core_names_finds_prefixless check_core_names_finds_drift PROPERTIES WILL_FAIL TRUE)
