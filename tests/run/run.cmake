# What `faultline run` promises, tried by programs of our own: NAME_test.py runs NAME.c with and without it.
#
# They stand side by side in the build tree: a test that is given the first finds the others.
foreach(name anon beside calls calls_files calls_mix debugged descriptors handed maps odd refuse spoiled stacks)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(${name} PRIVATE Threads::Threads)
endforeach()

# A test NAME_test.py of the folder's group, with tests/support/harness.py.
function(faultline_run_test group source)
  get_filename_component(name ${source} NAME_WE)
  if(NOT FAULTLINE_SANITIZE) # whose runtime wants to be loaded first, and so does the shim
    add_test(NAME ${group}_${name}
             COMMAND /usr/bin/python3 -B ${source} $<TARGET_FILE:faultline> $<TARGET_FILE:calls>
             WORKING_DIRECTORY ${PROJECT_BINARY_DIR})
    set_tests_properties(${group}_${name} PROPERTIES TIMEOUT 300
                         ENVIRONMENT PYTHONPATH=${PROJECT_SOURCE_DIR}/tests/support)
  endif()
endfunction()

file(GLOB RUN_TESTS CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_test.py)
foreach(source ${RUN_TESTS})
  faultline_run_test(run ${source})
endforeach()
