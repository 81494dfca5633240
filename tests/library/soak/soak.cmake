# anon_soak: threads with several times the limit of private memory, and a swap file. A ctest for some
# seconds; `make soak` for ten minutes.
add_executable(anon_soak ${CMAKE_CURRENT_LIST_DIR}/anon_soak.c)
target_include_directories(anon_soak PRIVATE tests)
target_compile_definitions(anon_soak PRIVATE _GNU_SOURCE)
target_link_libraries(anon_soak PRIVATE faultline_static)
foreach(percent 0 30)
  add_test(NAME anon_soak_${percent} COMMAND anon_soak 3 4 ${percent})
  set_tests_properties(anon_soak_${percent} PROPERTIES LABELS "sanitize;threads" TIMEOUT 240)
endforeach()
