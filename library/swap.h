/* swap.h: the swap space of the library: a stack of stores, as fl_options asks for it (swap.c). */
#ifndef LIBRARY_SWAP_H
#define LIBRARY_SWAP_H

#include <faultline/faultline.h>

/* Returns how long the swap space is to be at most, whole pages; 0: there is to be none. */
FL_NODISCARD uint64_t swap_len_bytes(const struct fl_options *options);

/*
 * Opens the stores and gives them to the core (fl_swapon). Context: the VM is booted, with the metadata
 * memory for swap_len_bytes; nothing else runs. Errors, and there is no swap space: those of swap_file_open,
 * compress_open and fl_swapon. why[size] names what was asked for, and the remedy, in one line.
 */
FL_NODISCARD int swap_start(const struct fl_options *options, char *why, size_t size);

#endif
