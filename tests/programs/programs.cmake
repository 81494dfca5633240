# Real programs under limits: each NAME_test.py compares a run under `faultline run` with a native one.
file(GLOB PROGRAM_TESTS CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_test.py)
foreach(source ${PROGRAM_TESTS})
  faultline_run_test(programs ${source})
endforeach()

# A program in C++ for anon_test.py, which finds it in the build tree.
find_program(GXX g++)
if(GXX)
  set(MAP_THREADS ${CMAKE_CURRENT_LIST_DIR}/map_threads.cpp)
  add_custom_command(OUTPUT map_threads DEPENDS ${MAP_THREADS}
                     COMMAND ${GXX} -std=c++17 -O2 -Wall -Wextra -Werror -pthread -o map_threads ${MAP_THREADS})
  add_custom_target(map_threads_program ALL DEPENDS map_threads)
endif()
