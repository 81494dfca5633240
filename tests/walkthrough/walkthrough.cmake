# The recorder of walkthroughs, in a build with FAULTLINE_TRACE; `make walkthroughs` runs tools/walkthroughs.
if(FAULTLINE_TRACE)
  file(GLOB WALKTHROUGH_SOURCES CONFIGURE_DEPENDS tests/walkthrough/*.c)
  add_executable(walkthrough_record ${WALKTHROUGH_SOURCES} ${ON_SIM})
  target_include_directories(walkthrough_record PRIVATE core include machines machines/sim tests)
  target_compile_definitions(walkthrough_record PRIVATE _GNU_SOURCE)
  target_link_libraries(walkthrough_record PRIVATE PkgConfig::CMOCKA Threads::Threads)
  add_test(NAME walkthroughs COMMAND ${PROJECT_SOURCE_DIR}/tools/walkthroughs $<TARGET_FILE:walkthrough_record>
           ${PROJECT_SOURCE_DIR} --check)
  add_test(NAME walkthrough_mutants COMMAND ${PROJECT_SOURCE_DIR}/tests/walkthrough/mutants
           $<TARGET_FILE:walkthrough_record> ${PROJECT_SOURCE_DIR})
endif()
