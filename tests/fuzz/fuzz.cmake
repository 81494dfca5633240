# fuzz_corpus_test: the fuzz target over its corpus, once, in every check.
# ops_fuzz: the target itself, with Clang:  cmake --preset fuzz && cmake --build --preset fuzz
#                                           build-fuzz/ops_fuzz tests/fuzz/corpus
option(FAULTLINE_FUZZ "Build ops_fuzz with Clang's libFuzzer" OFF)

function(faultline_fuzz_target name)
  target_include_directories(${name} PRIVATE core include machines machines/sim tests)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(${name} PRIVATE PkgConfig::CMOCKA Threads::Threads)
endfunction()

add_executable(fuzz_corpus_test tests/fuzz/corpus_main.c tests/fuzz/ops_fuzz.c ${MODEL_ON_SIM})
faultline_fuzz_target(fuzz_corpus_test)
add_test(NAME fuzz_corpus_test COMMAND fuzz_corpus_test ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus)
set_tests_properties(fuzz_corpus_test PROPERTIES LABELS sanitize)

if(FAULTLINE_FUZZ)
  # The sources, and not the objects: the core itself has to be instrumented for coverage.
  add_executable(ops_fuzz tests/fuzz/ops_fuzz.c ${MODEL_SOURCES} ${MODEL_SIM_SOURCES} ${SUPPORT_SOURCES}
                 ${CORE_SOURCES} ${SIM_SOURCES})
  faultline_fuzz_target(ops_fuzz)
  target_compile_options(ops_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_options(ops_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
endif()
