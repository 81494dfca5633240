# anon_soak: threads with several times the limit of private memory, and a swap file. A ctest for some
# seconds; `make soak` for ten minutes.
add_executable(anon_soak ${CMAKE_CURRENT_LIST_DIR}/anon_soak.c $<TARGET_OBJECTS:faultline_core>
               $<TARGET_OBJECTS:faultline_linux>)
target_include_directories(anon_soak PRIVATE include machines/linux stores library tests)
target_compile_definitions(anon_soak PRIVATE _GNU_SOURCE)
target_link_libraries(anon_soak PRIVATE Threads::Threads)
add_test(NAME anon_soak_short COMMAND anon_soak 3)
set_tests_properties(anon_soak_short PROPERTIES LABELS "sanitize;threads")
