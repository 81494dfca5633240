# The library: libfaultline.a, libfaultline.so, the headers, faultline.pc.
#
#   core + linux + zstd ──ld -r──▶ one object ──objcopy──▶ libfaultline.a: leaks no name but fl_*
#                └─────────────────────────────────────▶ libfaultline.so
#
# `cmake --install build --prefix DIR` puts them where pkg-config finds them (component: library). A project
# of which this tree is a part links faultline::faultline: the archive or, with BUILD_SHARED_LIBS, the other.
include(GNUInstallDirs)

if(FAULTLINE_SANITIZE)
  # The sanitizers' own tables do not survive ld -r: the archive is a plain one, for this tree's tests. From
  # an archive a linker takes a weak function as soon as a strong one; linux has all of them.
  add_library(faultline_static STATIC $<FILTER:$<TARGET_OBJECTS:faultline_core>,EXCLUDE,machine_default>
                                      $<TARGET_OBJECTS:faultline_linux>)
  target_link_libraries(faultline_static INTERFACE ${FAULTLINE_ZSTD_ARCHIVE})
else()
  set(FAULTLINE_OBJECT ${PROJECT_BINARY_DIR}/faultline.o)
  add_custom_command(
    OUTPUT ${FAULTLINE_OBJECT}
    COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o ${FAULTLINE_OBJECT} $<TARGET_OBJECTS:faultline_core>
            $<TARGET_OBJECTS:faultline_linux> ${FAULTLINE_ZSTD_ARCHIVE}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden --wildcard --keep-global-symbol=fl_* ${FAULTLINE_OBJECT}
    DEPENDS $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_linux>
    COMMAND_EXPAND_LISTS
    VERBATIM)
  set_source_files_properties(${FAULTLINE_OBJECT} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  add_library(faultline_static STATIC ${FAULTLINE_OBJECT})
endif()
set_target_properties(faultline_static PROPERTIES OUTPUT_NAME faultline LINKER_LANGUAGE C)
target_link_libraries(faultline_static INTERFACE Threads::Threads)

add_library(faultline_shared SHARED $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_linux>)
set_target_properties(faultline_shared PROPERTIES OUTPUT_NAME faultline LINKER_LANGUAGE C VERSION ${PROJECT_VERSION}
                                                  SOVERSION 0)
target_link_libraries(faultline_shared PRIVATE Threads::Threads ${FAULTLINE_ZSTD_ARCHIVE})
target_link_options(faultline_shared PRIVATE -Wl,--exclude-libs,ALL)

foreach(library faultline_static faultline_shared)
  target_include_directories(${library} INTERFACE ${PROJECT_SOURCE_DIR}/include)
endforeach()
if(BUILD_SHARED_LIBS)
  add_library(faultline::faultline ALIAS faultline_shared)
else()
  add_library(faultline::faultline ALIAS faultline_static)
endif()

configure_file(${PROJECT_SOURCE_DIR}/cmake/faultline.pc.in ${PROJECT_BINARY_DIR}/faultline.pc @ONLY)
install(TARGETS faultline_static faultline_shared COMPONENT library)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/faultline DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
install(FILES ${PROJECT_BINARY_DIR}/faultline.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT library)
