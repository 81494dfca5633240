# `faultline run`: the command, and the shim that it preloads.
#
#   tools/faultline.c                 ─▶ build/faultline
#   run/*.c + core + linux (hidden)   ─▶ build/libfaultline-run.so: exports the calls that it takes over
#
# The command looks for the shim beside itself, then in ../lib/faultline (installed).
include(GNUInstallDirs)

add_library(faultline-run SHARED ${RUN_SOURCES} $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:faultline_linux>)
target_include_directories(faultline-run PRIVATE include machines/linux stores library)
target_compile_definitions(faultline-run PRIVATE _GNU_SOURCE)
target_compile_options(faultline-run PRIVATE -ftls-model=initial-exec)
target_link_libraries(faultline-run PRIVATE Threads::Threads ${CMAKE_DL_LIBS} ${FAULTLINE_ZSTD_ARCHIVE})
# A program that links the library itself must not take the shim's calls over, nor the shim the program's.
target_link_options(faultline-run PRIVATE -Wl,-Bsymbolic -Wl,-z,now
                    -Wl,--version-script=${PROJECT_SOURCE_DIR}/run/exports.map)
if(NOT FAULTLINE_SANITIZE) # whose runtime comes with the program
  target_link_options(faultline-run PRIVATE -Wl,-z,defs)
endif()
set_target_properties(faultline-run PROPERTIES LINK_DEPENDS ${PROJECT_SOURCE_DIR}/run/exports.map
                      LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})

add_executable(faultline tools/faultline.c)
target_include_directories(faultline PRIVATE include)
target_compile_definitions(faultline PRIVATE _GNU_SOURCE FAULTLINE_VERSION="${PROJECT_VERSION}"
                           FAULTLINE_ALLOCATOR="libjemalloc.so.2"
                           FAULTLINE_LIBDIR="${CMAKE_INSTALL_FULL_LIBDIR}/faultline")
set_target_properties(faultline PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
add_dependencies(faultline faultline-run)

install(TARGETS faultline RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT run)
install(TARGETS faultline-run LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/faultline COMPONENT run)
