# Real programs under limits: each NAME_test.py runs a program natively and under `faultline run`, and
# compares.
# side by side: a test that is given the first finds the others
foreach(name beside calls calls_files calls_mix debugged descriptors handed maps odd refuse spoiled stacks)
  add_executable(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.c)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(${name} PRIVATE Threads::Threads)
endforeach()

file(GLOB PROGRAM_TESTS CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_test.py)
# A sanitizer's runtime wants to be loaded first, and so does the shim.
if(NOT FAULTLINE_SANITIZE)
  foreach(source ${PROGRAM_TESTS})
    get_filename_component(name ${source} NAME_WE)
    add_test(NAME programs_${name}
             COMMAND /usr/bin/python3 -B ${source} $<TARGET_FILE:faultline> $<TARGET_FILE:calls>
             WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
    set_tests_properties(programs_${name} PROPERTIES TIMEOUT 300)
  endforeach()
endif()
