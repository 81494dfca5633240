# Checks of the tree itself: who includes whom, what the core needs from outside, how the files are formatted.
add_test(NAME check_includes COMMAND ${PROJECT_SOURCE_DIR}/tests/checks/includes ${PROJECT_SOURCE_DIR})
add_test(NAME check_format COMMAND ${PROJECT_SOURCE_DIR}/tests/checks/format ${PROJECT_SOURCE_DIR})
if(NOT FAULTLINE_SANITIZE AND NOT FAULTLINE_TRACE)
  add_test(NAME check_symbols COMMAND ${PROJECT_SOURCE_DIR}/tests/checks/symbols $<TARGET_OBJECTS:faultline_core>
           COMMAND_EXPAND_LISTS)
endif()
add_test(NAME check_invariants COMMAND ${PROJECT_SOURCE_DIR}/tests/checks/invariants ${PROJECT_SOURCE_DIR})
add_test(NAME check_readme COMMAND ${PROJECT_SOURCE_DIR}/tests/checks/readme ${PROJECT_SOURCE_DIR})
