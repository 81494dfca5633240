# The kernel: the core, machines/x86_64 and kernel/ in one image, build/kernel.elf, and the smallest kernel of
# examples/min_kernel. They are linked twice: the first image tells the names for backtraces (tools/ksyms),
# which the second one contains.
enable_language(ASM)

set(KERNEL_FLAGS -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -mgeneral-regs-only
                 -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none)
# A page is zeroed by a call (string.c), not by one instruction, which counts for 512 where instructions are
# counted.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND KERNEL_FLAGS -mmemset-strategy=unrolled_loop:256:noalign,libcall:-1:noalign)
endif()
# Small functions that a fault calls lie in many files: so they are optimised together. What the compiler
# itself calls (string.c) stays out of that.
if(FAULTLINE_TRACE)
  # Locks, and the smallest functions, which no page shows, are most of the calls.
  string(JOIN "," UNSHOWN vm_page_of vm_page_frame vm_meta_pointer slot_node slot_is_node slot_page
         node_slots node_level node_digit node_prefix node_covers leaf_of pt_index pmap_entries pte_load)
  string(JOIN "," UNSHOWN_FILES /lock.c x86_64/cpu.h x86_64/kernel.h x86_64/pmap_machine.h)
  list(APPEND KERNEL_FLAGS ${TRACE_FLAGS} -finstrument-functions-exclude-function-list=${UNSHOWN}
       -finstrument-functions-exclude-file-list=${UNSHOWN_FILES})
elseif(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND KERNEL_FLAGS -O3 -flto=auto)
endif()
set(KERNEL_LINK -nostdlib -static -no-pie -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--build-id=none
                -T ${PROJECT_SOURCE_DIR}/machines/x86_64/kernel.ld)

# An image of the objects in the object libraries that follow; and of name_TABLES, assembler files that are
# made of the first image.
function(faultline_kernel name)
  foreach(part ${ARGN})
    list(APPEND objects $<TARGET_OBJECTS:${part}>)
  endforeach()
  set(ksyms ${CMAKE_BINARY_DIR}/${name}.ksyms.S)
  add_executable(${name}.first ${objects} ${PROJECT_SOURCE_DIR}/machines/x86_64/ksyms_none.S)
  add_custom_command(OUTPUT ${ksyms} DEPENDS ${name}.first ${PROJECT_SOURCE_DIR}/tools/ksyms
                     COMMAND ${PROJECT_SOURCE_DIR}/tools/ksyms $<TARGET_FILE:${name}.first> ${ksyms})
  add_executable(${name} ${objects} ${ksyms} ${${name}_TABLES})
  set_target_properties(${name} PROPERTIES OUTPUT_NAME ${name}.elf)
  foreach(image ${name}.first ${name})
    set_target_properties(${image} PROPERTIES POSITION_INDEPENDENT_CODE OFF
                          LINK_DEPENDS ${PROJECT_SOURCE_DIR}/machines/x86_64/kernel.ld)
    target_link_options(${image} PRIVATE ${KERNEL_FLAGS} ${KERNEL_LINK})
  endforeach()
endfunction()

function(faultline_kernel_part name)
  add_library(${name} OBJECT ${ARGN})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_include_directories(${name} PRIVATE include core kernel machines machines/x86_64)
  target_compile_options(${name} PRIVATE ${KERNEL_FLAGS})
endfunction()

file(GLOB X86_64_SOURCES CONFIGURE_DEPENDS machines/x86_64/*.c machines/x86/*.c machines/x86_64/*.S)
set_source_files_properties(machines/x86_64/string.c PROPERTIES COMPILE_OPTIONS -fno-lto)
list(REMOVE_ITEM X86_64_SOURCES ${PROJECT_SOURCE_DIR}/machines/x86_64/ksyms_none.S)
file(GLOB_RECURSE KERNEL_SOURCES CONFIGURE_DEPENDS kernel/*.c)
faultline_kernel_part(kernel_core ${CORE_SOURCES})
faultline_kernel_part(kernel_machine ${X86_64_SOURCES})
faultline_kernel_part(kernel_parts ${KERNEL_SOURCES})
if(FAULTLINE_TRACE)
  return() # tests/walkthrough makes a kernel of them
endif()
faultline_kernel(kernel kernel_core kernel_machine kernel_parts)
faultline_kernel_part(min_kernel_parts examples/min_kernel/min_kernel.c)
faultline_kernel(min_kernel kernel_core kernel_machine min_kernel_parts)
