# Programs that share files: tests/run/company/run plays scenarios with several processes, some under
# `faultline run`. The short form is a ctest for each group; `make company` plays the whole matrix.
add_executable(company_peer ${CMAKE_CURRENT_LIST_DIR}/peer.c ${CMAKE_CURRENT_LIST_DIR}/peer_locks.c
               ${CMAKE_CURRENT_LIST_DIR}/peer_work.c)
target_compile_definitions(company_peer PRIVATE _GNU_SOURCE)
target_link_libraries(company_peer PRIVATE Threads::Threads)

if(NOT FAULTLINE_SANITIZE) # whose runtime wants to be loaded first, and so does the shim
  foreach(group databases killed shells followers outsiders neighbours locks)
    add_test(NAME company_${group}
             COMMAND ${CMAKE_CURRENT_LIST_DIR}/run --faultline $<TARGET_FILE:faultline>
                     --peer $<TARGET_FILE:company_peer> --short --only ${group}/
             WORKING_DIRECTORY ${PROJECT_BINARY_DIR})
    set_tests_properties(company_${group} PROPERTIES TIMEOUT 300)
  endforeach()
endif()
