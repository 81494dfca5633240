# Real programs under limits: each NAME_test.py compares a run under `faultline run` with a native one.
file(GLOB PROGRAM_TESTS CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_test.py)
foreach(source ${PROGRAM_TESTS})
  faultline_run_test(programs ${source})
endforeach()
