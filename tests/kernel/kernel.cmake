# What goes into the root of the kernel's disk, in BUILD/kernel-root: static Linux programs, which know
# nothing of the kernel that runs them. `kernel_programs` builds them; tools/kernel-image puts them on the
# disk. The C library is musl's or glibc's, so that the kernel serves both; C++ and SQLite are linked with
# glibc.
set(KERNEL_PROGRAMS ${PROJECT_BINARY_DIR}/kernel-root/test)
set(PROGRAM_FLAGS -D_GNU_SOURCE -O2 -Wall -Wextra -Wshadow -Werror -static -s)
find_program(MUSL_GCC musl-gcc)
find_program(GXX g++)
set(HERE ${CMAKE_CURRENT_LIST_DIR})
set(built)

# faultline_kernel_program(NAME SOURCE COMPILER FLAG…): flags come behind the source: libraries, too.
function(faultline_kernel_program name source compiler)
  add_custom_command(OUTPUT ${KERNEL_PROGRAMS}/${name} DEPENDS ${source} ${HERE}/programs/program.h
                     COMMAND ${CMAKE_COMMAND} -E make_directory ${KERNEL_PROGRAMS}
                     COMMAND ${compiler} ${PROGRAM_FLAGS} -o ${KERNEL_PROGRAMS}/${name} ${source} ${ARGN})
  set(built ${built} ${KERNEL_PROGRAMS}/${name} PARENT_SCOPE)
endfunction()

if(MUSL_GCC AND GXX)
  foreach(program fsx forktree lastthread memcheck processes signals survive big ticker badcalls diskerror)
    faultline_kernel_program(${program} ${HERE}/programs/${program}.c ${MUSL_GCC} -std=gnu17)
  endforeach()
  faultline_kernel_program(processes_glibc ${HERE}/programs/processes.c ${CMAKE_C_COMPILER} -std=gnu17 -pthread)
  faultline_kernel_program(kbench ${PROJECT_SOURCE_DIR}/bench/kernel/kbench.c ${MUSL_GCC} -std=gnu17)
  faultline_kernel_program(threads ${HERE}/programs/threads.cc ${GXX} -std=c++17 -pthread)
  # It hands out bad pointers and lengths, which the compiler sees.
  faultline_kernel_program(fs_calls ${HERE}/programs/fs_calls.c ${CMAKE_C_COMPILER} -std=gnu17 -Wno-nonnull
                           -Wno-stringop-overflow -Wno-stringop-overread)
  # SQLite's loading of extensions, which nothing here does, makes the linker warn.
  faultline_kernel_program(database ${HERE}/programs/database.c ${CMAKE_C_COMPILER} -std=gnu17 -lsqlite3 -lm
                           -Wl,--no-warnings)

  # The conformance suite against the kernel that it runs on: here, the third machine.
  add_executable(conformance_kernel EXCLUDE_FROM_ALL tests/conformance/native_test.c ${CONFORMANCE_SOURCES}
                 $<TARGET_OBJECTS:test_model> tests/support/seed.c)
  target_include_directories(conformance_kernel PRIVATE core include machines tests)
  target_compile_definitions(conformance_kernel PRIVATE _GNU_SOURCE)
  target_link_options(conformance_kernel PRIVATE -static)
  set_target_properties(conformance_kernel PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${KERNEL_PROGRAMS}
                                                      OUTPUT_NAME conformance)

  # What firmware takes of a boot's instructions (bench/kernel/run).
  add_custom_command(OUTPUT kernel-firmware.elf DEPENDS ${PROJECT_SOURCE_DIR}/bench/kernel/firmware.S
                     COMMAND ${CMAKE_C_COMPILER} -m32 -nostdlib -static -no-pie -Wl,-n,-Ttext=0x100000
                             -Wl,--build-id=none -o kernel-firmware.elf
                             ${PROJECT_SOURCE_DIR}/bench/kernel/firmware.S)
  set(in_all)
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND NOT FAULTLINE_SANITIZE)
    set(in_all ALL)
    add_test(NAME kernel_short COMMAND ${HERE}/run --short --build ${PROJECT_BINARY_DIR})
    set_tests_properties(kernel_short PROPERTIES LABELS kernel PROCESSORS 2)
  endif()
  add_custom_target(kernel_programs ${in_all} DEPENDS ${built} kernel-firmware.elf)
  add_dependencies(kernel_programs conformance_kernel)
endif()

if(TARGET min_kernel)
  add_test(NAME min_kernel_test COMMAND ${HERE}/min_kernel_test.py ${PROJECT_BINARY_DIR})
  set_tests_properties(min_kernel_test PROPERTIES LABELS kernel SKIP_RETURN_CODE 77)
endif()
