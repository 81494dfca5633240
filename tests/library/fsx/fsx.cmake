# fsx: the exerciser of one file: by faultline.h; by the system's calls; by these under `faultline run`.
set(FSX_SOURCES fsx.c fsx_ops.c fsx_model.c)
list(TRANSFORM FSX_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)
add_executable(fsx_api ${FSX_SOURCES} ${CMAKE_CURRENT_LIST_DIR}/fsx_api.c $<TARGET_OBJECTS:faultline_core>
               $<TARGET_OBJECTS:faultline_linux>)
target_include_directories(fsx_api PRIVATE include machines machines/linux)
target_link_libraries(fsx_api PRIVATE ${FAULTLINE_ZSTD_ARCHIVE})
add_executable(fsx_posix ${FSX_SOURCES} ${CMAKE_CURRENT_LIST_DIR}/fsx_posix.c)
foreach(program fsx_api fsx_posix)
  target_compile_definitions(${program} PRIVATE _GNU_SOURCE)
  target_link_libraries(${program} PRIVATE Threads::Threads)
endforeach()

set(FSX_TEST /usr/bin/python3 -B ${CMAKE_CURRENT_LIST_DIR}/fsx_test.py)
add_test(NAME fsx_api COMMAND ${FSX_TEST} $<TARGET_FILE:fsx_api>)
add_test(NAME fsx_api_thread COMMAND ${FSX_TEST} $<TARGET_FILE:fsx_api> --thread)
set_tests_properties(fsx_api fsx_api_thread PROPERTIES LABELS "sanitize;threads")
if(NOT FAULTLINE_SANITIZE) # whose runtime wants to be loaded first, and so does the shim
  set(FSX_RUN $<TARGET_FILE:faultline> run --memory 1M)
  add_test(NAME fsx_native COMMAND ${FSX_TEST} $<TARGET_FILE:fsx_posix>)
  add_test(NAME fsx_run COMMAND ${FSX_TEST} ${FSX_RUN} --min-size 4K -- $<TARGET_FILE:fsx_posix>)
  # Some mappings are the kernel's: of a file that it maps besides, all are.
  add_test(NAME fsx_run_thread COMMAND ${FSX_TEST} ${FSX_RUN} --min-size 256K --fault thread --
                                       $<TARGET_FILE:fsx_posix>)
endif()
