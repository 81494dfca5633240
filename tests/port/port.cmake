# examples/port, the port to begin with: it compiles, and links with the core as it stands. What it says when
# it is run, and what it says when the missing functions are there, as a porter meets it:
#
#   main.c ─┬─ words.c, space.c, map.c, copy.c of examples/port ─▶ "machine_lock is missing"
#           ├─ words.c of tests/port, the rest of examples/port ─▶ "machine_space_create is missing"
#           └─ words.c, tables.c of tests/port                  ─▶ "all frames are back"
#   boot_test.c ─ words.c of tests/port, the rest of examples/port: what the core calls when it boots
set(PORT ${PROJECT_SOURCE_DIR}/examples/port)
set(HERE ${CMAKE_CURRENT_LIST_DIR})
add_library(port_words OBJECT ${PORT}/words.c)
add_library(port_rest OBJECT ${PORT}/space.c ${PORT}/map.c ${PORT}/copy.c)
foreach(part port_words port_rest)
  target_include_directories(${part} PRIVATE include)
  target_compile_options(${part} PRIVATE -ffreestanding)
endforeach()

function(faultline_port name)
  add_executable(${name} ${ARGN} $<TARGET_OBJECTS:faultline_core>)
  target_include_directories(${name} PRIVATE include ${PORT})
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(${name} PRIVATE Threads::Threads)
  add_test(NAME ${name} COMMAND ${name})
endfunction()

faultline_port(port_template ${PORT}/main.c $<TARGET_OBJECTS:port_words> $<TARGET_OBJECTS:port_rest>)
faultline_port(port_words_there ${PORT}/main.c ${HERE}/words.c $<TARGET_OBJECTS:port_rest>)
faultline_port(port_complete ${PORT}/main.c ${HERE}/words.c ${HERE}/tables.c ${PORT}/copy.c)
faultline_port(port_boot_test ${HERE}/boot_test.c ${HERE}/words.c $<TARGET_OBJECTS:port_rest>)
set_tests_properties(port_template PROPERTIES PASS_REGULAR_EXPRESSION "^machine_lock is missing\n$")
set_tests_properties(port_words_there PROPERTIES PASS_REGULAR_EXPRESSION
                                                 "^the core has booted\nmachine_space_create is missing\n$")
