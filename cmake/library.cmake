# The library: libfaultline.a, libfaultline.so, the headers, faultline.pc.
#
#   core + machine_linux ──ld -r──▶ one object ──objcopy --localize-hidden──▶ libfaultline.a: leaks no name but fl_*
#                        └────────────────────────────────────────────────▶ libfaultline.so
#
# `cmake --install build --prefix DIR` puts them where pkg-config finds them (component: library).
include(GNUInstallDirs)
if(FAULTLINE_TRACE)
  return() # a tracing core needs the tracer, which only the walkthroughs have
endif()

if(FAULTLINE_SANITIZE)
  # The sanitizers' own tables do not survive ld -r: the archive is a plain one, for the tests of this tree only.
  add_library(faultline_static STATIC $<TARGET_OBJECTS:core> $<TARGET_OBJECTS:machine_linux>)
else()
  set(FAULTLINE_OBJECT ${CMAKE_BINARY_DIR}/faultline.o)
  add_custom_command(
    OUTPUT ${FAULTLINE_OBJECT}
    COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o ${FAULTLINE_OBJECT} $<TARGET_OBJECTS:core>
            $<TARGET_OBJECTS:machine_linux>
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${FAULTLINE_OBJECT}
    DEPENDS $<TARGET_OBJECTS:core> $<TARGET_OBJECTS:machine_linux>
    COMMAND_EXPAND_LISTS
    VERBATIM)
  set_source_files_properties(${FAULTLINE_OBJECT} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  add_library(faultline_static STATIC ${FAULTLINE_OBJECT})
endif()
set_target_properties(faultline_static PROPERTIES OUTPUT_NAME faultline LINKER_LANGUAGE C)

add_library(faultline_shared SHARED $<TARGET_OBJECTS:core> $<TARGET_OBJECTS:machine_linux>)
set_target_properties(faultline_shared PROPERTIES OUTPUT_NAME faultline LINKER_LANGUAGE C VERSION ${PROJECT_VERSION}
                                                  SOVERSION 0)
target_link_libraries(faultline_shared PRIVATE Threads::Threads)

configure_file(${CMAKE_SOURCE_DIR}/cmake/faultline.pc.in ${CMAKE_BINARY_DIR}/faultline.pc @ONLY)
install(TARGETS faultline_static faultline_shared COMPONENT library)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/faultline DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
install(FILES ${CMAKE_BINARY_DIR}/faultline.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)

if(NOT FAULTLINE_SANITIZE)
  add_test(NAME symbols_test COMMAND ${CMAKE_SOURCE_DIR}/tests/library/symbols_test.sh
                                     $<TARGET_FILE:faultline_static> $<TARGET_FILE:faultline_shared>)
  add_test(NAME example_test COMMAND ${CMAKE_SOURCE_DIR}/tests/library/example_test.sh ${CMAKE_SOURCE_DIR}
                                     ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER})
endif()
