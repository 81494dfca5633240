# Checks of the tree itself: who includes whom, what the core needs from outside and what it exports, how the
# files are formatted. `mutants` tries the checks themselves, `core_mutants` the tests of the harvest.
set(CHECKS ${CMAKE_CURRENT_LIST_DIR})
foreach(check includes format readme width wrapping citations invariants)
  add_test(NAME check_${check} COMMAND ${CHECKS}/${check} ${PROJECT_SOURCE_DIR})
endforeach()
add_test(NAME check_mutants COMMAND ${CHECKS}/mutants ${CHECKS})
if(NOT FAULTLINE_SANITIZE)
  add_test(NAME check_symbols COMMAND ${CHECKS}/symbols $<TARGET_OBJECTS:faultline_core> COMMAND_EXPAND_LISTS)
  add_test(NAME check_floors COMMAND ${CHECKS}/floors $<TARGET_OBJECTS:faultline_core> COMMAND_EXPAND_LISTS)
  add_test(NAME check_port COMMAND ${CHECKS}/port ${PROJECT_SOURCE_DIR}/include/faultline/machine.h
                                   $<TARGET_OBJECTS:faultline_core> $<TARGET_OBJECTS:port_words>
                                   $<TARGET_OBJECTS:port_rest>
           COMMAND_EXPAND_LISTS)
  add_test(NAME check_core_mutants COMMAND ${CHECKS}/core_mutants ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
  include(${CHECKS}/names/names.cmake)
endif()
