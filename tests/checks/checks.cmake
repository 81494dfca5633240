# Checks of the tree itself: who includes whom, what the core needs from outside, how the files are formatted.
add_test(NAME check_includes COMMAND ${CMAKE_SOURCE_DIR}/tests/checks/includes ${CMAKE_SOURCE_DIR})
add_test(NAME check_format COMMAND ${CMAKE_SOURCE_DIR}/tests/checks/format ${CMAKE_SOURCE_DIR})
if(NOT FAULTLINE_SANITIZE AND NOT FAULTLINE_TRACE)
  add_test(NAME check_symbols COMMAND ${CMAKE_SOURCE_DIR}/tests/checks/symbols $<TARGET_OBJECTS:core>
           COMMAND_EXPAND_LISTS)
endif()
add_test(NAME check_invariants COMMAND ${CMAKE_SOURCE_DIR}/tests/checks/invariants ${CMAKE_SOURCE_DIR})
add_test(NAME check_readme COMMAND ${CMAKE_SOURCE_DIR}/tests/checks/readme ${CMAKE_SOURCE_DIR})
