# The recorders of walkthroughs, in a build with FAULTLINE_TRACE; `make walkthroughs` runs tools/walkthroughs.
if(FAULTLINE_TRACE)
  set(HERE ${PROJECT_SOURCE_DIR}/tests/walkthrough)
  file(GLOB WALKTHROUGH_SOURCES CONFIGURE_DEPENDS tests/walkthrough/*.c)
  add_executable(walkthrough_record ${WALKTHROUGH_SOURCES} ${ON_SIM})
  target_include_directories(walkthrough_record PRIVATE core include machines machines/sim tests)
  target_compile_definitions(walkthrough_record PRIVATE _GNU_SOURCE)
  target_link_libraries(walkthrough_record PRIVATE PkgConfig::CMOCKA Threads::Threads)

  # The kernel on bare metal with its recorder; the disk has one program and one file.
  add_library(kernel_recorder OBJECT ${HERE}/calls.c ${HERE}/kernel/record.c ${HERE}/kernel/hooks.S)
  target_include_directories(kernel_recorder PRIVATE include kernel machines/x86_64 tests)
  list(REMOVE_ITEM KERNEL_FLAGS -finstrument-functions)
  target_compile_options(kernel_recorder PRIVATE ${KERNEL_FLAGS} -O2)
  set_target_properties(kernel_recorder PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  list(APPEND KERNEL_LINK -Wl,--wrap=kernel_syscall,--wrap=pagezero,--wrap=cpu_switch)
  set(walkthrough_kernel_TABLES ${CMAKE_BINARY_DIR}/walkthrough_kernel.frames.S)
  set(FRAMES ${PROJECT_SOURCE_DIR}/tools/walkthrough/frames)
  add_custom_command(OUTPUT ${walkthrough_kernel_TABLES} DEPENDS walkthrough_kernel.first ${FRAMES}
                     COMMAND ${FRAMES} $<TARGET_FILE:walkthrough_kernel.first> ${PROJECT_SOURCE_DIR}
                             ${walkthrough_kernel_TABLES})
  faultline_kernel(walkthrough_kernel kernel_core kernel_machine kernel_parts kernel_recorder)
  find_program(MUSL_GCC musl-gcc REQUIRED)
  find_program(MKE2FS mke2fs PATHS /sbin /usr/sbin REQUIRED)
  set(DISK ${CMAKE_BINARY_DIR}/walkthrough-disk)
  add_custom_command(OUTPUT ${DISK}.img DEPENDS ${HERE}/kernel/walk.c ${HERE}/kernel/record.h
                     COMMAND ${CMAKE_COMMAND} -E rm -rf ${DISK} ${DISK}.img
                     COMMAND ${CMAKE_COMMAND} -E make_directory ${DISK}/sbin ${DISK}/dev ${DISK}/proc ${DISK}/tmp
                     COMMAND ${MUSL_GCC} -std=gnu17 -O1 -Wall -Wextra -Werror -static -I${PROJECT_SOURCE_DIR}/tests
                             -o ${DISK}/sbin/init ${HERE}/kernel/walk.c
                     COMMAND sh -c "seq 200000 | head -c 1048576 >${DISK}/file" # zeros would be a hole
                     COMMAND ${MKE2FS} -q -t ext2 -b 4096 -d ${DISK} ${DISK}.img 8M
                     VERBATIM)
  add_custom_target(walkthrough_disk ALL DEPENDS ${DISK}.img)

  add_test(NAME walkthroughs COMMAND ${PROJECT_SOURCE_DIR}/tools/walkthroughs $<TARGET_FILE:walkthrough_record>
           ${PROJECT_SOURCE_DIR} --check)
  add_test(NAME walkthrough_mutants COMMAND ${HERE}/mutants $<TARGET_FILE:walkthrough_record>
           ${PROJECT_SOURCE_DIR})
endif()
