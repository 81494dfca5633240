/*
 * text.h: text that is put together line by line, for files of /proc.
 */
#ifndef KERNEL_FS_TEXT_H
#define KERNEL_FS_TEXT_H

#include <faultline/common.h>

/* bytes[0 … len) are the text, as far as max has room for it; len also counts what had none. */
struct text {
    char *bytes;
    size_t len, max;
};

void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Spaces up to this column of the line that began at byte `line`. */
void text_pad(struct text *text, size_t line, size_t column);

#endif
