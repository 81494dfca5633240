# Tests of the kernel's parts that stand on any machine: here on the sim, with tests/kernel/*_support.c for
# the rest of the kernel.
find_program(MKE2FS mke2fs PATHS /sbin /usr/sbin REQUIRED)

file(GLOB EXT2_SOURCES CONFIGURE_DEPENDS kernel/fs/ext2*.c)
add_library(kernel_ext2 OBJECT ${EXT2_SOURCES} kernel/fs/inode.c)
target_include_directories(kernel_ext2 PRIVATE include kernel machines/x86_64)
target_compile_options(kernel_ext2 PRIVATE -ffreestanding -fno-stack-protector)

file(GLOB EXT2_SUPPORT CONFIGURE_DEPENDS tests/kernel/ext2_*.c)
list(FILTER EXT2_SUPPORT EXCLUDE REGEX "_test\\.c$")
file(GLOB EXT2_TESTS CONFIGURE_DEPENDS tests/kernel/ext2*_test.c)
foreach(source ${EXT2_TESTS})
  faultline_sim_test(${source})
  get_filename_component(name ${source} NAME_WE)
  target_sources(${name} PRIVATE ${EXT2_SUPPORT} $<TARGET_OBJECTS:kernel_ext2>)
  target_include_directories(${name} PRIVATE kernel)
endforeach()

# How programs are loaded, and what handlers find on their stacks.
foreach(name elf_test sigframe_test)
  faultline_sim_test(tests/kernel/${name}.c)
  target_include_directories(${name} PRIVATE kernel)
endforeach()
target_sources(elf_test PRIVATE kernel/proc/elf.c)

# faultline_fs_test(NAME SOURCE…): tests/kernel/NAME.c with these files of the kernel.
function(faultline_fs_test name)
  add_library(${name}_parts OBJECT ${ARGN})
  target_include_directories(${name}_parts PRIVATE include kernel machines machines/x86_64)
  target_compile_options(${name}_parts PRIVATE -ffreestanding -fno-stack-protector)
  faultline_sim_test(tests/kernel/${name}.c)
  target_sources(${name} PRIVATE ${EXT2_SUPPORT} $<TARGET_OBJECTS:kernel_ext2> $<TARGET_OBJECTS:${name}_parts>)
  target_include_directories(${name} PRIVATE kernel)
endfunction()
faultline_fs_test(fs_tmpfs_test kernel/fs/tmpfs.c kernel/fs/mount.c kernel/fs/namecache.c)
faultline_fs_test(fs_lockf_test kernel/fs/lockf.c)
